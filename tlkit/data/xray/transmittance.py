"""Threats pasted into other X-ray images, as the beam would have seen them (threat image projection).

A ray that passes two things is weakened by both, so their transmittances multiply (Beer-Lambert). An image is
turned into transmittance by the grey level of its free beam, I0; a threat is cut out of a clean image, turned,
scaled and multiplied into a background. float32 images in [0, 1] go in and come out: 8 and 16 bit are kept.

Turning and scaling average transmittance, not attenuation: a detector pixel counts the photons that arrive on
its area, and photons add up. A pixel half covered by steel lets half of the beam through; the mean of the
attenuations of both halves would make it nearly black and draw a dark rim around every turned threat. Thickness
acts on each ray, before any averaging.

Source: Bhowmik et al., The good, the bad and the ugly: evaluating CNNs for prohibited item detection using real and
synthetically composited X-ray imagery (2019), section 3.1; Mery and Katsaggelos, A logarithmic X-ray imaging model
for baggage inspection (2017).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

LEAST = 1e-4  # transmittance that stands for none: its attenuation is finite, and 8 bit cannot tell
RIM = 0.03  # attenuation that is still matter and not noise
SATURATED = 4.0  # attenuation beyond which a detector's grey levels say nothing
SMALL = 0.01  # pieces and holes below this share of the threat's area are noise
SEEN = 0.02  # a pixel belongs to a placed threat where it takes this share of the beam or more


class Threat(NamedTuple):
    """A threat without its surroundings.

    Attributes:
        transmittance: float32 `[h, w]` in (0, 1]; exactly 1 outside the mask.
        mask: bool `[h, w]`, the threat's own matter.
    """

    transmittance: np.ndarray
    mask: np.ndarray


class Composite(NamedTuple):
    """A background with a threat in it.

    Attributes:
        image: float32 `[h, w]`, in the background's grey levels.
        box: Left, top, right, bottom of the mask, pixels; right and bottom exclusive.
        mask: bool `[h, w]`, where the threat takes at least `SEEN` of the beam.
        occlusion: See `occlusion`.
    """

    image: np.ndarray
    box: tuple[int, int, int, int]
    mask: np.ndarray
    occlusion: float


def background_level(image: np.ndarray) -> float:
    """I0, the grey level of the free beam: the mode of the image's brightest part.

    The free beam is a peak at the bright end of the histogram. Single bright pixels (dust, text, saturation) must not
    move it, hence a mode among the pixels from 0.85 of the 99.5th percentile upwards. An image
    without free beam gives the level of its brightest matter: a lower bound of I0.

    Args:
        image: float `[h, w]` in [0, 1].

    Returns:
        Grey level in (0, 1].
    """
    top = float(np.percentile(image, 99.5))
    bright = image[image >= 0.85 * top]
    if top <= 0 or not bright.size:
        return 1.0
    counts, edges = np.histogram(bright, 64, (0.85 * top, max(float(bright.max()), top * 1.0001)))
    peak = int(ndimage.gaussian_filter1d(counts.astype(float), 1.5, mode="constant").argmax())
    inside = bright[(bright >= edges[max(peak - 1, 0)]) & (bright <= edges[min(peak + 2, 64)])]
    return float(np.median(inside)) if inside.size else top


def transmittance(image: np.ndarray, i0: float | np.ndarray | None = None) -> np.ndarray:
    """The share of the beam that reaches each pixel.

    Args:
        image: float `[h, w]` in [0, 1], bright where nothing lies in the beam.
        i0: Grey level of the free beam, one or `[h, w]`; None estimates it (`background_level`).

    Returns:
        float32 `[h, w]` in [LEAST, 1].
    """
    level = background_level(image) if i0 is None else i0
    return np.clip(np.asarray(image, np.float32) / np.asarray(level, np.float32), LEAST, 1).astype(np.float32)


def cut_threat(image: np.ndarray) -> Threat:
    """Cut a threat out of a clean image: one thing before a nearly empty background.

    Otsu's threshold on the attenuation -log T finds the matter; what hangs together with it down to `RIM` or the
    background's noise is its translucent edge. Pieces and holes of less than `SMALL` of its area are noise;
    larger holes (a star's eye, a trigger guard) stay holes. The background's shading is taken out first.

    Args:
        image: float `[h, w]` in [0, 1].

    Returns:
        The threat, cropped to its mask and a border of one pixel. Where nothing stands out the mask is empty and
        the transmittance 1.
    """
    depth = -np.log(transmittance(image, _flat_field(image)))
    threshold = _otsu(np.minimum(depth, SATURATED))
    free = depth[depth < threshold]
    noise = 4 * 1.4826 * float(np.median(np.abs(free - np.median(free)))) if free.size else 0.0
    core = depth >= max(threshold, RIM)
    pieces, _ = ndimage.label(depth > max(RIM, noise), np.ones((3, 3)))
    area = np.bincount(pieces.ravel(), core.ravel().astype(float))  # each piece by the matter in it
    area[0] = 0
    mask = (area >= max(SMALL * area.sum(), 1))[pieces]
    window = _around(mask)
    mask = _without_small_holes(mask[window])
    return Threat(np.where(mask, np.exp(-depth[window]), 1).astype(np.float32), mask)


def _flat_field(image: np.ndarray) -> np.ndarray:
    """I0 at every pixel: a plane fitted to the pixels of the free beam, float32 `[h, w]`."""
    level = background_level(image)
    y, x = (np.linspace(-1, 1, size) for size in image.shape)
    rows, columns = (
        slice(None, None, max(1, size // 128)) for size in image.shape
    )  # a plane needs few points
    few = image[rows, columns]
    free = np.abs(few - level) < 0.04 * level
    if free.mean() < 0.05:
        return np.full(image.shape, level, np.float32)
    down, right = np.broadcast_arrays(y[rows, None], x[None, columns])
    known = np.stack([np.ones(int(free.sum())), right[free], down[free]], 1)
    plane = np.linalg.lstsq(known, few[free], rcond=None)[0]
    fitted = plane[0] + plane[1] * x[None] + plane[2] * y[:, None]
    return np.clip(fitted, 0.9 * level, 1.1 * level).astype(np.float32)


def _otsu(values: np.ndarray) -> float:
    """The threshold that splits values into the two groups that differ most (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    total = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total[:-1] / below - (total[-1] - total[:-1]) / above) ** 2
    return float(edges[int(np.nan_to_num(between).argmax()) + 1])


def _without_small_holes(mask: np.ndarray) -> np.ndarray:
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    sizes = np.bincount(holes.ravel())
    sizes[0] = 0
    return mask | ((sizes > 0) & (sizes < SMALL * mask.sum()))[holes]


def _around(mask: np.ndarray, border: int = 1) -> tuple[slice, slice]:
    """Rows and columns of the mask's box and a border; everything where the mask is empty."""
    if not mask.any():
        return slice(None), slice(None)
    left, top, right, bottom = box_of(mask)
    return (
        slice(max(top - border, 0), min(bottom + border, mask.shape[0])),
        slice(max(left - border, 0), min(right + border, mask.shape[1])),
    )


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask's pixels, right and bottom exclusive; four zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pose(
    threat: Threat, *, turn: float = 0.0, scale: float = 1.0, thickness: float = 1.0, flip: bool = False
) -> np.ndarray:
    """A threat as it looks from where it lies.

    Args:
        threat: From `cut_threat`.
        turn: Degrees, counter-clockwise.
        scale: Factor on both sides.
        thickness: k of T**k: twice the matter is 2.
        flip: Mirror it left to right first.

    Returns:
        Transmittance float32 `[h, w]` in (0, 1], cropped to what takes part of the beam.
    """
    through = threat.transmittance[:, ::-1] if flip else threat.transmittance
    taken = 1 - np.power(through, np.float32(thickness))  # 0 around it, so borders need no care
    if turn % 360 or scale != 1:
        taken = _resample(taken, turn, scale)
    taken = np.clip(taken, 0, 1 - LEAST)
    rows, columns = _around(taken >= SEEN)
    return (1 - taken[rows, columns]).astype(np.float32)


def no_larger(threat: Threat, longest: int) -> Threat:
    """A threat shrunk to at most `longest` pixels: what is posed many times need not be larger."""
    scale = min(1.0, longest / max(threat.mask.shape))
    through = pose(threat, scale=scale)
    return Threat(through, through <= 1 - SEEN)


def _resample(values: np.ndarray, turn: float, scale: float) -> np.ndarray:
    """Turn and scale about the middle; shrinking averages the pixels that fall together."""
    angle = np.deg2rad(turn)
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    shrink = max(1, int(1 / scale + 1e-9))  # whole blocks first: the detector's own averaging, and quick
    if shrink > 1:
        values = _blocks(values, shrink)
        scale *= shrink
    if scale < 1:
        values = ndimage.gaussian_filter(values, 0.5 * (1 / scale**2 - 1) ** 0.5, mode="constant")
    height, width = values.shape
    out_height = int(np.ceil(scale * (height * abs(cosine) + width * abs(sine)))) + 2
    out_width = int(np.ceil(scale * (width * abs(cosine) + height * abs(sine)))) + 2
    matrix = np.array([[cosine, sine], [-sine, cosine]]) / scale
    middle, out_middle = (np.array([height, width]) - 1) / 2, (np.array([out_height, out_width]) - 1) / 2
    offset = middle - matrix @ out_middle
    return ndimage.affine_transform(values, matrix, offset, (out_height, out_width), order=1)


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """Means of blocks of `side` x `side` pixels; the last ones are filled up with 0."""
    padded = np.pad(values, [(0, -size % side) for size in values.shape])
    return padded.reshape(padded.shape[0] // side, side, -1, side).mean((1, 3))


def lay(
    through: np.ndarray,
    background: np.ndarray,
    position: tuple[float, float] | None = None,
    i0: float | None = None,
) -> Composite:
    """Lay a posed threat into a background: background x transmittance of the threat.

    Args:
        through: From `pose`.
        background: float `[h, w]` in [0, 1].
        position: Where its middle comes to lie, x and y in pixels; None is the background's middle. What
            reaches beyond the border is cut off.
        i0: Free beam of the background, for the occlusion; None estimates it.

    Returns:
        The image with the threat's box, mask and occlusion.
    """
    style = np.ones(background.shape, np.float32)
    x, y = position or (background.shape[1] / 2, background.shape[0] / 2)
    high, wide = through.shape[:2]
    left, top = int(np.floor(x - wide / 2 + 0.5)), int(np.floor(y - high / 2 + 0.5))
    first, last = max(left, 0), min(left + wide, background.shape[1])
    upper, lower = max(top, 0), min(top + high, background.shape[0])
    if first < last and upper < lower:
        style[upper:lower, first:last] = through[upper - top : lower - top, first - left : last - left]
    mask = style <= 1 - SEEN
    behind = transmittance(background, i0)
    image = (np.asarray(background, np.float32) * style).astype(np.float32)
    return Composite(image, box_of(mask), mask, occlusion(mask, behind))


def occlusion(mask: np.ndarray, behind: np.ndarray) -> float:
    """How much other matter lies over or under a threat.

    Args:
        mask: bool `[h, w]`, the threat.
        behind: Transmittance of everything else, float `[h, w]` in [0, 1].

    Returns:
        Mean over the mask of 1 - `behind`: 0 in the free beam, 1 behind what lets nothing through. Which of the two
        lies above does not matter to the beam. 0 where the mask is empty.
    """
    return float(np.clip(1 - behind[mask], 0, 1).mean()) if mask.any() else 0.0
