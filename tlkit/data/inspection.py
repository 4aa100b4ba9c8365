"""One look at every file before anything is learned: its hash, whether it opens, and a thumbnail.

The hash makes groups and manifests, the thumbnail finds near copies, and a picture that does not open is
named here and not after an hour of training.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

THUMBNAIL = 32  # pixels a side
MAXIMUM_PIXELS = 250_000_000


@dataclass(frozen=True)
class Inspection:
    """What is known of one file: sha256 in hex, why it cannot be used (or None), uint8 [32, 32] thumbnail."""

    sha256: str
    error: str | None
    thumbnail: np.ndarray


def inspect_files(files: Sequence[str | Path], workers: int = 4) -> list[Inspection]:
    """Look at every file, in parallel (hashing and decoding release the interpreter's lock)."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(inspect_file, files))


def inspect_file(file: str | Path) -> Inspection:
    """Hash, decode and shrink one file; a fault is described, not raised."""
    blank = np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
    try:
        contents = Path(file).read_bytes()
    except OSError as fault:
        return Inspection("", f"cannot be read ({fault.strerror})", blank)
    digest = hashlib.sha256(contents).hexdigest()
    if not contents:
        return Inspection(digest, "is empty (0 bytes)", blank)
    try:
        return Inspection(digest, None, _thumbnail(contents))
    except Exception as fault:  # noqa: BLE001 - Pillow's decoders raise what they like on hostile bytes
        return Inspection(digest, _reason(fault), blank)


def _thumbnail(contents: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; only pixels matter here
        image: Image.Image = Image.open(io.BytesIO(contents))
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ValueError(f"has {image.width} x {image.height} pixels, more than {MAXIMUM_PIXELS:,}")
        image.draft("L", (THUMBNAIL * 4, THUMBNAIL * 4))  # JPEG: decode at a quarter or an eighth
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):
            image = _to_eight_bits(image)
        return np.asarray(image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image, np.float64)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.max(initial=0) > 255):
        values = values / 257.0
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _reason(fault: Exception) -> str:
    text = str(fault)
    if "cannot identify" in text:
        return "is not a picture of a known format"
    if "truncated" in text.lower():
        return "is truncated"
    if text.startswith("has "):
        return text
    return f"cannot be decoded ({text.splitlines()[0][:120] if text else type(fault).__name__})"


def near_copies(
    thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray, threshold: float = 0.998
) -> list[tuple[int, int]]:
    """Pairs of pictures that are copies up to a mirror, a right-angle turn, scaling or re-encoding.

    Args:
        thumbnails: uint8 [n, 32, 32].
        first: Indices to compare...
        second: ...with these indices.
        threshold: Least Pearson correlation of the thumbnails, over the eight turns and mirrors.

    Returns:
        (i, j) for each i of `first` that has a near copy in `second`, with its nearest j.
    """
    if not len(first) or not len(second):
        return []
    flat = _standardised(thumbnails[second])
    best = np.full(len(first), -1.0)
    partner = np.zeros(len(first), int)
    for turned in _turns(thumbnails[first]):
        rows = _standardised(turned)
        for start in range(0, len(rows), 512):  # blocks keep memory flat for large sets
            block = rows[start : start + 512] @ flat.T
            nearest = block.argmax(1)
            value = block[np.arange(len(block)), nearest]
            better = value > best[start : start + 512]
            best[start : start + 512][better] = value[better]
            partner[start : start + 512][better] = nearest[better]
    return [(int(first[i]), int(second[partner[i]])) for i in np.flatnonzero(best >= threshold)]


def _turns(images: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(images, k, axes=(1, 2)) for k in range(4)]
    return turned + [image[:, :, ::-1] for image in turned]


def _standardised(images: np.ndarray) -> np.ndarray:
    """float32 [n, 1024] of zero mean and unit length; a constant picture is all zero and matches nothing."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-3)
