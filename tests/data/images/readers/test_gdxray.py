"""GDXray's contest: the published numbers of images, each crop in one part."""

from __future__ import annotations

from collections import Counter

import pytest

from tlkit.data.images.readers.gdxray import CONTEST, contest_images
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault


@pytest.fixture(scope="module")
def gdxray(tmp_path_factory):
    """Empty files with GDXray's names, more than the contest takes."""
    root = tmp_path_factory.mktemp("gdxray")
    for series, last in (("B0049", 200), ("B0050", 100), ("B0051", 100), ("B0078", 500), ("B0079", 150), ("B0080", 150),
                         ("B0081", 150), ("B0082", 600), ("B0083", 5)):  # fmt: skip
        folder = root / "Baggages" / series
        folder.mkdir(parents=True)
        for number in range(1, last + 1):
            (folder / f"{series}_{number:04d}.png").touch()
    return root


def test_the_published_numbers(gdxray):
    images = read_images(f"gdxray:{gdxray}")
    counts = Counter(
        (images.class_names[label], part) for label, part in zip(images.labels, images.parts, strict=True)
    )
    assert counts == {
        ("gun", "training"): 200, ("shuriken", "training"): 100, ("blade", "training"): 100, ("other", "training"): 500,
        ("gun", "validation"): 50, ("shuriken", "validation"): 50, ("blade", "validation"): 50, ("other", "validation"): 200,
        ("gun", "test"): 100, ("shuriken", "test"): 100, ("blade", "test"): 100, ("other", "test"): 400,
    }  # fmt: skip
    assert len(set(images.paths)) == len(images) == 1950
    assert images.columns["series"][0] == "B0049"


def test_no_series_is_learned_and_judged():
    learned = {s.series for s in CONTEST if s.part == "training"}
    assert not learned & {s.series for s in CONTEST if s.part != "training"}


def test_a_missing_crop_is_named(gdxray):
    file = gdxray / "Baggages" / "B0081" / "B0081_0099.png"
    file.rename(gdxray / "aside")
    try:
        with pytest.raises(DataFault, match="has no B0081_0099, which the contest's test part needs"):
            contest_images(gdxray)
    finally:
        (gdxray / "aside").rename(file)
    with pytest.raises(DataFault, match="does not exist"):
        read_images("gdxray:nowhere")
