"""A data set is picked from and joined as a whole: whatever it has an entry for each image of goes along."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tlkit.data.boxes.dataset import Boxes, without_any
from tlkit.data.boxes.splits import strata
from tlkit.data.images.dataset import Found, Images, Row

ROWS = [
    Row("b.png", "gun", "test", "g", ("new",)),
    Row("a.png", "knife", None, None, ("old",)),
    Row("c.png", "gun", "training", "h", ("old",)),
]


def labelled() -> Images:
    return Found(list(ROWS), ["gun", "knife"], columns=("scanner",)).images("typed", Path("root"))


def boxed() -> Boxes:
    images = labelled()
    own = {
        name: getattr(images, name)
        for name in ("source", "root", "class_names", "paths", "groups", "parts", "columns")
    }
    boxes = Boxes(
        **own,
        xyxy=tuple(np.arange(4 * n, dtype=np.float32).reshape(n, 4) for n in (1, 0, 2)),
        labels=(np.array([1], np.int32), np.zeros(0, np.int32), np.array([0, 1], np.int32)),
        difficult=tuple(np.zeros(n, bool) for n in (1, 0, 2)),
        sizes=((1, 2), (3, 4), (5, 6)),
        box_columns={"seen": (("x",), (), ("y", "z"))},
    )
    return replace(boxes, dealt=strata(boxes))


def entries(images, index: int) -> dict:
    """All that a data set has of one image."""
    found = {}
    for name in type(images).EACH:
        values = getattr(images, name)
        some = (
            {name: values} if not isinstance(values, dict) else {(name, key): v for key, v in values.items()}
        )
        found |= {
            key: None if value is None else np.asarray(value[index]).tolist() for key, value in some.items()
        }
    return found


@pytest.mark.parametrize("make", [labelled, boxed])
def test_what_has_an_entry_for_each_image_is_picked_and_the_rest_stays(make):
    images = make()
    some = images.take([2, 0])
    assert [entries(some, i) for i in range(2)] == [entries(images, i) for i in (2, 0)]
    assert len(some) == 2
    for one in fields(images):
        if one.name not in images.EACH:
            assert getattr(some, one.name) == getattr(images, one.name)
    assert len(images.take([])) == 0


@pytest.mark.parametrize("make", [labelled, boxed])
def test_images_follow_others_with_facts_that_are_asked_for(make):
    images, more = (
        make(),
        replace(make().take([1, 2]), paths=("y.png", "z.png"), columns={"other": ("1", "2")}),
    )
    both = images.followed_by(more)
    assert both.paths == ("a.png", "b.png", "c.png", "y.png", "z.png")
    assert [entries(both, i) for i in range(3)] == [entries(images, i) for i in range(3)]
    assert both.columns == {"scanner": ("old", "new", "old", "", "")}
    assert both.strata.tolist() == [*images.strata, *more.strata]
    assert both.objects() == [*images.objects(), *more.objects()]


def test_facts_of_boxes_that_the_others_lack_are_blank():
    more = replace(boxed().take([2]), box_columns={"made": (("1", "2"),)})
    assert boxed().followed_by(more).box_columns == {"seen": (("x",), (), ("y", "z"), ("", ""))}


def test_counts_and_strata_are_of_images_or_of_boxes():
    images, boxes = labelled(), boxed()
    assert images.counts() == {"gun": 2, "knife": 1}
    assert boxes.counts() == {"gun": 1, "knife": 2}
    assert images.objects() == [("knife",), ("gun",), ("gun",)]
    assert boxes.objects() == [("knife",), (), ("gun", "knife")]
    assert [boxes.strata_names[k] for k in boxes.strata] == ["knife", "empty", "gun"]
    assert images.strata is images.labels
    with pytest.raises(ValueError, match="were not split"):
        replace(boxes, dealt=None).strata  # noqa: B018 - the access is what is tested


def test_images_without_any_box():
    none = without_any("typed", Path("root"), ["1.png", "2.png"])
    assert (none.counts(), none.objects(), none.summary()["negative"]) == ({}, [(), ()], 2)
