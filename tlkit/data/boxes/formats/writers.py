"""Boxes written as COCO, VOC, YOLO, boxes.csv or mask images, so that reading them again gives the same to the last bit.

What a format has no room for lies beside it: `groups.csv` (group, split and facts of the images), `classes.txt`
(the order of the classes), for YOLO `attributes.csv` (facts of the boxes), and, but for COCO and mask images, `rle.csv`
(masks).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from tlkit.core.csv_writer import write_csv
from tlkit.core.files import check_new_folder, folder_aside
from tlkit.data.boxes.dataset import Boxes, read_boxes
from tlkit.data.boxes.formats.annotations import number
from tlkit.data.boxes.formats.coco import is_outline_area
from tlkit.data.boxes.formats.yolo import EXACT, label_place
from tlkit.data.boxes.masks.table import RLE, write_rle
from tlkit.data.boxes.masks.writer import write_masks
from tlkit.data.images.dataset import TEST, TRAINING, VALIDATION
from tlkit.errors import DataFault, RunFailed, UsageFault

FLAGS = ("difficult", "crowd")  # columns of tables


def write_boxes(boxes: Boxes, folder: str | Path, form: str, *, link: bool = False) -> Path:
    """Write images and boxes into a new folder, read it back, and only then give it its name.

    Args:
        boxes: What to write.
        folder: Must not exist, or be empty.
        form: "coco" (annotations.json, images/), "voc" (Annotations/, JPEGImages/), "yolo" (labels/, images/,
            classes.txt, data.yaml), "csv" (boxes.csv beside the images) or "masks" (masks/, masks.csv, images/).
        link: Hard-link the images instead of copying them.

    Returns:
        The folder.

    Raises:
        UsageFault: The folder is in use or inside the source, or the images cannot be linked there.
        DataFault: Two images would have one annotation file, a class name cannot be written, or a box has no mask
            where masks are written.
        RunFailed: What was written does not read as what was to be written.
    """
    folder = Path(folder)
    if form not in WRITERS:
        raise UsageFault(f"Format {form} is unknown.", f"Use {', '.join(WRITERS)}.")
    _check_names(boxes, form)
    with new_folder(folder, boxes.root) as aside:
        _place_images(boxes, aside / IMAGES[form], link=link)
        annotate(boxes, aside, form)
        try:
            unlike = difference(boxes, read_boxes(aside, masks=boxes.masks is not None))
        except DataFault as fault:  # of the folder under its name for now, which the person never sees
            unlike = fault.problem.replace(str(aside), str(folder)).removesuffix(".")
        if unlike:
            raise RunFailed(f"{boxes.source} does not survive as {form}: {unlike}.", "Please report this.")
    return folder


def difference(one: Boxes, other: Boxes) -> str | None:
    """The first thing in which two descriptions differ, in words; None if they say the same, source and root aside."""
    for name in ("class_names", "paths", "sizes", "groups", "parts", "columns", "box_columns"):
        if getattr(one, name) != getattr(other, name):
            return f"{name} differ"
    for path, mask, same in zip(one.paths, one.masks or (), other.masks or (), strict=False):
        if mask != same:
            return f"masks of {path} differ"
    if (one.masks is None) != (other.masks is None):
        return "one has masks, the other has none"
    for name in ("xyxy", "labels", "difficult", "crowd"):
        for path, first, second in zip(one.paths, getattr(one, name), getattr(other, name), strict=True):
            if not np.array_equal(first, second):
                return f"{name} of {path} differ: {first.tolist()} and {second.tolist()}"
    return None


@contextmanager
def new_folder(folder: Path, source: Path) -> Iterator[Path]:
    """A place aside to write into, which gets the folder's name when all went well and is gone otherwise.

    Raises:
        UsageFault: The folder is there already and not empty, or lies inside the source.
    """
    check_new_folder(folder, [source], outside=" the source")
    with folder_aside(folder) as aside:
        yield aside


def annotate(boxes: Boxes, folder: Path, form: str) -> None:
    """Write annotations, and what they have no room for, into a folder whose images are in place."""
    WRITERS[form](boxes, folder)
    if boxes.masks and form not in HOLDING_MASKS:
        every = zip(boxes.paths, boxes.masks, strict=True)
        write_rle(folder / RLE, ((path, j, mask) for path, some in every for j, mask in enumerate(some)))
    _write_groups(boxes, folder)


def _check_names(boxes: Boxes, form: str) -> None:
    for name in boxes.class_names:
        if name != name.strip() or not name.isprintable() or not name:
            raise DataFault(f"Class {name!r} cannot be written in every format.", "Rename it.")
    if form in {"voc", "yolo", "masks"}:
        first: dict[str, str] = {}
        for path in boxes.paths:
            stem = str(PurePosixPath(path).with_suffix(""))
            if first.setdefault(stem, path) != path:
                raise DataFault(
                    f"{first[stem]} and {path} would have one annotation file in {form}.",
                    "Rename one, or use --to coco or csv.",
                )


def _place_images(boxes: Boxes, folder: Path, *, link: bool) -> None:
    folder.mkdir(exist_ok=True)
    for index, path in enumerate(boxes.paths):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not link:
            shutil.copyfile(boxes.file(index), target)
            continue
        try:
            os.link(boxes.file(index).resolve(), target)
        except OSError as fault:
            if fault.errno not in {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK}:
                raise
            raise UsageFault(
                f"{boxes.file(index)} cannot be linked ({fault.strerror}).", "Leave --link out: copy."
            ) from None


def _write_names(boxes: Boxes, folder: Path) -> None:
    lines = "".join(f"{name}\n" for name in boxes.class_names)
    (folder / "classes.txt").write_text(lines, encoding="utf-8")


def _write_groups(boxes: Boxes, folder: Path) -> None:
    """groups.csv, where there is anything to say."""
    if not (any(boxes.groups) or any(boxes.parts) or boxes.columns):
        return
    rows = (
        (path, group or "", part or "", *(values[i] for values in boxes.columns.values()))
        for i, (path, group, part) in enumerate(zip(boxes.paths, boxes.groups, boxes.parts, strict=True))
    )
    write_csv(folder / "groups.csv", [("image", "group", "split", *boxes.columns), *rows])


def _texts(box: np.ndarray) -> list[str]:
    """The shortest numbers that give these float32 again: 179.416, and 3 for 3.0."""
    return [np.format_float_positional(value, trim="-") for value in box]


# --- boxes.csv ---


def _write_csv(boxes: Boxes, folder: Path) -> None:
    _write_names(boxes, folder)
    header = ("image", "left", "top", "right", "bottom", "class", *FLAGS, *boxes.box_columns)
    write_csv(folder / "boxes.csv", [header, *_csv_rows(boxes)])


def _csv_rows(boxes: Boxes) -> Iterator[Sequence]:
    for i, path in enumerate(boxes.paths):
        if not len(boxes.xyxy[i]):
            yield (path, *[""] * (7 + len(boxes.box_columns)))
        for j, box in enumerate(boxes.xyxy[i]):
            facts = (values[i][j] for values in boxes.box_columns.values())
            name = boxes.class_names[boxes.labels[i][j]]
            yield (path, *_texts(box), name, *_flags(boxes, i, j), *facts)


def _flags(boxes: Boxes, i: int, j: int) -> tuple[int, int]:
    """Of box j on image i, by `FLAGS`."""
    return int(boxes.difficult[i][j]), int(boxes.crowd[i][j])


# --- COCO ---


def _write_coco(boxes: Boxes, folder: Path) -> None:
    images = [
        {"id": i, "file_name": path, "width": width, "height": height}
        for i, (path, (width, height)) in enumerate(zip(boxes.paths, boxes.sizes, strict=True), 1)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(boxes.class_names, 1)]
    annotations = [
        {"id": number, **annotation} for number, annotation in enumerate(_coco_annotations(boxes), 1)
    ]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")


def _coco_annotations(boxes: Boxes) -> Iterator[dict]:
    for i in range(len(boxes)):
        for j, box in enumerate(boxes.xyxy[i]):
            left, top, width, height = coco_box(box)
            facts = {name: values[i][j] for name, values in boxes.box_columns.items()}
            area, own = number(facts.get("area")), width * height
            if is_outline_area(area, own) and repr(area) == facts["area"]:
                del facts["area"]
            else:
                area = own
            yield {
                "image_id": i + 1,
                "category_id": int(boxes.labels[i][j]) + 1,
                "bbox": [left, top, width, height],
                "area": area,
                **_segmentation(boxes, i, j),
                "iscrowd": int(boxes.crowd[i][j]),
                **({"ignore": 1} if boxes.difficult[i][j] else {}),
                **({"attributes": facts} if facts else {}),
            }


def _segmentation(boxes: Boxes, i: int, j: int) -> dict[str, Any]:
    """The mask of box j on image i as packed runs; nothing where it has none."""
    mask = boxes.masks[i][j] if boxes.masks else None
    return {"segmentation": mask.coco} if mask else {}


def coco_box(box: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, width, height such that float32(left + width) is the right edge again.

    Args:
        box: float32 `[4]`, left, top, right, bottom.
    """
    short = [float(text) for text in _texts(box)]
    sides = [round(short[2] - short[0], 9), round(short[3] - short[1], 9)]
    back = np.array([short[0] + sides[0], short[1] + sides[1]]).astype(np.float32)
    if not np.array_equal(back, box[2:]):
        short = box.astype(np.float64).tolist()
        sides = [short[2] - short[0], short[3] - short[1]]
    return short[0], short[1], sides[0], sides[1]


# --- VOC ---


def _write_voc(boxes: Boxes, folder: Path) -> None:
    _write_names(boxes, folder)
    for i, path in enumerate(boxes.paths):
        file = (folder / "Annotations" / path).with_suffix(".xml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(_voc_lines(boxes, i)) + "\n", encoding="utf-8")


def _voc_lines(boxes: Boxes, i: int) -> Iterator[str]:
    width, height = boxes.sizes[i]
    yield "<annotation>"
    yield f"  <filename>{escape(PurePosixPath(boxes.paths[i]).name)}</filename>"
    yield f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    for j, box in enumerate(boxes.xyxy[i]):
        yield "  <object>"
        yield f"    <name>{escape(boxes.class_names[boxes.labels[i][j]])}</name>"
        difficult, crowd = _flags(boxes, i, j)
        yield f"    <difficult>{difficult}</difficult>{'<crowd>1</crowd>' if crowd else ''}"
        keys = ("xmin", "ymin", "xmax", "ymax")
        yield f"    <bndbox>{''.join(f'<{k}>{t}</{k}>' for k, t in zip(keys, _texts(box), strict=True))}</bndbox>"
        facts = {name: values[i][j] for name, values in boxes.box_columns.items()}
        rows = (
            f"<attribute><name>{escape(n)}</name><value>{escape(v)}</value></attribute>"
            for n, v in facts.items()
        )
        if facts:
            yield f"    <attributes>{''.join(rows)}</attributes>"
        yield "  </object>"
    yield "</annotation>"


# --- YOLO ---


def _write_yolo(boxes: Boxes, folder: Path) -> None:
    _write_names(boxes, folder)
    names = "".join(f"  {k}: {json.dumps(n, ensure_ascii=False)}\n" for k, n in enumerate(boxes.class_names))
    parts = _write_lists(boxes, folder) or "train: images\nval: images\n"
    (folder / "data.yaml").write_text(f"path: .\n{parts}names:\n{names}", encoding="utf-8")
    for i, path in enumerate(boxes.paths):
        file = folder / label_place(f"images/{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (
            f"{label} {' '.join(yolo_box(box, boxes.sizes[i]))}\n"
            for label, box in zip(boxes.labels[i], boxes.xyxy[i], strict=True)
        )
        file.write_text("".join(lines), encoding="utf-8")
    if boxes.box_columns or any(flags.any() for flags in boxes.ignored):
        rows = (
            (path, j, *_flags(boxes, i, j), *(values[i][j] for values in boxes.box_columns.values()))
            for i, path in enumerate(boxes.paths)
            for j in range(len(boxes.xyxy[i]))
        )
        write_csv(folder / "attributes.csv", [("image", "box", *FLAGS, *boxes.box_columns), *rows])


def _write_lists(boxes: Boxes, folder: Path) -> str:
    """train.txt and its like for the parts that are declared; their lines of data.yaml."""
    entries = ""
    for part, key in ((TRAINING, "train"), (VALIDATION, "val"), (TEST, "test")):
        paths = [path for path, own in zip(boxes.paths, boxes.parts, strict=True) if own == part]
        if paths:
            text = "".join(f"./images/{path}\n" for path in paths)
            (folder / f"{key}.txt").write_text(text, encoding="utf-8")
            entries += f"{key}: {key}.txt\n"
    return entries


def yolo_box(box: np.ndarray, size: tuple[int, int]) -> list[str]:
    """Centre x, centre y, width, height as shares of the sides, with enough digits for the float32 pixels.

    Args:
        box: float32 `[4]`, left, top, right, bottom in pixels.
        size: Width and height of the image.
    """
    pairs = [_centre_and_side(float(box[axis]), float(box[axis + 2]), size[axis]) for axis in (0, 1)]
    return [pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]]


def _centre_and_side(first: float, last: float, side: int) -> tuple[str, str]:
    centre, width = (first + last) / 2 / side, (last - first) / side
    back = np.array([centre - width / 2, centre + width / 2]) * side
    back[np.abs(back) < 1e-9] = 0.0  # as the reader does
    if np.array_equal(back.astype(np.float32), np.array([first, last], np.float32)):
        return repr(centre), repr(width)
    one, other, whole = Decimal(first), Decimal(last), Decimal(side)
    middle = EXACT.divide(EXACT.add(one, other), 2 * whole)
    return f"{middle:.40f}", f"{EXACT.divide(EXACT.subtract(other, one), whole):.40f}"


WRITERS = {
    "coco": _write_coco,
    "voc": _write_voc,
    "yolo": _write_yolo,
    "csv": _write_csv,
    "masks": write_masks,
}
IMAGES = {"coco": "images", "voc": "JPEGImages", "yolo": "images", "csv": ".", "masks": "images"}
HOLDING_MASKS = {"coco", "masks"}  # forms that have room for masks
