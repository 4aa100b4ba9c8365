"""Splits of layouts that nobody thought of: groups and copies tie images together in every way."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from tlkit.data.images.dataset import PARTS, Found, Row
from tlkit.data.images.inspection import Inspection
from tlkit.data.images.splits import SHARES, split_images
from tlkit.errors import DataFault


def layout_of(seed, images, classes, groups, contents):
    """(class, declared group or None, content) of each image; with few groups and contents they meet often."""
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, (classes, groups + groups // 4 + 1, contents), (images, 3)).tolist()
    return [(label, group if group < groups else None, content) for label, group, content in drawn]


LAYOUTS = st.builds(
    layout_of,
    st.integers(0, 2**32),
    st.integers(4, 80),
    st.integers(1, 4),
    st.integers(1, 60),
    st.integers(1, 400),
)


@pytest.fixture(autouse=True, scope="module")
def _without_thumbnails():
    """Near duplicates have tests of their own, and take most of the time."""
    patch = pytest.MonkeyPatch()
    patch.setattr("tlkit.data.images.splits.near_duplicate_notes", lambda *_: [])
    yield
    patch.undo()


def images_of(layout, names=str):
    """Images without files, and what was seen in them."""
    rows = [
        Row(f"{label}/{i:03}.png", f"c{label}", None, None if group is None else names(group))
        for i, (label, group, _) in enumerate(layout)
    ]
    images = Found(rows, sorted({row.label for row in rows})).images("drawn", Path("nowhere"))
    order = sorted(range(len(rows)), key=lambda i: rows[i].path)
    return images, [seen(layout[i][2]) for i in order]


def seen(content):
    digest = hashlib.sha256(str(content).encode()).hexdigest()
    return Inspection(digest, None, np.zeros((32, 32), np.uint8))


def tied(images, inspections):
    """Sets of images that a chain of equal groups or equal contents ties together, by flooding."""
    keys = [
        {("group", group), ("content", one.sha256)} - {("group", None)}
        for group, one in zip(images.groups, inspections, strict=True)
    ]
    holders = defaultdict(set)
    for i, some in enumerate(keys):
        for key in some:
            holders[key].add(i)
    left, found = set(range(len(keys))), []
    while left:
        reached, waiting = set(), [min(left)]
        while waiting:
            i = waiting.pop()
            if i not in reached:
                reached.add(i)
                waiting += [j for key in keys[i] for j in holders[key]]
        left -= reached
        found.append(reached)
    return found


def by_main_class(images, ties):
    """Class -> its ties; a tie of several classes counts in its most frequent one."""
    found = defaultdict(list)
    for tie in ties:
        counts = Counter(images.labels[i] for i in tie)
        found[min(counts, key=lambda label: (-counts[label], label))].append(tie)
    return found


@given(LAYOUTS, st.integers(0, 5))
def test_every_image_is_in_one_part_and_no_tie_crosses(layout, seed):
    images, inspections = images_of(layout)
    ties = tied(images, inspections)
    classes = by_main_class(images, ties)
    if any(len(some) < 3 for some in classes.values()):
        event("too few groups")
        with pytest.raises(DataFault, match="too few (groups of images )?for training, validation and test"):
            split_images(images, inspections, seed=seed)
        return
    event("dealt")
    split = split_images(images, inspections, seed=seed)
    assert set(split.parts) == set(PARTS)
    assert sum(len(split.indices(part)) for part in PARTS) == len(images)
    assert sorted(i for part in PARTS for i in split.indices(part)) == list(range(len(images)))
    for tie in ties:
        assert len({split.parts[i] for i in tie}) == 1
        assert len({split.groups[i] for i in tie}) == 1
    assert len(set(split.groups)) == len(ties)
    for some in classes.values():
        check_shares(split, some)


def check_shares(split, ties):
    """Each class is in each part; where a part is as large as the largest group, it is at most one group off."""
    sizes = [len(tie) for tie in ties]
    wanted = [share * sum(sizes) for share in SHARES]
    for part, size in zip(PARTS, wanted, strict=True):
        number = sum(len(tie) for tie in ties if split.parts[min(tie)] == part)
        assert number > 0
        if max(sizes) <= min(wanted):
            assert abs(number - size) <= max(sizes)


@given(LAYOUTS, st.randoms(use_true_random=False))
def test_the_order_in_which_files_are_listed_does_not_matter(layout, random):
    images, inspections = images_of(layout)
    order = list(range(len(images)))
    random.shuffle(order)
    try:
        one = split_images(images, inspections)
    except DataFault:
        return
    other = split_images(images.take(order), [inspections[i] for i in order])
    assert [one.parts[i] for i in order] == list(other.parts)
    assert [one.groups[i] for i in order] == list(other.groups)
    assert sorted(one.manifest.splitlines()) == sorted(other.manifest.splitlines())


TEXT = st.text('a\r\n",#é', max_size=9) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=6
)


@given(LAYOUTS, st.lists(TEXT, min_size=1, max_size=4))
@example(layout=layout_of(0, 40, 2, 20, 400), names=["a\rb", "#"])
def test_a_manifest_gives_the_same_parts_again_whatever_the_groups_are_called(place, layout, names):
    images, inspections = images_of(layout, lambda group: f"{names[group % len(names)]}{group}")
    try:
        split = split_images(images, inspections, seed=1)
    except DataFault:
        return
    (place / "split.csv").write_text(split.manifest, encoding="utf-8", newline="")
    again = split_images(images, inspections, seed=2, manifest=place / "split.csv")
    assert again.parts == split.parts
    with (place / "split.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == list(images.paths)
    assert again.digest == split.digest
