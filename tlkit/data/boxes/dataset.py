"""Data set of images with boxes: one description of every source that has them, and what boxes can be asked.

A box is float32 left, top, right, bottom in pixels; right and bottom are exclusive, so its width is right - left
and a box over the whole image is 0, 0, width, height. Everything behind this module knows only this form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tlkit.data.boxes import faults as box_faults
from tlkit.data.boxes.formats.annotations import WHOLE, Annotated, Annotations, Fault
from tlkit.data.boxes.formats.declared_parts import give_declared_parts, give_parts_of_folders
from tlkit.data.boxes.formats.detect import read_annotations
from tlkit.data.boxes.formats.groups import read_groups
from tlkit.data.boxes.formats.stated_sizes import Form, image_forms, into_shown
from tlkit.data.boxes.masks.faults import MaskRow, drawn_masks, kept_masks, no_masks
from tlkit.data.boxes.masks.table import read_rle
from tlkit.data.boxes.places import folder_of_masks, folder_of_source
from tlkit.data.images.dataset import Dataset
from tlkit.errors import DataFault, UsageFault

FAULTS = ("refuse", "clip")
UNLABELLED = ("error", "negative", "skip")
EMPTY = "empty"  # the stratum of images without boxes


@dataclass(frozen=True, kw_only=True)
class Boxes(Dataset):
    """Images with boxes, in the order of the paths: a `Dataset` whose `labels` are [n] int32 [m], one a box.

    `class_names` are in the source's order, else sorted; `remarks` say how images were found and parts declared where
    that is not plain.

    Attributes:
        xyxy: [n] float32 [m, 4]: left, top, right, bottom in pixels, right and bottom exclusive; m = 0 is allowed.
        masks: [n] of [m] `Mask` of the box's own object, as large as the image, or None where the source has none; None:
            not read, or the source has none at all.
        difficult: [n] bool [m]: single objects that count neither when found nor when missed, as VOC marks them: a
            detection is on one by its intersection over union.
        sizes: [n] (width, height) in pixels.
        box_columns: Further facts of the boxes by name, such as "occlusion", each [n] of [m] texts.
        notes: The remarks, then what was clipped, dropped, turned or left out, as sentences.
        mended: The latter as facts.
        crowd: [n] bool [m]: boxes around many objects (COCO's iscrowd, Open Images' IsGroupOf), which count neither
            when found nor when missed: a detection is on one by the share of itself that lies inside. Empty: none is.
        dealt: int32 [n]: what each image was split as, the strata; None: it was not.
        proposals: [n] float32 [p, 4]: regions that may hold an object (boxes/proposals.py), pixels; None: not sought.
    """

    EACH: ClassVar[tuple[str, ...]] = (
        *Dataset.EACH,
        "xyxy",
        "masks",
        "difficult",
        "sizes",
        "box_columns",
        "crowd",
        "dealt",
        "proposals",
    )

    labels: tuple[np.ndarray, ...]
    xyxy: tuple[np.ndarray, ...]
    masks: tuple[MaskRow, ...] | None = None
    difficult: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, int], ...]
    box_columns: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mended: tuple[Fault, ...] = ()
    crowd: tuple[np.ndarray, ...] = ()
    dealt: np.ndarray | None = None
    proposals: tuple[np.ndarray, ...] | None = None

    def __post_init__(self) -> None:
        if not self.crowd:
            object.__setattr__(self, "crowd", tuple(np.zeros(len(some), bool) for some in self.xyxy))

    @property
    def ignored(self) -> tuple[np.ndarray, ...]:
        """[n] bool [m]: difficult or a crowd; these are neither learned nor counted."""
        return tuple(one | other for one, other in zip(self.difficult, self.crowd, strict=True))

    def followed_by(self, more: Boxes) -> Boxes:
        """As of any data set; facts of boxes that `more` lacks are blank there. Both have proposals, or neither."""
        if (self.proposals is None) != (more.proposals is None):
            raise ValueError("some of these images have proposals, others were not searched")
        blank = tuple(("",) * len(some) for some in more.xyxy)
        facts = {name: more.box_columns.get(name, blank) for name in self.box_columns}
        masks = more.masks or no_masks(more.xyxy)
        return super().followed_by(replace(more, box_columns=facts, masks=masks))

    @property
    def told(self) -> tuple[str, ...]:
        """The notes counted, a sentence for each thing done; images left out come first."""
        known = set(box_faults.notes(self.mended))
        return (*box_faults.summary(self.mended), *(note for note in self.notes if note not in known))

    @property
    def strata(self) -> np.ndarray:
        """int32 [n]: the class on each image, or in its group, that the fewest groups have (see `boxes.splits`)."""
        if self.dealt is None:
            raise ValueError("these images were not split")
        return self.dealt

    @property
    def strata_names(self) -> tuple[str, ...]:
        """Names of the classes, and what images without boxes are called."""
        return (*self.class_names, EMPTY)

    def counted(self) -> dict[str, Any]:
        """Negative images, boxes, and boxes of each class."""
        every = self.summary()
        return {name: every[name] for name in ("negative", "boxes", "per_class")}

    def summary(self) -> dict:
        """Counts for card.json: images, negative images, boxes, difficult ones, crowds, boxes of each class."""
        return {
            "images": len(self),
            "negative": sum(not len(boxes) for boxes in self.xyxy),
            "boxes": sum(map(len, self.xyxy)),
            "difficult": int(sum(flags.sum() for flags in self.difficult)),
            "crowd": int(sum(flags.sum() for flags in self.crowd)),
            "per_class": self.counts(),
        }


def without_any(
    source: str, root: Path, paths: Sequence[str], sizes: Sequence[tuple[int, int]] | None = None
) -> Boxes:
    """Images without any box, of no class.

    Args:
        source: As typed.
        root: Folder that the paths are relative to.
        paths: [n].
        sizes: [n] width and height in pixels; None: unknown, which is said as 0, 0.
    """
    number = len(paths)
    return Boxes(
        source=source,
        root=root,
        class_names=(),
        paths=tuple(paths),
        xyxy=(np.zeros((0, 4), np.float32),) * number,
        labels=(np.zeros(0, np.int32),) * number,
        difficult=(np.zeros(0, bool),) * number,
        sizes=tuple(sizes or ((0, 0),) * number),
        groups=(None,) * number,
        parts=(None,) * number,
    )


def read_boxes(
    source: str | Path, *, faults: str = "refuse", unlabelled: str = "error", masks: bool = False
) -> Boxes:
    """Describe the images of a SOURCE and the boxes on them.

    Args:
        source: A folder, whose format is recognised by what lies there: boxes.csv, COCO JSON, Pascal VOC XML,
            YOLO labels, GDXray's ground_truth.txt, Open Images CSV; one such file; `xray:bags`, with options
            (`xray:bags:seed=7,count=400`) or without; or `tfds:NAME`, prepared. A `groups.csv`
            (image,group[,split][,...]) beside the annotations gives groups. Parts are those that the source declares:
            data.yaml, lists, names of files and folders.
        faults: What to do about boxes and files that cannot be: "refuse", or "clip": boxes over the edge are clipped,
            double ones dropped, and images with a box that has no one meaning left out as a whole.
        unlabelled: What an image without annotation is: "error" (a fault), "negative" or "skip".
        masks: Read the masks too, and look at them; "clip" leaves out those that cannot be, and keeps their boxes.

    Raises:
        DataFault: The source is missing, has no boxes of a known format, or faults that are not to be mended.
        UsageFault: The source has an unknown prefix, or an argument an unknown value.
    """
    if faults not in FAULTS:
        raise UsageFault(f"--faults {faults} is unknown.", "Use refuse or clip.")
    examined = examine_boxes(source, unlabelled=unlabelled, masks=masks)
    found, doubt = examined.faults, examined.doubt
    if faults == "clip" and not doubt:  # what an image without annotation shows nobody can mend from here
        found = [fault for fault in found if fault.kind == "unlabelled-image"]
    box_faults.refuse(str(source), found, examined.hint, doubt=doubt)
    if not len(examined.boxes):
        why = next(iter(examined.boxes.told), "None is left.")
        raise DataFault(
            f"{source} has no image left: {why}", f"{examined.hint}tlkit check {source} lists what to mend."
        )
    return examined.boxes


def require_masks(boxes: Boxes) -> Boxes:
    """The same images, of which some object has a mask.

    Raises:
        DataFault: None has one.
    """
    if not any(mask for row in boxes.masks or () for mask in row):
        remedy = "Give polygons, run lengths or images of masks, or find boxes: tlkit run detect-faster-rcnn."
        raise DataFault(f"{boxes.source} has boxes, but no masks.", remedy)
    return boxes


class Examined(NamedTuple):
    """What lies in a SOURCE of boxes, for those who train and those who check alike.

    Attributes:
        boxes: As far as they can be used.
        faults: What training refuses.
        remarks: What was done to boxes that have one meaning, and is worth a word.
        hint: A guess at the faults' common cause, as a sentence; may be empty.
        doubt: No box can be trusted, for the cause holds for all.
    """

    boxes: Boxes
    faults: list[Fault]
    remarks: list[Fault]
    hint: str
    doubt: bool


def examine_boxes(source: str | Path, *, unlabelled: str = "error", masks: bool = False) -> Examined:
    """Read a SOURCE of boxes and look at every one, and raise nothing for what is wrong with some.

    Args:
        source: As for `read_boxes`.
        unlabelled: As for `read_boxes`.
        masks: As for `read_boxes`.

    Raises:
        DataFault, UsageFault: It cannot be read at all.
    """
    source = str(source)
    if unlabelled not in UNLABELLED:
        raise UsageFault(f"--unlabelled {unlabelled} is unknown.", "Use error, negative or skip.")
    place = folder_of_source(source)
    annotations = read_annotations(source, place)
    faults = [*annotations.faults, *box_faults.unlabelled_faults(annotations, unlabelled)]
    give_declared_parts(annotations)
    read_groups(place, annotations)
    give_parts_of_folders(annotations)
    if masks:
        read_rle(folder_of_masks(source, place), annotations)
    images = sorted(annotations.images, key=lambda image: image.path)
    forms = image_forms([annotations.root / image.path for image in images])
    readable: list[tuple[Annotated, Form]] = []
    for image, form in zip(images, forms, strict=True):
        if isinstance(form, str):
            faults.append(Fault("unreadable-image", image.path, form, "left out", image.path))
        else:
            readable.append((image, form))
    if not readable and not faults:
        raise DataFault(f"{source} has no images.", "Put images and their annotations there.")
    told = [fault for image, form in readable for fault in into_shown(image, form)]
    faults += [fault for fault in told if fault.done == WHOLE]
    remarks = [fault for fault in told if fault.done != WHOLE]
    return _described(source, annotations, readable, faults, remarks, masks=masks)


def _described(
    source: str,
    annotations: Annotations,
    readable: list[tuple[Annotated, Form]],
    faults: list[Fault],
    remarks: list[Fault],
    *,
    masks: bool,
) -> Examined:
    """Check every box, and every mask, then describe what is left."""
    normalised = annotations.normalised
    corners = [box_faults.pixel_corners(image, form.size, normalised=normalised) for image, form in readable]
    checked = [
        box_faults.checked_boxes(image, boxes, form.size, normalised=normalised)
        for (image, form), boxes in zip(readable, corners, strict=True)
    ]
    hint, doubt = annotations.doubt, bool(annotations.doubt)
    if not doubt and any(found for _, _, found in checked):
        every = np.concatenate(corners)
        sizes = np.concatenate([np.tile(form.size, (len(b), 1)) for (_, form), b in zip(readable, corners)])
        hint = box_faults.order_hint(every, sizes, annotations.written, normalised=normalised)
        doubt = bool(hint) and box_faults.most_misfit(every, sizes)
        if hint:  # a box over the edge may be one of another order, which clipping would keep
            checked = [box_faults.unclipped(*one) for one in checked]
    drawn, checked = drawn_masks(readable, checked) if masks else (no_masks(corners), checked)
    names = Counter(dict.fromkeys(annotations.class_names or (), 0))
    names.update(record.name for image, _ in readable for record in image.records)
    spelling, odd = box_faults.merged_names(names)
    faults = [*faults, *odd, *(fault for _, _, found in checked for fault in found)]
    whole = [
        not image.spoiled and all(fault.done != WHOLE for fault in found)
        for (image, _), (_, _, found) in zip(readable, checked, strict=True)
    ]
    left = [one for one, kept in zip(readable, whole, strict=True) if kept]
    used = sorted({spelling[record.name] for image, _ in left for record in image.records})
    class_names = tuple(dict.fromkeys(spelling[name] for name in annotations.class_names or used))
    looked_at = [one for one, kept in zip(checked, whole, strict=True) if kept]
    boxes = _boxes(source, annotations, left, looked_at, class_names, spelling, [*faults, *remarks])
    boxes = replace(boxes, masks=kept_masks([m for m, kept in zip(drawn, whole) if kept], looked_at))
    return Examined(boxes, faults, remarks, hint, doubt)


def _boxes(
    source: str,
    annotations: Annotations,
    readable: list[tuple[Annotated, Form]],
    checked: list[tuple[np.ndarray, np.ndarray, list[Fault]]],
    class_names: tuple[str, ...],
    spelling: dict[str, str],
    mended: list[Fault],
) -> Boxes:
    index = {name: i for i, name in enumerate(class_names)}
    images = [image for image, _ in readable]
    kept = [np.flatnonzero(usable) for _, usable, _ in checked]
    records = [[image.records[i] for i in rows] for image, rows in zip(images, kept, strict=True)]
    extras = sorted({name for some in records for record in some for name in record.extras})
    further = sorted({name for image in images for name in image.columns})
    return Boxes(
        source=source,
        root=annotations.root,
        class_names=class_names,
        paths=tuple(image.path for image in images),
        xyxy=tuple(boxes[rows] for (boxes, _, _), rows in zip(checked, kept, strict=True)),
        labels=tuple(np.array([index[spelling[r.name]] for r in some], np.int32) for some in records),
        difficult=tuple(np.array([r.difficult for r in some], bool) for some in records),
        sizes=tuple(form.size for _, form in readable),
        groups=tuple(image.group for image in images),
        parts=tuple(image.part for image in images),
        columns={name: tuple(image.columns.get(name, "") for image in images) for name in further},
        box_columns={
            name: tuple(tuple(r.extras.get(name, "") for r in some) for some in records) for name in extras
        },
        notes=(*annotations.notes, *box_faults.notes(mended)),
        remarks=tuple(annotations.notes),
        mended=tuple(mended),
        crowd=tuple(np.array([r.crowd for r in some], bool) for some in records),
    )


# --- what boxes can be asked ---


def areas(xyxy: np.ndarray) -> np.ndarray:
    """Square pixels of boxes `[..., 4]`: float64 `[...]`; 0 for inverted ones."""
    sides = np.maximum(xyxy[..., 2:].astype(np.float64) - xyxy[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def intersections(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Square pixels that each box of `[n, 4]` shares with each of `[m, 4]`: float64 `[n, m]`."""
    return _shared(
        np.asarray(one, np.float64).reshape(-1, 1, 4), np.asarray(other, np.float64).reshape(1, -1, 4)
    )


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of `[n, 4]` with each of `[m, 4]`.

    Args:
        one: Left, top, right, bottom, any float.
        other: Likewise.

    Returns:
        float64 `[n, m]`, 0..1; 0 where both boxes are empty.
    """
    common = intersections(one, other)
    one, other = np.asarray(one).reshape(-1, 4), np.asarray(other).reshape(-1, 4)
    union = areas(one)[:, None] + areas(other)[None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def paired_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of the boxes of `[n, 4]` with those of `[n, 4]` in the same place: float64 `[n]`."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    common = _shared(one, other)
    union = areas(one) + areas(other) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def paired_inside(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of each box of `[n, 4]` that lies inside that of `[n, 4]` in the same place: float64 `[n]`."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    common, own = _shared(one, other), areas(one)
    return np.divide(common, own, out=np.zeros_like(common), where=own > 0)


def _shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Square pixels that boxes `[..., 4]` share with others of the same place, or of a shape that broadcasts."""
    corner = np.maximum(one[..., :2], other[..., :2])
    sides = np.maximum(np.minimum(one[..., 2:], other[..., 2:]) - corner, 0)
    return sides[..., 0] * sides[..., 1]


def clip_boxes(xyxy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes `[m, 4]` cut at the edges of an image of (width, height), float32; empty ones are kept."""
    return np.clip(np.asarray(xyxy, np.float32).reshape(-1, 4), 0, np.array([*size, *size], np.float32))
