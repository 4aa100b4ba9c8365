"""A hash says whether two files are the same, and nothing else: not their names, times or places."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.test_splits import LAYOUTS, images_of
from tlkit.data.images.inspection import inspect_file, inspect_files
from tlkit.data.images.splits import Split, groups_of

CONTENTS = st.binary(max_size=200)


@given(CONTENTS, CONTENTS)
def test_equal_hash_means_equal_bytes(place, one, other):
    (place / "one.png").write_bytes(one)
    (place / "other.jpg").write_bytes(other)
    first, second = inspect_files([place / "one.png", place / "other.jpg"])
    assert first.sha256 == hashlib.sha256(one).hexdigest()
    assert (first.sha256 == second.sha256) == (one == other)
    assert first.error  # no two hundred random bytes are an image
    assert first.thumbnail.shape == (32, 32)
    assert inspect_file(place / "nowhere.png").error == "cannot be read (No such file or directory)"


@given(LAYOUTS)
def test_equal_contents_are_one_group_whatever_is_declared(layout):
    images, inspections = images_of(layout)
    groups = groups_of(images, inspections)
    for key in (lambda i: inspections[i].sha256, lambda i: images.groups[i] or i):
        leaders = {}
        assert all(leaders.setdefault(key(i), groups[i]) == groups[i] for i in range(len(images)))


@given(LAYOUTS, st.data())
def test_the_digest_of_a_split_changes_with_everything_that_it_says(layout, data):
    images, inspections = images_of(layout)
    hashes = tuple(one.sha256 for one in inspections)
    split = Split(images, hashes, hashes, ("training",) * len(images))
    i = data.draw(st.integers(0, len(images) - 1))

    def put(values, value):
        return (*values[:i], value, *values[i + 1 :])

    labels = images.labels.copy()
    labels[i] = (labels[i] + 1) % len(images.class_names)
    others = [
        replace(split, sha256=put(hashes, "0" * 64)),
        replace(split, groups=put(hashes, "other")),
        replace(split, parts=put(split.parts, "test")),
        replace(split, images=replace(images, paths=put(images.paths, "z.png"))),
    ]
    if not np.array_equal(labels, images.labels):
        others.append(replace(split, images=replace(images, labels=labels)))
    digests = {one.digest for one in others}
    assert len(digests) == len(others)
    assert split.digest not in digests
    assert replace(split).digest == split.digest
