"""Class names of two sources are brought together by one rule."""

import pytest

from tlkit.core.text import place_of


@pytest.mark.parametrize(
    ("name", "names", "place"),
    [
        ("gun", ["knife", "gun"], 1),
        ("Gun", ["knife", "gun"], 1),
        ("STRASSE", ["straße"], 0),
        ("gun", ["GUN", "gun"], 1),  # the same comes before the alike
        ("Gun", ["GUN", "gun"], -1),  # a tie
        ("blade", ["knife", "gun"], -1),
        ("gun ", ["gun"], -1),
        ("gun", [], -1),
        ("gun", ("knife", "gun"), 1),
    ],
)
def test_the_same_counts_first_then_the_only_one_that_differs_in_case(name, names, place):
    assert place_of(name, names) == place
