"""Pictures of generated images: beside reals, with their nearest neighbours, mixed, walked through, projected.

Every function takes float32 [..., s, s, c], c = 1 or 3, 0..1, and gives a matplotlib Figure for `style.save`;
`write_animation` writes a GIF. The curves of a GAN are in curves.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tlkit.engine.reporting import style
from tlkit.engine.reporting.image_grid import ImageGrid
from tlkit.engine.reporting.style import BLUE, RED, styled

_ANIMATED = 256  # pixels: about the side of an animation
_LEVELS = {
    "coarse": "coarse from B: pose, outline",
    "middle": "middle from B: parts",
    "fine": "fine from B: texture, contrast",
}


@styled
def reals_beside_fakes(
    reals: np.ndarray,
    fakes: np.ndarray,
    *,
    note: str = "",
    columns: int = 4,
    title: str = "Real and generated",
    names: tuple[str, str] = ("real", "generated"),
) -> Figure:
    """Lay real images on the left beside generated ones on the right, none chosen by hand.

    Args:
        reals: [n, s, s, c].
        fakes: [m, s, s, c]; with the same latents at every checkpoint, sheets can be compared.
        note: Below the title, such as the step and KID.
        columns: Of each half.
        title: Above all.
        names: Above each half.
    """
    if not len(reals) or not len(fakes):
        return style.note("There are no images to lay beside each other.")
    rows = math.ceil(max(len(reals), len(fakes)) / columns)
    grid = ImageGrid(rows, 2 * columns, fakes.shape[2], top=34, column_breaks={columns: 48}, largest=160)
    figure = grid.figure(title, note or f"{len(reals)} real images, {len(fakes)} samples")
    for first, images, name in ((0, reals, names[0]), (columns, fakes, names[1])):
        grid.name_column(figure, first, name, columns=columns)
        for index, image in enumerate(images):
            grid.draw(figure, index // columns, first + index % columns, image)
    return figure


@styled
def nearest_neighbours(
    fakes: np.ndarray,
    training: np.ndarray,
    nearest: np.ndarray,
    distances: np.ndarray,
    *,
    threshold: float = 0.0,
    limit: int = 24,
) -> Figure:
    """Show generated images with the training image nearest to each, the nearest pairs first.

    Args:
        fakes: [m, s, s, c].
        training: [n, s, s, c].
        nearest: Index of the nearest training image of each fake, int [m].
        distances: To it, float [m], in the units of the features.
        threshold: Pairs at most this far apart are framed as copies.
        limit: So many pairs are shown.
    """
    if not len(fakes):
        return style.note("There is no generated image to compare.")
    pairs = 4  # in a row
    order = np.argsort(distances, kind="stable")[:limit]
    breaks = dict.fromkeys(range(2, 2 * pairs, 2), 30)
    rows = math.ceil(len(order) / pairs)
    grid = ImageGrid(rows, 2 * pairs, fakes.shape[2], label=28, top=30, column_breaks=breaks, largest=160)
    copies = int((distances <= threshold).sum())
    figure = grid.figure(
        "Generated (left) and the nearest training image (right)",
        f"the {len(order)} nearest of {len(fakes)}; distance of features below; "
        f"framed: the {copies} at most {threshold:.3g} apart, which count as copies",
    )
    for place, index in enumerate(order):
        row, column = place // pairs, 2 * (place % pairs)
        frame = RED if distances[index] <= threshold else ""
        grid.draw(
            figure, row, column, fakes[index], f"{distances[index]:.3g}{' · copy' if frame else ''}", frame
        )
        grid.draw(figure, row, column + 1, training[nearest[index]], f"no. {int(nearest[index])}")
    for column in range(0, 2 * min(pairs, len(order)), 2):
        grid.name_column(figure, column, "generated")
        grid.name_column(figure, column + 1, "training")
    return figure


@styled
def mixing_grid(rows: np.ndarray, columns: np.ndarray, grids: Mapping[str, np.ndarray]) -> Figure:
    """Show what each level of styles decides: sources A on the left, B above, their mixtures between them.

    Args:
        rows: Sources A, [r, s, s, c].
        columns: Sources B, [k, s, s, c].
        grids: By level ("coarse", "middle", "fine": the layers taken from B, all others from A), [r, k, s, s, c].

    Source: Karras et al., CVPR 2019, arXiv:1812.04948, figure 3.
    """
    height, width = len(rows), len(columns)
    breaks = {1 + level * height: 30 for level in range(len(grids))}
    grid = ImageGrid(
        1 + len(grids) * height,
        1 + width,
        rows.shape[2],
        left=210,
        top=34,
        column_breaks={1: 26},
        row_breaks=breaks,
    )
    figure = grid.figure(
        "Styles mixed", "each image takes one level of styles from B (above) and the others from A (left)"
    )
    grid.name_column(figure, 1, "source B", columns=width)
    for column, image in enumerate(columns):
        grid.draw(figure, 0, 1 + column, image, frame=BLUE)
    for level, (name, mixed) in enumerate(grids.items()):
        for row in range(height):
            place = 1 + level * height + row
            grid.draw(figure, place, 0, rows[row], frame=BLUE)
            for column in range(width):
                grid.draw(figure, place, 1 + column, mixed[row, column])
        _name_level(grid, figure, 1 + level * height, _LEVELS.get(name, name))
    return figure


def _name_level(grid: ImageGrid, figure: Figure, row: int, text: str) -> None:
    """Write "what: why" in two or more lines beside the first row of a level."""
    left, top = grid.corner(row, 0)
    first, _, rest = text.partition(": ")
    lines = [first, *rest.split(", ")] if rest else [first]
    grid.write(figure, left - 200, top + 22, "source A →", color=style.MUTED)
    for number, line in enumerate(lines):
        weight = "bold" if number == 0 else "normal"
        grid.write(figure, left - 200, top + 50 + 22 * number, line, fontweight=weight)


@styled
def interpolation_strip(
    images: np.ndarray, *, note: str = "", title: str = "From one latent vector to the next"
) -> Figure:
    """Show walks through the latent space, one in each row from left to right.

    Args:
        images: [rows, frames, s, s, c].
        note: Below the title.
        title: Above all.
    """
    rows, frames, size = images.shape[:3]
    grid = ImageGrid(rows, frames, size)
    figure = grid.figure(title, note or f"{frames} steps in each row")
    for row in range(rows):
        for column in range(frames):
            grid.draw(figure, row, column, images[row, column])
    return figure


def write_animation(file: Path, frames: np.ndarray, *, milliseconds: int = 80) -> Path:
    """Write frames as an animated GIF that repeats for ever, enlarged by a whole number to about 256 pixels.

    Greys are exact; colours are reduced to 255, chosen from all frames together so that nothing flickers.

    Args:
        file: Ends in `.gif`; its folder is made where it is missing.
        frames: [n, s, s, c].
        milliseconds: Each frame is shown, a multiple of 10.
    """
    times = max(1, _ANIMATED // frames.shape[1])
    levels = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8).repeat(times, axis=1).repeat(times, axis=2)
    images = [Image.fromarray(one[..., 0] if one.shape[2] == 1 else one) for one in levels]
    if levels.shape[3] == 3:
        whole = Image.fromarray(levels[:, ::times, ::times].reshape(-1, frames.shape[2], 3))
        palette = whole.quantize(255, Image.Quantize.MEDIANCUT)
        images = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in images]
    file.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(file, save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
    return file


@styled
def truncation_sweep(images: np.ndarray, truncations: Sequence[float]) -> Figure:
    """Show the same latents at growing truncation: from the average image to full variety.

    Args:
        images: [k, n, s, s, c].
        truncations: k numbers; 0: the average, 1: as learned.
    """
    rows, columns, size = images.shape[:3]
    grid = ImageGrid(rows, columns, size, left=70, largest=160)
    figure = grid.figure(
        "Truncation",
        "the same latents in each column; near 0 all become the average image, 1 is as learned",
    )
    for row, truncation in enumerate(truncations):
        grid.name_row(figure, row, f"{truncation:.2f}")
        for column in range(columns):
            grid.draw(figure, row, column, images[row, column])
    return figure


@styled
def projection(reals: np.ndarray, found: np.ndarray, errors: np.ndarray) -> Figure:
    """Show real images, the nearest that the generator can paint, their difference, and how the search went.

    Args:
        reals: [m, s, s, c].
        found: [m, s, s, c].
        errors: Of the search, float [m, steps].
    """
    grid = ImageGrid(len(reals), 3, reals.shape[2], right=520, top=34, largest=256)
    gap = np.abs(reals - found).mean(axis=(1, 2, 3))
    figure = grid.figure(
        "Real images sought in the latent space",
        "difference: white where equal, darkest where half of the range apart",
    )
    for column, name in enumerate(("real", "found", "difference")):
        grid.name_column(figure, column, name)
    for row in range(len(reals)):
        off = np.abs(reals[row] - found[row]).mean(axis=2)
        grid.draw(figure, row, 0, reals[row])
        grid.draw(figure, row, 1, found[row])
        grid.draw(figure, row, 2, style.REDS(np.clip(2 * off, 0, 1))[..., :3])
        _draw_search(grid, figure, row, errors[row], float(gap[row]))
    return figure


def _draw_search(grid: ImageGrid, figure: Figure, row: int, errors: np.ndarray, gap: float) -> None:
    left, top = grid.corner(row, 3)
    margins = 90, 36, 8, 26  # pixels left, above, right, below
    width, height = 520 - margins[0] - margins[2], grid.side - margins[1] - margins[3]
    axes = grid.axes(figure, left + margins[0], top + margins[1], width, height)
    axes.plot(np.arange(1, len(errors) + 1), errors, color=BLUE, linewidth=1.6)
    axes.set_ylim(0, None)
    axes.grid(visible=True, axis="y")
    axes.tick_params(labelsize=7, length=0)
    axes.set_title(f"error by step; a pixel is off by {gap:.3f}", fontsize=8, pad=5)


@styled
def augmentation_preview(images: np.ndarray, draws: np.ndarray, *, note: str = "") -> Figure:
    """Show what the discriminator sees: each image, and random changes of it.

    Args:
        images: [n, s, s, c].
        draws: [n, k, s, s, c].
        note: Below the title: the changes, their probability.
    """
    rows, columns = draws.shape[:2]
    grid = ImageGrid(rows, 1 + columns, images.shape[2], top=34, column_breaks={1: 40}, largest=160)
    figure = grid.figure(
        "Augmentation inside the GAN", note or "both real and generated images are changed so"
    )
    grid.name_column(figure, 0, "as it is")
    grid.name_column(figure, 1, f"{columns} draws")
    for row in range(rows):
        grid.draw(figure, row, 0, images[row])
        for column in range(columns):
            grid.draw(figure, row, 1 + column, draws[row, column])
    return figure
