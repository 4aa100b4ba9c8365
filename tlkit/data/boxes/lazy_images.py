"""Images of bags that threats are pasted into: any source of boxes, or a folder of images without any.

They are read one at a time and in their own depth, so that thousands of them need no memory. A coloured image is
worked upon as grey; the colours of what is added come from the colours that dense matter has in these bags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.data.boxes.dataset import Boxes, read_boxes, without_any
from tlkit.data.boxes.formats.detect import formats_in
from tlkit.data.boxes.formats.stated_sizes import image_sizes
from tlkit.data.boxes.formats.unsupported import stranger_in
from tlkit.data.images.decoding.depth import LUMA, channels_of, image_bits, read_image
from tlkit.data.images.readers.image_files import images_below
from tlkit.errors import DataFault


def read_backgrounds(source: str, *, faults: str = "refuse", unlabelled: str = "error") -> Boxes:
    """Describe the bags of a SOURCE.

    Args:
        source: As for `read_boxes`; or a folder with images and no boxes at all, which are then all empty.
        faults: As for `read_boxes`.
        unlabelled: As for `read_boxes`.

    Raises:
        DataFault, UsageFault: As for `read_boxes`; or an image without boxes does not open.
    """
    folder = Path(source)
    if folder.is_dir() and not formats_in(folder) and not stranger_in(folder):
        paths = list(images_below(folder))
        if paths:
            return _empty(source, folder, paths)
    return read_boxes(source, faults=faults, unlabelled=unlabelled)


def _empty(source: str, folder: Path, paths: list[str]) -> Boxes:
    sizes = image_sizes([folder / path for path in paths])
    for path, size in zip(paths, sizes, strict=True):
        if isinstance(size, str):
            raise DataFault(f"{folder / path} {size}.", "Take it out, or save it again as PNG or JPEG.")
    return without_any(source, folder, paths, [size for size in sizes if not isinstance(size, str)])


def without_boxes(boxes: Boxes) -> Boxes:
    """Only the images that have none."""
    return boxes.take([i for i in range(len(boxes)) if not len(boxes.xyxy[i])])


class Backgrounds(Sequence[np.ndarray]):
    """The images of `boxes` as greys float32 `[h, w]` in [0, 1], read when they are asked for.

    Args:
        boxes: Which images.
    """

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes
        self._last: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index):
        levels = self.levels(int(index))
        return levels[..., 0] if levels.shape[2] == 1 else levels @ LUMA

    def levels(self, index: int) -> np.ndarray:
        """Float32 `[h, w, 1]`, or `[h, w, 3]` of a coloured one, in [0, 1]."""
        if self._last is None or self._last[0] != index:
            file = self.boxes.file(index)
            self._last = index, read_image(file, channels_of([file]))
        return self._last[1]

    def bits(self, index: int) -> int:
        """8 or 16: the depth of the file."""
        return image_bits([self.boxes.file(index)])


def with_names(boxes: Boxes, names: Sequence[str]) -> tuple[Boxes, dict[str, str]]:
    """The same images with more classes at the end.

    Args:
        boxes: The images.
        names: Classes to have; one that is there but for upper and lower case is not added.

    Returns:
        The images, and for each of `names` the name that it has there.
    """
    known = {name.casefold(): name for name in boxes.class_names}
    spelling = {name: known.setdefault(name.casefold(), name) for name in names}
    added = sorted(set(spelling.values()) - set(boxes.class_names))
    return replace(boxes, class_names=(*boxes.class_names, *added), dealt=None), spelling
