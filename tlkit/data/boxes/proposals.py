"""Region proposals by Selective Search: boxes of an image that may hold an object, whatever its class.

Segments of like colour are merged step by step, the most alike first, and the box around each one is a proposal
(Uijlings 2013; the fast mode of OpenCV's contributed modules, extra `proposals`). OpenCV gives the same boxes at every
call but in another order, and some twice: here each comes once, ordered by a hash of its four numbers, so that the
first so many of them are the same ones in every process, and lie anywhere in the image.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.core.environment import DECODING
from tlkit.core.files import cache_folder
from tlkit.data.boxes.dataset import Boxes
from tlkit.errors import UsageFault

BASE_K = 30  # how large first segments are: 150, the usual, joins a razor blade and what lies under it (see the docs)
LONGEST = 640  # pixels: of a larger image a copy is searched whose longer side has so many
VERSION = 1  # of what is done here; it stands, as the settings do, in the name of the cache's folder
_WORKERS = 4  # OpenCV lets go of Python's lock
REMEDY = 'pip install "tlkit[proposals]"'


def selective_search(pixels: np.ndarray) -> np.ndarray:
    """Boxes of an image that may hold an object.

    Args:
        pixels: uint8 [h, w, 3], RGB, or [h, w], grey.

    Returns:
        float32 [p, 4]: left, top, right, bottom in pixels, right and bottom exclusive, each box once, inside the image,
        in the order of a hash of it. An image without edges has one proposal, itself; none has no pixels.

    Raises:
        UsageFault: OpenCV or its contributed modules are not installed.
    """
    cv2 = _opencv()
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, 2)
    height, width = pixels.shape[:2]
    if not height or not width:
        return np.zeros((0, 4), np.float32)
    factor = min(1.0, LONGEST / max(height, width))
    sides = np.maximum(np.rint(np.array([width, height]) * factor), 1).astype(int)
    if factor < 1:
        pixels = cv2.resize(pixels, sides.tolist(), interpolation=cv2.INTER_AREA)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(pixels[..., ::-1]))  # OpenCV's colours are blue, green, red
    search.switchToSelectiveSearchFast(BASE_K)
    found = np.asarray(search.process(), np.int32).reshape(-1, 4)  # left, top, width, height
    boxes = in_order(np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], 1))
    scale = np.array([width, height]) / sides
    return (boxes * np.tile(scale, 2)).astype(np.float32)


def in_order(boxes: np.ndarray) -> np.ndarray:
    """Whole boxes int32 [m, 4], each once, in the order of a hash of its numbers: [p, 4]."""
    once = np.unique(boxes, axis=0)
    keys = [hashlib.blake2b(box.astype("<i4").tobytes(), digest_size=8).digest() for box in once]
    return once[sorted(range(len(once)), key=keys.__getitem__)]


def check_installed() -> str:
    """The version of OpenCV.

    Raises:
        UsageFault: It, or its contributed modules, are not installed.
    """
    return str(_opencv().__version__)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as fault:
        raise UsageFault(
            "Selective Search needs opencv-contrib-python-headless, which is not installed.", REMEDY
        ) from fault
    if not hasattr(cv2, "ximgproc"):
        raise UsageFault(
            f"Selective Search needs OpenCV's contributed modules, which the installed cv2 {cv2.__version__} lacks.",
            f"Uninstall opencv-python or opencv-python-headless, then {REMEDY}",
        )
    return cv2


# --- of files ---


def proposal_folder() -> Path:
    """Where the proposals of files are kept: by OpenCV's version, settings and decoder, a file an image, by content."""
    how = f"fast-{BASE_K}-{LONGEST}-{DECODING}-{VERSION}"
    return cache_folder() / "proposals" / f"opencv-{check_installed()}-{how}"


def proposals_of_files(
    files: Sequence[Path | str], most: int, told: Callable[[int], None] = lambda _done: None
) -> list[np.ndarray]:
    """The proposals of image files, computed once and kept in the cache by the content of each.

    Args:
        files: [n].
        most: An image at most; those of the lowest hashes.
        told: Is called with the number of files done.

    Returns:
        [n] float32 [p, 4], pixels of the upright image; none for a file that is no image, which whoever reads it names.

    Raises:
        UsageFault: OpenCV or its contributed modules are not installed.
    """
    return _in_order_of(files, _contents, most, told)


def proposals_of_contents(contents: Sequence[bytes], most: int | None = None) -> list[np.ndarray]:
    """The same of files of which the bytes are known; `most` None: all of each."""
    return _in_order_of(contents, bytes, most, lambda _done: None)


def with_proposals(boxes: Boxes, most: int, told: Callable[[int], None] = lambda _done: None) -> Boxes:
    """The same images with their proposals; arguments as for `proposals_of_files`."""
    return replace(boxes, proposals=tuple(proposals_of_files(boxes.files(), most, told)))


def _in_order_of(
    given: Sequence[Any], read: Callable[[Any], bytes], most: int | None, told: Callable[[int], None]
) -> list[np.ndarray]:
    folder = proposal_folder()
    found = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for done, boxes in enumerate(pool.map(lambda one: _of_contents(read(one), folder), given), 1):
            found.append(boxes[:most])
            told(done)
    return found


def _contents(file: Path | str) -> bytes:
    """The bytes of a file; none where it cannot be read, which are no image."""
    from tlkit.data.images.decoding.decode import read_contents

    try:
        return read_contents(Path(file))
    except (OSError, ValueError):
        return b""


def _of_contents(contents: bytes, folder: Path) -> np.ndarray:
    if not contents:
        return np.zeros((0, 4), np.float32)
    digest = hashlib.sha256(contents).hexdigest()
    kept = folder / digest[:2] / f"{digest}.npy"
    found = _read(kept)
    if found is None:
        found = _searched(contents)
        _keep(kept, found)
    return found


def _searched(contents: bytes) -> np.ndarray:
    """The proposals of an image by the bytes of its file, decoded as in training and in service."""
    import tensorflow as tf

    from tlkit.data.images.decoding.pixel_limit import most_pixels

    try:
        pixels = _decoder(most_pixels())(tf.constant(contents)).numpy()
    except tf.errors.InvalidArgumentError:
        return np.zeros((0, 4), np.float32)
    return selective_search(pixels)


@functools.cache
def _decoder(_most: int) -> Callable:
    """String scalar -> uint8 [h, w, 3], as a graph, under a limit in pixels that stands in it."""
    import tensorflow as tf

    from tlkit.data.images.decoding.decode import decode

    return tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _read(file: Path) -> np.ndarray | None:
    """What was kept; None where there is nothing, or a damaged file."""
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.float32 and found.shape[1:] == (4,) else None


def _keep(file: Path, found: np.ndarray) -> None:
    """Write a file aside and rename it; where the cache cannot be written, it is computed again the next time."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=".", dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                np.save(stream, found, allow_pickle=False)
            Path(aside).replace(file)
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise
