"""Features that people thought of: texture, spectrum, edges and grey levels, behind the interface of a network.

A family takes uint8 pixels [b, s, s, 3] and gives float32 [b, d], so that hand-made and learned features stand
in one table (the course's S6). All work on grey levels (Rec. 601 luma, rounded to 0..255), none is trained.
Listing the families imports neither scikit-image nor TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault
from tlkit.tasks.features.spectrum import fourier, gabor
from tlkit.tasks.features.texture import haralick, local_binary_patterns

VERSION = 1  # raise it when a family gives other numbers for the same pixels
CELL, BLOCK, ORIENTATIONS = 16, 2, 9  # of HOG: pixels, cells, bins of half a turn
BINS, QUANTILES = 32, (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
COARSE = 24  # pixels, side of the images of `pixels`


@dataclass(frozen=True)
class Handcrafted:
    """A family of hand-made features.

    Attributes:
        name: As typed by the user.
        image_size: Side of the images that it takes, pixels.
        width: Numbers an image, d.
        describe: What it is, for people.
        function: Grey uint8 [s, s] -> float [d].
    """

    name: str
    image_size: int
    width: int
    describe: str
    function: Callable[[np.ndarray], np.ndarray]

    @property
    def digest(self) -> str:
        """sha256 in hex of all that decides the numbers, for the cache."""
        facts = f"{self.name} {VERSION} {self.image_size} scikit-image {version('scikit-image')}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Describe images.

        Args:
            pixels: uint8 [b, s, s, 3], RGB.

        Returns:
            float32 [b, d], finite.

        Raises:
            ValueError: The pixels have another type or size.
        """
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self.image_size, self.image_size, 3):
            raise ValueError(
                f"{self.name} takes uint8 [b, {self.image_size}, {self.image_size}, 3]. "
                f"Received: {pixels.dtype} {list(pixels.shape)}"
            )
        rows = np.empty((len(pixels), self.width), np.float32)
        for row, image in zip(rows, pixels, strict=True):
            row[:] = self.function(grey_levels(image))
        return rows


def grey_levels(image: np.ndarray) -> np.ndarray:
    """Luma 0.299 R + 0.587 G + 0.114 B of uint8 [..., 3], to the nearest level: uint8 [...].

    In whole numbers, so that grey stays what it is. Source: ITU-R BT.601, section 2.5.1.
    """
    return ((np.dot(image.astype(np.int32), np.array((299, 587, 114), np.int32)) + 500) // 1000).astype(
        np.uint8
    )


def _edge_orientations(grey: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients: 7 x 7 blocks of 2 x 2 cells of 16 pixels, 9 orientations, L2-Hys.

    Source: Dalal and Triggs: Histograms of oriented gradients for human detection. CVPR 2005.
    """
    from skimage.feature import hog

    return hog(grey / 255, ORIENTATIONS, (CELL, CELL), (BLOCK, BLOCK), block_norm="L2-Hys")


def _intensity(grey: np.ndarray) -> np.ndarray:
    """Histogram (32 shares), mean, deviation, skewness, excess kurtosis, 7 quantiles; levels 0..1.

    Where each pixel lies does not matter at all. A flat image has neither skewness nor kurtosis: 0. Of both the
    inverse hyperbolic sine is told: a single bright pixel has a kurtosis of 16,379, which would drown the rest.
    """
    counts = np.bincount(grey.ravel(), minlength=256)
    shares, levels = counts / grey.size, np.arange(256) / 255
    mean = shares @ levels
    deviation = float(np.sqrt(shares @ (levels - mean) ** 2))
    shape = np.zeros(2)
    if deviation > 1e-6:
        scaled = (levels - mean) / deviation
        shape = np.arcsinh([shares @ scaled**3, shares @ scaled**4 - 3])
    quantiles = levels[np.searchsorted(counts.cumsum(), np.array(QUANTILES) * grey.size)]
    return np.concatenate([shares.reshape(BINS, -1).sum(axis=1), (mean, deviation), shape, quantiles])


def _coarse_pixels(grey: np.ndarray) -> np.ndarray:
    """Grey 0..1 averaged over the area of each of 24 x 24 coarse pixels: what 1-NN on pixels compares."""
    side = len(grey) // COARSE
    return grey.reshape(COARSE, side, COARSE, side).mean(axis=(1, 3)).ravel() / 255


_FAMILIES = (
    Handcrafted(
        "lbp", 128, 54, "local binary patterns at radii 1, 2, 3, turned images alike", local_binary_patterns
    ),
    Handcrafted(
        "haralick", 128, 78, "co-occurrence of grey levels: mean and range of four directions", haralick
    ),
    Handcrafted("fourier", 128, 104, "low frequencies, rings and sectors of the spectrum", fourier),
    Handcrafted("gabor", 128, 48, "Gabor responses at 4 wavelengths in 6 directions", gabor),
    Handcrafted("hog", 128, 1764, "histograms of oriented gradients", _edge_orientations),
    Handcrafted("intensity", 128, 43, "histogram, moments and quantiles of grey levels", _intensity),
    Handcrafted("pixels", 96, 576, "the grey image itself, 24 x 24: a baseline", _coarse_pixels),
)
HANDCRAFTED = {family.name: family for family in _FAMILIES}


def find_handcrafted(name: str) -> Handcrafted:
    """Look a family up.

    Args:
        name: As typed.

    Raises:
        UsageFault: No such family; the nearest names are offered.
    """
    if name in HANDCRAFTED:
        return HANDCRAFTED[name]
    hint = did_you_mean(name.lower(), HANDCRAFTED, 3, otherwise=f"Take one of: {', '.join(HANDCRAFTED)}.")
    raise UsageFault(f"There are no hand-made features {name!r}.", hint)
