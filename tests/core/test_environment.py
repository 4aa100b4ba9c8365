"""Environments: what counts as a change, what is unknown, and what a resumed run remembers."""

from __future__ import annotations

import pytest

from tlkit.core.environment import changed_facts, joined


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"onednn": True}, {"onednn": False}, {"onednn": "onednn was on and is off."}),
        ({"onednn": "1"}, {"onednn": False}, {"onednn": "onednn was on and is off."}),  # the variable's text
        ({"onednn": "0"}, {"onednn": False}, {}),
        ({"onednn": "default"}, {"onednn": True}, {}),
        ({"onednn": True}, {"onednn": None}, {}),
        ({}, {"instructions": ["avx2"]}, {}),  # not written down then
        ({"pools": [0, 0]}, {"pools": [1, 0]}, {"pools": "pools was 0 0 and is 1 0."}),
        ({"changes": ["x"]}, {}, {}),
    ],
)
def test_what_counts_as_a_change(before, now, expected):
    assert changed_facts(before, now) == expected


def test_changes_add_up_over_resumptions_and_what_computes_nothing_is_no_change():
    first = {"threads": 2, "platform": "Linux-1", "tensorflow": "2.20"}
    second, new = joined(first, {"threads": 4, "platform": "Linux-2", "tensorflow": "2.20"})
    assert new == ["threads was 2 and is 4."]
    third, new = joined(second, {"threads": 4, "platform": "Linux-2", "tensorflow": "2.21"})
    assert new == ["tensorflow was 2.20 and is 2.21."]
    assert third["changes"] == ["threads was 2 and is 4.", *new]
    assert joined({}, first) == (first, [])


def test_a_card_without_a_version_of_the_decoder_is_of_the_first():
    now = {"onednn": True, "decoding": 2}
    assert "decoder" in changed_facts({"onednn": True}, now)["decoding"]
    assert changed_facts({"onednn": True, "decoding": 2}, now) == {}
    assert changed_facts({}, now) == {}, "nothing was computed before"
