"""Images with their depth: files to float32 in 0..1 and back, 16-bit greys kept.

Networks that draw images, and compositing, work with attenuation rather than with looks: a level of 16 bit
that the one decoder (decode.py) would round away matters to them. Pillow reads here, one file at a time, so
that memory holds the small images asked for and a single large one.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from tlkit.data.images.decoding.formats import black_level, deep_levels
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.decoding.pixel_limit import TooManyPixels
from tlkit.errors import DataFault

Fit = Literal["resize", "pad"]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, what "L" means to Pillow
REMEDY = "Take it out, or save it again as PNG or JPEG."
_GREY_MODES = frozenset(("1", "L", "LA", "La"))
_COLOURED = 12  # levels of 255 between the channels of a pixel: more than JPEG's rounding leaves in a grey
_COLOURED_SHARE = 0.005  # of the pixels, before an image counts as coloured


def read_images(files: Sequence[Path | str], size: int, channels: int, *, fit: Fit = "resize") -> np.ndarray:
    """Read images as squares.

    JPEG, PNG, BMP, GIF (first frame), WebP, PGM, TIFF and what else Pillow knows, turned upright by their EXIF
    orientation. Transparency is dropped, as in training a classifier. Sides are resampled by Lanczos' kernel,
    which averages where it shrinks (no aliasing); where it overshoots, values are clipped. An image of the
    wanted size is not resampled. 16-bit colour is read at 8 bits (Pillow has no more).

    Args:
        files: [n] paths.
        size: Side s in pixels.
        channels: 1: grey, by the luma of BT.601; 3: RGB, greys in three equal channels.
        fit: "resize" stretches to the square; "pad" keeps the aspect, centres, and fills with the median of
            the image's border.

    Returns:
        float32 [n, s, s, c], 0..1; v / 255 of an 8-bit file, v / 65535 of a 16-bit one.

    Raises:
        DataFault: A file cannot be read, or its values are not 8 or 16 bit integers; it names the file.
    """
    images = np.empty((len(files), size, size, channels), np.float32)
    for index, file in enumerate(files):
        # a huge JPEG: leave out what resampling would average
        images[index] = fitted(read_image(file, channels, (2 * size, 2 * size)), size, fit)
    return images


def read_image(file: Path | str, channels: int, draft: tuple[int, int] | None = None) -> np.ndarray:
    """Read one image as it is, float32 [h, w, c], 0..1; see `read_images`.

    A JPEG far larger than `draft` (width, height) is decoded at a half, a quarter or an eighth, never below it.
    """
    with _opened(file) as image:
        image.draft(None, draft)
        black = black_level(image)
        levels = _levels(_upright(image), black)
    if levels.shape[2] == channels:
        return levels
    return levels.repeat(3, axis=2) if channels == 3 else (levels @ LUMA)[..., None]


def image_bits(files: Sequence[Path | str]) -> int:
    """Say how deep images are, by their headers: 16 where one of them is a 16-bit grey, else 8.

    Raises:
        DataFault: A file cannot be read; it names the file.
    """
    for file in files:
        with _opened(file) as image:
            if image.mode.startswith("I"):
                return 16
    return 8


def channels_of(files: Sequence[Path | str]) -> int:
    """Say how many channels images need: 3 where one of them has real colour, else 1.

    Grey stored as RGB counts as grey, also with the small tints that JPEG leaves. Reads until the first colour.

    Raises:
        DataFault: A file cannot be read; it names the file.
    """
    for file in files:
        with _opened(file) as image:
            if image.mode in _GREY_MODES or image.mode.startswith("I"):
                continue
            image.draft(None, (256, 256))
            spread = np.ptp(np.asarray(image.convert("RGB"), np.int16), axis=2)
        if (spread > _COLOURED).mean() > _COLOURED_SHARE:
            return 3
    return 1


def write_image(file: Path, image: np.ndarray, bits: int = 8) -> None:
    """Write an image as PNG; `read_images` gives back the same levels.

    Args:
        file: Ends in `.png`; its folder exists.
        image: Float [s, s, c], c = 1 or 3, 0..1; what lies outside is clipped.
        bits: 16 keeps depth in greys. 16-bit RGB is beyond Pillow: colour is written with 8 bits whatever
            is asked.

    Raises:
        DataFault: The image has values that are no numbers.
    """
    if not np.isfinite(image).all():
        raise DataFault(f"The image for {file.name} has values that are no numbers.", "Nothing was written.")
    values = image[..., 0] if image.shape[2] == 1 else image
    deep = bits == 16 and values.ndim == 2
    top, kind = (65535, np.uint16) if deep else (255, np.uint8)
    levels = np.rint(np.clip(values.astype(np.float64), 0, 1) * top).astype(kind)
    Image.fromarray(levels).save(file, "PNG")


# --- reading -----------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path | str) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong while it is open becomes a DataFault that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; only pixels matter here
            with open_image(file) as image:
                yield image
    except FileNotFoundError as fault:
        raise DataFault(f"{file} is not there.", "Was it moved while it was in use?") from fault
    except TooManyPixels as fault:
        raise DataFault(f"{file} {fault}.", REMEDY) from fault
    except Image.UnidentifiedImageError as fault:
        raise DataFault(f"{file} is not an image that can be read.", REMEDY) from fault
    except (OSError, SyntaxError, ValueError, struct.error) as fault:
        raise DataFault(f"{file} cannot be read: {str(fault).rstrip('.')}.", REMEDY) from fault


def _upright(image: Image.Image) -> Image.Image:
    """Turn as the EXIF orientation says; a malformed one leaves the image as it is stored."""
    image.load()  # breaks here where the file is cut off, not while its metadata are read
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return image


def _levels(image: Image.Image, black: int | None) -> np.ndarray:
    """Float32 [h, w, 1] or [h, w, 3], 0..1."""
    if image.mode.startswith(("I", "F")):
        return deep_levels(image, black)[..., None].astype(np.float32) / np.float32(65535)
    if image.mode in _GREY_MODES:
        return np.asarray(image.convert("L"), np.float32)[..., None] / np.float32(255)
    return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


# --- fitting into the square -------------------------------------------------------------------------------


def fitted(levels: np.ndarray, size: int, fit: Fit) -> np.ndarray:
    """Float32 [size, size, c] from [h, w, c]."""
    height, width = levels.shape[:2]
    if fit == "resize" or height == width:
        return _resampled(levels, size, size)
    longer = max(height, width)
    tall, wide = (max(round(side * size / longer), 1) for side in (height, width))
    inner = _resampled(levels, tall, wide)
    top, left = (size - tall) // 2, (size - wide) // 2
    square = np.empty((size, size, levels.shape[2]), np.float32)
    edges = (inner[0], inner[-1], inner[:, 0], inner[:, -1])
    square[:] = np.median(np.concatenate(edges), axis=0).astype(np.float32)
    square[top : top + tall, left : left + wide] = inner
    return square


def _resampled(levels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Float32 [height, width, c], 0..1, from [h, w, c]; each channel as a float image, so no level is lost."""
    if levels.shape[:2] == (height, width):
        return levels
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(levels, 2, 0)]
    resized = [np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS)) for plane in planes]
    return np.clip(np.stack(resized, axis=2), 0, 1)
