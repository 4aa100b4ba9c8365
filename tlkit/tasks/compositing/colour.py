"""Colour of what is pasted into coloured X-ray images: exponents of transmittance for each channel."""

from __future__ import annotations

import numpy as np

from tlkit.data.boxes.lazy_images import Backgrounds
from tlkit.data.images.decoding.depth import LUMA

DENSE = (0.7, 2.0)  # attenuation of matter that shows the colour of metal and is not yet black
PALETTE_BAGS = 40  # bags that are looked at for it
DARKEST = 0.02  # grey level below which a channel says nothing


def palette(backgrounds: Backgrounds) -> np.ndarray | None:
    """How strongly dense matter weakens each channel of coloured bags, for what is added to look like it.

    Machines that colour show metal blue, organic matter orange and what lies over each other between. A threat of
    transmittance T is given T ** e in each channel, e being the median of the channel's attenuation over that of the
    luma, among the bluer half of the bags' own dense pixels: wet and layered organic matter is as dense.

    Args:
        backgrounds: A few of them, evenly spread, are read.

    Returns:
        Float32 [3]; None where no coloured bag has dense matter.
    """
    step = max(1, len(backgrounds) // PALETTE_BAGS)
    ratios = []
    for index in range(0, len(backgrounds), step):
        levels = backgrounds.levels(index)
        if levels.shape[2] == 3:
            ratios.append(_ratios(levels.reshape(-1, 3)))
    found = np.concatenate([*ratios, np.zeros((0, 3), np.float32)])
    if not len(found):
        return None
    orange = found[:, 2] - found[:, 0]  # how much more blue is weakened than red
    return np.median(found[orange <= np.median(orange)], axis=0).astype(np.float32)


def _ratios(pixels: np.ndarray) -> np.ndarray:
    """Attenuation of each channel over that of the luma, float32 [m, 3], of the dense ones of [n, 3] levels."""
    free = np.percentile(pixels, 99, axis=0)  # I0 of each channel
    through = np.clip(pixels / np.maximum(free, DARKEST), DARKEST, 1)
    depth = -np.log(through @ LUMA)  # attenuation, -log T
    dense = (depth > DENSE[0]) & (depth < DENSE[1])
    return (-np.log(through[dense]) / depth[dense, None]).astype(np.float32)


def laid_into(levels: np.ndarray, through: np.ndarray, colours: np.ndarray | None) -> np.ndarray:
    """A bag with threats.

    Args:
        levels: Float32 `[h, w, c]` in [0, 1].
        through: Float32 `[h, w]`, transmittance of the threats.
        colours: Exponent of each channel of coloured bags, or None: all weaken alike.

    Returns:
        Float32 `[h, w, c]`.
    """
    if levels.shape[2] == 1 or colours is None:
        return levels * through[..., None]
    return (
        levels * through[..., None] ** colours
    )  # T_c = T^(e_c): attenuations of the channels in one proportion
