"""What pairs join is one family, against a plain walk from thing to thing."""

from __future__ import annotations

import random

import pytest

from tlkit.data.images.families import family_of


def reached(start, pairs):
    """All that pairs lead to from a thing."""
    found, waiting = {start}, [start]
    while waiting:
        thing = waiting.pop()
        new = {b for pair in pairs for a, b in (pair, pair[::-1]) if a == thing} - found
        found |= new
        waiting += new
    return found


def test_no_pairs_no_families():
    assert family_of([]) == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_family_is_what_pairs_lead_to(seed):
    draw = random.Random(seed)
    pairs = [(draw.choice("abcdefghijklm"), draw.randrange(9)) for _ in range(draw.randrange(1, 15))]
    family = family_of(pairs)
    assert set(family) == {thing for pair in pairs for thing in pair}
    for thing, number in family.items():
        assert {other for other, its in family.items() if its == number} == reached(thing, pairs)
