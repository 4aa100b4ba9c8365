"""Mask images: PNG of 8 or 16 bits or with a palette, of one value an object or of one object, read and written."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tlkit.data.boxes.masks.drawing import UndrawnMask
from tlkit.data.boxes.masks.rle import Mask, decode, encode, from_values
from tlkit.data.images.decoding.opening import open_image

VOID = {8: 255, 16: 65535}  # by the bits of an index image
EXACT = frozenset((".png", ".tif", ".tiff", ".bmp", ".gif"))  # suffixes; other forms change values


class MaskImage(NamedTuple):
    """The values of a mask image, whole numbers `[h, w]`, and how many bits its file has for one."""

    values: np.ndarray
    bits: int


def objects_in(file: Path, *, each: bool) -> tuple[dict[int, Mask], tuple[int, int]]:
    """The masks in a file by their values, or by 0 where it is that of one object; and its width and height.

    Raises:
        UndrawnMask: It is no such image.
    """
    values, bits = read_mask_image(file)
    size = (values.shape[1], values.shape[0])
    if each:
        kinds = np.unique(values)
        if len(kinds) > 2 or (len(kinds) == 2 and kinds[0]):
            what = f"has {len(kinds)} values, and the mask of one object has 0 and one other"
            raise UndrawnMask("mask-values", what)
        if not kinds[-1]:
            raise UndrawnMask("mask-empty", "is all 0: its object covers no pixel")
        return {0: encode(values)}, size
    void = VOID.get(bits)
    masks = from_values(values)
    if void in masks:
        del masks[void]
        _check_void(void, masks, values)
    return masks, size


def _check_void(void: int, masks: dict[int, Mask], values: np.ndarray) -> None:
    """Where the value of the void may be an object after all, nobody can tell.

    Raises:
        UndrawnMask: It may.
    """
    if len(masks) == void - 1:
        what = f"uses all values from 1 to {void}, and {void} is no object but void: it has more objects than fit"
        raise UndrawnMask("mask-values", what)
    if not masks and (values == 0).any():
        what = f"has the values 0 and {void} only, and {void} is void: it is a mask of yes and no, without objects"
        raise UndrawnMask("mask-values", what)


def read_mask_image(file: Path) -> MaskImage:
    """The values of a mask image as they are stored: grey levels, or numbers of a palette's colours.

    Raises:
        UndrawnMask: It does not open, has colours, or is of a form that changes values.
    """
    if file.suffix.lower() not in EXACT:
        kind = file.suffix[1:].upper()
        raise UndrawnMask("mask-outline", f"is {kind}, which changes values: a mask is saved as PNG")
    try:
        with warnings.catch_warnings(), file.open("rb") as stream, open_image(stream) as image:
            warnings.simplefilter("ignore")
            mode, values = image.mode, np.asarray(image)
            stream.seek(0)
            head = stream.read(26)
    except Exception as fault:  # noqa: BLE001 - Pillow's decoders raise what they like on hostile bytes
        raise UndrawnMask("mask-outline", f"is no readable mask image ({fault})") from None
    if mode == "1":
        return MaskImage(values.astype(np.uint8), 1)
    if mode in {"L", "P"}:
        return _of_few_bits(values, head) if mode == "L" else MaskImage(values, 8)
    if mode.startswith("I;16") or (mode == "I" and values.min() >= 0 and values.max() <= VOID[16]):
        return MaskImage(values.astype(np.uint16), 16)
    if mode in {"RGB", "RGBA", "LA", "PA", "CMYK"}:
        raise UndrawnMask("mask-outline", f"has colours ({mode}): a mask has grey levels or a palette")
    raise UndrawnMask("mask-outline", f"has values ({mode}) that are not of 8 or 16 bits")


def _of_few_bits(values: np.ndarray, head: bytes) -> MaskImage:
    """Grey levels; of a PNG with 2 or 4 bits as they are stored, which Pillow multiplies up to 255."""
    bits = head[24] if head[:4] == b"\x89PNG" and len(head) > 25 and head[25] == 0 else 8
    return MaskImage(values // (255 // (2**bits - 1)), bits) if bits in {2, 4} else MaskImage(values, 8)


def index_image(masks: Sequence[Mask]) -> np.ndarray:
    """Values from 1 for some masks that share no pixel, `[h, w]`: uint8, or uint16 of more than 254.

    Args:
        masks: At least one, all of one size.
    """
    kind = np.uint8 if len(masks) < VOID[8] else np.uint16
    values = np.zeros(masks[0].size, kind)
    for value, mask in enumerate(masks, 1):
        values[decode(mask)] = value
    return values


def write_mask_image(file: Path, values: np.ndarray) -> None:
    """Write values, uint8 or uint16 `[h, w]`, as grey levels of a PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)
