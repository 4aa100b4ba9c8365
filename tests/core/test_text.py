"""Words for people: names that were meant, names of two sources brought together, ends of long ones."""

import pytest

from tlkit.core.text import did_you_mean, end_of, place_of


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


def test_what_a_name_may_have_meant():
    known = ("gun", "knife", "knives", "razor")
    assert did_you_mean("knif", known) == "Did you mean knife?"
    assert did_you_mean("knife", known, 2) == "Did you mean knife or knives?"
    assert did_you_mean("knif", known, shown="photos/{}".format) == "Did you mean photos/knife?"
    assert did_you_mean("bottle", known) == ""
    assert did_you_mean("bottle", known, otherwise="Take gun.") == "Take gun."
    assert did_you_mean("rzr", known, cutoff=0.9) == ""


def test_the_end_of_a_long_text_says_more_than_its_beginning():
    assert end_of("a/b/c.png", 9) == "a/b/c.png"
    assert end_of("photos/b/c.png", 9) == ".../c.png"
