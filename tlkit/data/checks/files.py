"""One image file, looked at once: what keeps it from opening, and what may surprise who trains on it.

A file is never held as a whole: it is hashed as it is read, and an image that would unpack to far too much is told
by its header. Nothing here imports TensorFlow; what its decoder refuses is known to `formats`.
"""

from __future__ import annotations

import hashlib
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from tlkit.data.images.decoding.formats import (
    BITS_PER_SAMPLE,
    NATIVE_SUFFIXES,
    SUFFIXES,
    TRUNCATED,
    orientation_of,
    refusal,
)
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.decoding.pixel_limit import TooManyPixels
from tlkit.data.images.findings import ERROR, Finding, finding
from tlkit.data.images.inspection import BLANK, Inspection, load_reduced, reason, thumbnail_of

TURNS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "mirrored and turned by 180 degrees",
    5: "mirrored and turned right",
    6: "turned right",
    7: "mirrored and turned left",
    8: "turned left",
}
SLICE = 500  # files that wait for a thread at a time
MOST_ASPECT = 8.0
LEAST_SIDE, MOST_PIXELS = 10, 50_000_000
EVEN = 2  # grey levels of 256 between the darkest and the brightest pixel
TONE, TWO_TONES = 7, 0.98  # levels that count as one tone; the share of pixels in a mask's two
NARROW = 8192  # 13 of 16 bits: becomes 0 to 31 of 255


def look_at_files(
    root: Path, paths: Sequence[str], workers: int = 2, step: Callable[[int], None] = lambda _done: None
) -> tuple[list[Inspection], np.ndarray]:
    """Look at every file, in parallel (hashing and decoding release the interpreter's lock).

    Args:
        root: Folder that the paths are relative to.
        paths: [n] POSIX paths.
        workers: Threads.
        step: Called with the number done.

    Returns:
        [n] looks, and their thumbnails uint8 [n, 32, 32]; black for what does not open.
    """
    looks: list[Inspection] = []
    thumbnails = np.zeros((len(paths), *BLANK.shape), np.uint8)
    # Filters belong to the process, so they are set once around the threads: Pillow warns of odd metadata.
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")
        for start in range(0, len(paths), SLICE):
            for look in pool.map(lambda path: look_at(root / path, path), paths[start : start + SLICE]):
                thumbnails[len(looks)] = look.thumbnail  # all in one array, so that nobody copies them again
                looks.append(replace(look, thumbnail=thumbnails[len(looks)]))
                step(len(looks))
    return looks, thumbnails


def look_at(file: Path, path: str) -> Inspection:
    """Look at one file; a fault is described, not raised.

    Args:
        file: Where it lies.
        path: What findings call it.
    """
    try:
        if fault := _closed(file, path):
            return Inspection("", fault.sentence, BLANK, (fault,))
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            thumbnail, findings = _opened(stream, path)
    except OSError as error:
        fault = finding("unreadable", path, error.strerror or str(error))
        return Inspection("", fault.sentence, BLANK, (fault,))
    if thumbnail is None:
        return Inspection(digest, findings[0].sentence, BLANK, tuple(findings))
    return Inspection(digest, None, thumbnail, tuple(findings))


def _closed(file: Path, path: str) -> Finding | None:
    """Why a file is not even opened."""
    facts = file.stat()
    if not stat.S_ISREG(facts.st_mode):  # reading from a pipe would wait for ever
        return finding("not-a-file", path)
    if not facts.st_mode & 0o444:  # the administrator could read it, others cannot
        return finding("unreadable", path, f"nobody has the right (mode {stat.S_IMODE(facts.st_mode):03o})")
    return finding("zero-byte", path) if facts.st_size == 0 else None


def _opened(stream: BinaryIO, path: str) -> tuple[np.ndarray | None, list[Finding]]:
    """The thumbnail and the findings of a file with contents."""
    try:
        with open_image(stream) as image:
            refused = refusal(stream, image, path)
            found = [*_header_faults(stream, image, path, refused)]
            if refused:
                return None, found
            stream.seek(0)
            load_reduced(image)
            found += _pixel_faults(stream, image, path)
            if any(fault.kind == "unsupported-values" for fault in found):
                return None, found
            thumbnail = thumbnail_of(image)
    except TooManyPixels as fault:
        return None, [finding("decompression-bomb", path, f"{path} {fault}.")]
    except Exception as fault:  # noqa: BLE001 - Pillow's decoders raise what they like on hostile bytes
        return None, [_undecodable(path, reason(fault))]
    return thumbnail, found


def _undecodable(path: str, why: str) -> Finding:
    if why == TRUNCATED:
        return finding("truncated", path)
    if "too large" in why or "too much" in why:  # Pillow on compressed metadata
        return finding(
            "decompression-bomb", path, f"{path} {why}.", remedy="Save it again without its metadata."
        )
    return finding("undecodable", path, f"{path} {why}.")


# --- what the header says ---


def _header_faults(stream: BinaryIO, image: Image.Image, path: str, refused: str | None) -> Iterator[Finding]:
    suffix, found = Path(path).suffix.lower(), image.format or "unknown"
    if suffix not in SUFFIXES.get(found, ()):
        yield _wrong_extension(path, suffix, found, refused)
    elif refused:
        yield _undecodable(path, refused)
    elif getattr(image, "is_animated", False) and found != "MPO":  # cameras add a preview to a JPEG
        yield finding("animated", path)
    if image.mode in {"CMYK", "YCCK"}:
        yield finding("cmyk", path)
    if image.mode in {"P", "PA"} and found != "GIF":
        yield finding("palette", path)
    if _bits(stream, image) > 8 and image.mode != "F":  # numbers with a point are another fault
        yield finding("sixteen-bit", path)
    turn = TURNS.get(orientation_of(stream, image))
    if turn:
        yield finding("exif-turned", path, turn)
    yield from _size_faults(image, path)


def _wrong_extension(path: str, suffix: str, found: str, refused: str | None) -> Finding:
    known = SUFFIXES.get(found)
    remedy = f"Rename it to {Path(path).stem}{known[0]}." if known else "Save it again as PNG or JPEG."
    named = f"{suffix or 'no suffix'}, but {found} inside"
    if refused and suffix in NATIVE_SUFFIXES:
        return finding("wrong-extension", path, f"{named}: {refused}", severity=ERROR, remedy=remedy)
    return finding("wrong-extension", path, named, remedy=remedy)


def _bits(stream: BinaryIO, image: Image.Image) -> int:
    """Bits of one value of one pixel, as far as they are more than 8 or not."""
    if image.format == "PNG":  # Pillow reads 16-bit colours as 8
        stream.seek(24)
        return stream.read(1)[0]
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
    return 16 if image.mode.startswith("I") else 8


def _size_faults(image: Image.Image, path: str) -> Iterator[Finding]:
    width, height = image.size
    if max(width, height) > MOST_ASPECT * min(width, height):
        yield finding("extreme-aspect", path, f"{width} x {height} pixels")
    if min(width, height) < LEAST_SIDE or width * height > MOST_PIXELS:
        yield finding("extreme-size", path, f"{width} x {height} pixels")


# --- what the pixels say ---


def _pixel_faults(stream: BinaryIO, image: Image.Image, path: str) -> Iterator[Finding]:
    """Faults of a decoded image; a JPEG has been decoded as grey and small."""
    if _transparent(image):
        yield finding("alpha", path)
    if image.mode.startswith(("I", "F")):
        low, high = cast("tuple[float, float]", image.getextrema())
        if image.mode == "F" or low < 0 or high > 65535:
            native = Path(path).suffix.lower() in NATIVE_SUFFIXES
            if not native:
                yield finding("unsupported-values", path, f"from {low:g} to {high:g}")
        elif high < NARROW and high - low > EVEN:
            detail = f"its greatest value is {high} of 65535, which is read as {(high + 128) // 257} of 255"
            yield finding("narrow-range", path, detail)
            return
    if _even(image) and _even_in_full(stream, image):
        yield finding("constant", path)
    elif _two_tone(image):
        yield finding("two-tone", path)


def _transparent(image: Image.Image) -> bool:
    if image.mode in {"LA", "PA", "RGBA", "La", "RGBa"}:
        return _least(image.getchannel(image.getbands()[-1])) < 255
    if "transparency" not in image.info:
        return False
    return _least(image.convert("RGBA").getchannel("A")) < 255


def _least(channel: Image.Image) -> float:
    return cast("tuple[float, float]", channel.getextrema())[0]


def _even(image: Image.Image) -> bool:
    """Whether each colour of an image stays within `EVEN` levels."""
    if image.mode in {"P", "PA"}:
        image = image.convert("RGB")
    if image.mode in {"LA", "RGBA"}:
        image = image.convert(image.mode[:-1])
    found = np.array(image.getextrema(), np.float64).reshape(-1, 2)
    scale = 257 if image.mode.startswith("I") else 1
    return bool((found[:, 1] - found[:, 0] <= EVEN * scale).all())


def _two_tone(image: Image.Image) -> bool:
    """Whether nearly all pixels are as dark as the darkest or as bright as the brightest, and these differ."""
    if image.mode.startswith(("I", "F")):
        return False
    tones = np.array(image.convert("L").histogram())
    low, high = np.flatnonzero(tones)[[0, -1]]
    near = tones[low : low + TONE].sum() + tones[high - TONE + 1 : high + 1].sum()
    return bool(high - low > 4 * TONE and near >= TWO_TONES * tones.sum())


def _even_in_full(stream: BinaryIO, image: Image.Image) -> bool:
    """The same of the whole image, where a JPEG was decoded at a fraction of its size and as grey."""
    if image.format not in {"JPEG", "MPO"}:
        return True
    stream.seek(0)
    with open_image(stream) as full:
        return _even(full)
