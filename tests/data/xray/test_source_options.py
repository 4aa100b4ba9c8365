"""Options of built-in sources: what they come to, and what is said of those that cannot be."""

from __future__ import annotations

import re

import pytest

from tlkit.data.images.sources import read_images
from tlkit.data.xray.source_options import (
    BAGS,
    COUNT,
    LARGEST_SEED,
    MOST,
    BagSet,
    drawn_facts,
    is_bags,
    read_bags,
    same_source,
)
from tlkit.errors import UsageFault


def test_plain_bags_are_the_usual_ones_in_the_folder_of_before():
    usual = read_bags("xray:bags")
    assert usual == BagSet(0, 2000)
    assert usual.folder == "bags-1"
    assert read_bags(f"xray:bags:seed=0,count={COUNT}") == usual
    assert (usual.source, BagSet(7).source) == ("xray:bags", "xray:bags:seed=7")


def test_options_come_in_any_order_and_name_the_folder():
    found = read_bags("xray:bags:count=400,seed=7")
    assert found == BagSet(7, 400)
    assert found.source == "xray:bags:seed=7,count=400"
    assert found.folder == "bags-1-seed-7-count-400"
    assert drawn_facts(found.source) == {"drawn": {"seed": 7, "count": 400, "version": "1"}}
    assert drawn_facts("bags/") == {}
    assert same_source("xray:bags:count=400,seed=7", found.source)
    assert not same_source("xray:bags", found.source)
    assert not same_source(None, "bags/")
    assert [is_bags(one) for one in ("xray:bags", "xray:bags:seed=1", "xray:bagsx", "bags/")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("seed=x", "seed=x of xray:bags:seed=x is no whole number."),
        ("seed=", "seed= of xray:bags:seed= is no whole number."),
        ("seed", "seed= of xray:bags:seed is no whole number."),
        ("seed=1.5", "seed=1.5 of xray:bags:seed=1.5 is no whole number."),
        ("seed=٣", "seed=٣ of xray:bags:seed=٣ is no whole number."),
        ("seed=-1", "seed=-1 of xray:bags:seed=-1 is below 0."),
        (f"seed={LARGEST_SEED + 1}", "is above 4,294,967,295."),
        (f"seed={'9' * 5000}", "is above 4,294,967,295."),
        ("count=0", "count=0 of xray:bags:count=0 is below 1."),
        ("count=-5", "is below 1."),
        (f"count={MOST + 1}", "is above 20,000."),
        ("colour=red", "xray:bags has no option colour."),
        ("sed=7", "xray:bags has no option sed."),
        ("seed=1,seed=1", "xray:bags:seed=1,seed=1 gives seed twice."),
        ("seed=1,", "An option of xray:bags:seed=1, has no name."),
        ("", "An option of xray:bags: has no name."),
        ("seed=1:count=4", "is no whole number."),
    ],
)
def test_options_that_cannot_be_are_refused_with_a_remedy_that_works(options, said):
    with pytest.raises(UsageFault) as caught:
        read_bags(f"{BAGS}:{options}")
    assert caught.value.exit_code == 2
    assert caught.value.problem.endswith(said)
    (remedy,) = re.findall(r"xray:bags:[a-z0-9=,]*[a-z0-9]", caught.value.remedy)
    read_bags(remedy)


def test_the_nearest_option_is_offered():
    with pytest.raises(UsageFault, match="Did you mean seed"):
        read_bags("xray:bags:sead=7")


def test_crops_take_none():
    with pytest.raises(UsageFault, match="xray:crops takes no options, such as seed=7"):
        read_images("xray:crops:seed=7")
    for source in ("xray:", "xray:cropsx", "xray:bags:seed=7"):
        with pytest.raises(UsageFault, match=f"Source {source} is unknown"):
            read_images(source)
