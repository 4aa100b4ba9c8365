"""One look at every file before anything is learned: its hash, whether it opens, and a thumbnail.

The hash makes groups and manifests, the thumbnail finds near duplicates, and an image that does not open is
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

from tlkit.data.images.decoding.formats import black_level, deep_levels, refusal
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.findings import Finding

THUMBNAIL = 32  # pixels a side
BLANK = np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)


@dataclass(frozen=True)
class Inspection:
    """What is known of one file.

    Attributes:
        sha256: In hex; empty if it cannot be read.
        error: Why it cannot be used, or None.
        thumbnail: uint8 [32, 32]; black for what does not open.
        findings: What is wrong with it, where it was checked (`checks.files`) and not only opened.
    """

    sha256: str
    error: str | None
    thumbnail: np.ndarray
    findings: tuple[Finding, ...] = ()


def inspect_files(files: Sequence[str | Path]) -> list[Inspection]:
    """Look at every file, in parallel (hashing and decoding release the interpreter's lock)."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(inspect_file, files))


def inspect_file(file: str | Path) -> Inspection:
    """Hash, decode and shrink one file; a fault is described, not raised."""
    try:
        contents = Path(file).read_bytes()
    except OSError as fault:
        return Inspection("", f"cannot be read ({fault.strerror})", BLANK)
    return inspect_contents(contents, Path(file).name)


def inspect_contents(contents: bytes, name: str = "") -> Inspection:
    """`inspect_file` for the contents of a file; `name` says by its suffix who decodes it."""
    digest = hashlib.sha256(contents).hexdigest()
    if not contents:
        return Inspection(digest, "is empty (0 bytes)", BLANK)
    try:
        return Inspection(digest, None, _thumbnail(contents, name))
    except Exception as fault:  # noqa: BLE001 - Pillow's decoders raise what they like on hostile bytes
        return Inspection(digest, reason(fault), BLANK)


def _thumbnail(contents: bytes, name: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; only pixels matter here
        stream = io.BytesIO(contents)
        image = open_image(stream)
        if refused := refusal(stream, image, name):
            raise ValueError(refused)
        stream.seek(0)
        load_reduced(image)
        return thumbnail_of(image)


def load_reduced(image: Image.Image) -> None:
    """Decode an opened image; a JPEG as grey, at a quarter or an eighth of its size where it is large."""
    image.draft("L", (THUMBNAIL * 4, THUMBNAIL * 4))
    image.load()


def thumbnail_of(image: Image.Image) -> np.ndarray:
    """A loaded image, upright, grey and small: uint8 [32, 32].

    Raises:
        ValueError: Its values are not 8 or 16 bit integers; the text is the end of a sentence.
    """
    black, upright = black_level(image), ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        levels = deep_levels(upright, black)
        upright = Image.fromarray(((levels.astype(np.uint32) + 128) // 257).astype(np.uint8))
    return np.asarray(upright.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def reason(fault: Exception) -> str:
    """Why an image cannot be decoded, in our words: the end of a sentence that begins with its name."""
    text = str(fault)
    if "cannot identify" in text:
        return "is not an image of a known format"
    if "truncated" in text.lower():
        return "is truncated"
    if text.startswith(("has ", "is ")):
        return text
    return f"cannot be decoded ({text.splitlines()[0][:120] if text else type(fault).__name__})"
