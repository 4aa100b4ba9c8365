"""Pillow's `Image.open`, with one limit in pixels that is asked before anything is decoded.

Pillow has a limit of its own, which warns or raises by its own number; it is lifted while a file is opened here, so that
only ours speaks (`pixel_limit`), and is as before for everybody else.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from PIL import Image

from tlkit.data.images.decoding.pixel_limit import Declared, refuse_bomb, refuse_more

TILE_WIDTH, TILE_HEIGHT = 322, 323  # TIFF tags: a tile is unpacked whole, and may be larger than its image


class _PillowsLimitLifted:
    """While one thread or more is in here, Pillow has no limit; the last one puts it back."""

    def __init__(self) -> None:
        self._lock, self._inside, self._kept = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._kept


_LIFTED = _PillowsLimitLifted()


def open_image(file: str | Path | BinaryIO) -> Image.Image:
    """Open an image file through Pillow; its pixels are not decoded yet.

    Args:
        file: Where it lies, or itself: seekable, read from its beginning.

    Raises:
        TooManyPixels: It declares more pixels than are decoded.
        OSError: It cannot be read, or is no image; and what else Pillow's readers raise on hostile bytes.
    """
    if isinstance(file, (str, Path)):
        with Path(file).open("rb") as stream:
            refuse_bomb(stream)
    else:
        refuse_bomb(file)
    with _LIFTED:
        image: Image.Image = Image.open(file)
    try:
        refuse_more(_declared(image))
    except ValueError:
        image.close()
        raise
    return image


def _declared(image: Image.Image) -> Declared:
    sides = image.size
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = (int(tags.get(TILE_WIDTH, 0)), int(tags.get(TILE_HEIGHT, 0)))
        sides = max(sides, tile, key=lambda size: size[0] * size[1])
    return Declared(*sides, 1, sides[0] * sides[1])
