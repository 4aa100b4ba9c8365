"""Before and after: whether two versions of the code answer alike, bit for bit, apart from times.

    python -m tests.before_and_after BEFORE AFTER [--only NAME ...] [--out FOLDER]
    python -m tests.before_and_after --list

BEFORE and AFTER are folders of a checkout (its files as they lie there at that moment) or revisions of this one. Each
side runs the same commands on the same sources, which are drawn here from seeds: every recipe once with tiny settings,
then `check`, `predict`, `evaluate`, `compare`, `export`, `runs`, `repeat`, `resume`, `convert` and every --help. What it
answered and every file that it left is written down as text without times, dates and paths (an image as the hash of
its pixels, weights as the hash of each array, a report as its visible text, TensorBoard as tags, steps and values, a
SavedModel as what it answers), and the two texts are compared: a line a case, `equal` or what differs. Exit code 1 if
anything does, 2 if a command ended otherwise than this script expects.

What a side came to is kept in FOLDER under the hash of its code, so a second AFTER costs its own half only, and one
that changes nothing in `tlkit` and `recipes` costs nothing. Its runs lie there too, in FOLDER/HASH/work/CASE.

RENAMED names the differences that are meant: patterns that are applied to what BEFORE came to.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.before_and_after.cases import CASES
from tests.before_and_after.sides import Side, code_of, earlier_options, results
from tests.before_and_after.sources import draw_sources

_IN = (
    r"(?<![#\w\"'/.|-])",
    r"(?![\w\"'/|=-]|\.\w|\":)",
)  # a word of a sentence: no key, name of a file or column
RENAMED: dict[str, str] = {
    "".join((_IN[0], old, _IN[1])): new
    for old, new in {
        r"a picture": "an image",
        r"A picture": "An image",
        r"pictures": "images",
        r"picture": "image",
        r"Pictures": "Images",
        r"Picture": "Image",
        r"the critic": "the discriminator",
        r"critic": "discriminator",
        r"games?": "GAN",
        r"judged": "evaluated",
        r"judging": "evaluating",
        r"judge": "evaluate",
        r"Judged": "Evaluated",
        r"laid in": "pasted in",
        r"laid into": "pasted into",
        r"handmade": "handcrafted",
        r"near copies": "near duplicates",
        r"dealt out": "split",
        r"Cook a recipe": "Run a recipe",
        r"Lay threats": "Paste threats",
        r"a evaluated": "an evaluated",
    }.items()
}


def renamed(text: str, table: Mapping[str, str]) -> str:
    for pattern, new in table.items():
        text = re.sub(pattern, new, text)
    return text


def differences(
    before: Mapping[str, str], after: Mapping[str, str], lines: int, table: Mapping[str, str] | None = None
) -> list[str]:
    """What differs, a text each: the name and the first lines of the difference."""
    table = RENAMED if table is None else table
    before = {renamed(name, table): renamed(text, table) for name, text in before.items()}
    found = []
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in before or name not in after:
            found.append(f"{name}: {'BEFORE' if name in before else 'AFTER'} only")
        elif before[name] != after[name]:
            sides = (before[name].splitlines(), after[name].splitlines())
            changes = [line[:300] for line in difflib.unified_diff(*sides, lineterm="", n=0)][2:]
            more = [f"... {len(changes) - lines} lines more"] if len(changes) > lines else []
            found.append("\n      ".join([name, *changes[:lines], *more]))
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.before_and_after", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "sides", nargs="*", metavar="BEFORE AFTER", help="Folders of checkouts, or revisions."
    )
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="NAME", help="These cases.")
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "tlkit-before-and-after", metavar="FOLDER"
    )
    parser.add_argument("--lines", type=int, default=12, help="Of the difference of a text.")
    parser.add_argument("--afresh", action="store_true", help="Run AFTER even where its results are kept.")
    parser.add_argument("--list", action="store_true", help="Name the cases.")
    given = parser.parse_args(words)
    if given.list:
        print(*CASES, sep="\n")
        return 0
    if len(given.sides) != 2:
        parser.error("two sides are to be compared: BEFORE AFTER")
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time in a folder: they share what is kept there
        return compare_all(given, given.out.resolve())


def compare_all(given: argparse.Namespace, out: Path) -> int:
    sources = draw_sources(out)
    places = [code_of(side, out) for side in given.sides]
    earlier = [earlier_options(place) for place in places]
    # An older version has the earlier names only; a newer one is asked by the present ones, as the cases are written
    sides = [
        Side(place, {} if own else earlier[1] or earlier[0])
        for place, own in zip(places, earlier, strict=True)
    ]
    called = {rf"(?<![\w-]){old}(?![\w-])": new for new, old in earlier[1].items()}
    codes = set()
    try:
        for name in given.only or CASES:
            before = results(sides[0], name, sources)
            after = results(sides[1], name, sources, afresh=given.afresh)
            codes.add(compare(name, before, after, given.lines, {**called, **RENAMED}))
    finally:
        for side in sides:
            side.close()
    return 1 if 1 in codes else max(codes)


def compare(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], lines: int, table: Mapping[str, str]
) -> int:
    """Say in a line whether a case is equal on both sides, and in some more how not; the exit code."""
    found = differences(before["texts"], after["texts"], lines, table)
    odd = [f"{word}: {text}" for word, each in (("BEFORE", before), ("AFTER", after)) for text in each["odd"]]
    took = f"{len(before['texts'])} texts, {before['seconds']:.0f} and {after['seconds']:.0f} s"
    print(f"{name}: {f'{len(found)} DIFFER' if found else 'equal'} ({took})", flush=True)
    for text in [*found, *(f"UNEXPECTED {text}" for text in odd)]:
        print(f"   {text}", flush=True)
    return 1 if found else 2 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
