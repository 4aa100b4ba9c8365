"""Table of detectors: a row from the card of each run, as plain columns, Markdown, and tables of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.core.text import count, listed

Row = dict[str, Any]

RATES = ("0.1", "0.5", "1")  # false alarms an image
HIDDEN_AT = 0.5  # at which recall by occlusion stands in the table
SIZES = {"APs": "small", "APm": "medium", "APl": "large"}
INTERVALS = ("AP50", "AP", *(f"recall@{rate}" for rate in RATES))
LOWEST = ("milliseconds", "seconds_a_step")  # columns whose best is the least
NUMBERS = (
    "minutes",
    "steps",
    "training_images",
    "seconds_a_step",
    "milliseconds",
    "parameters",
    "image_size",
)


@dataclass(frozen=True)
class Same:
    """What the rows of one table have in common.

    Attributes:
        split_sha256: Digest of the parts.
        classes: Names.
        minutes: Of learning, of those that were trained for it.
        backbone: Theirs.
        weights: What it starts from.
        image_size: Theirs, pixels.
    """

    split_sha256: str
    classes: tuple[str, ...]
    minutes: float | None
    backbone: str
    weights: str
    image_size: int


def unfit(card: Mapping[str, Any], run: Path | str, same: Same) -> str:
    """Why a finished run cannot have a row beside the others, in a sentence; "" where it can."""
    if card.get("kind") != "detector":
        return f"{run} is no run of a detector."
    if "AP50" not in ((card.get("measures") or {}).get("test") or {}):
        return f"{run} was not evaluated on a test part."
    theirs = tuple(card.get("classes") or ())
    if theirs != same.classes:
        return f"{run} finds {listed(theirs)}, and not {listed(same.classes)}: no row can stand beside the others."
    if (card.get("data") or {}).get("split_sha256") != same.split_sha256:
        return (
            f"{run} has other images or other parts (split.csv), so that it was evaluated on others or learned from "
            "these: make it again with the options of this comparison."
        )
    return ""


def row_of(card: Mapping[str, Any], run: Path | str, milliseconds: float | None, same: Same) -> Row:
    """A row of a run: plain columns, None where the run does not say.

    Args:
        card: Its card.json; see `unfit`.
        run: Its folder.
        milliseconds: What an image took.
        same: What was asked for; where the run differs, `differs` says so in words.
    """
    test, model, options = card["measures"]["test"], card.get("model") or {}, card.get("options") or {}
    row: Row = {
        "detector": name_of(card),
        "differs": "",
        "run": str(run),
        "backbone": model.get("backbone"),
        "weights": f"run {options['start']}" if options.get("start") else options.get("weights"),
        "image_size": model.get("image_size"),
        **length_of(card),
        "milliseconds": milliseconds,
        "parameters": model.get("parameters"),
        **{name: test.get(name) for name in ("n", "groups", "objects")},
    }
    recalls = {f"recall@{one['rate']:g}": one.get("recall") for one in test.get("screening") or ()}
    for name in INTERVALS:
        row[name] = recalls.get(name) if name.startswith("recall") else test.get(name)
        row[f"{name}_low"], row[f"{name}_high"] = (test.get("intervals") or {}).get(name) or (None, None)
    masks = test.get("masks") or {}
    row |= {f"mask_{name}": masks.get(name) for name in ("AP50", "AP")}
    row |= {name: test.get(name) for name in SIZES}
    row["proposals"] = (test.get("proposals") or {}).get("recall")
    row |= _by_occlusion(test)
    row |= {f"AP50 {name}": one.get("AP50") for name, one in (test.get("per_class") or {}).items()}
    row["seed"] = options.get("seed")
    return {**row, "differs": differs(row, same)}


def name_of(card: Mapping[str, Any]) -> str:
    """What a detector's recipe calls it, such as "faster-rcnn" of detect-faster-rcnn."""
    recipe = str(card.get("recipe") or (card.get("model") or {}).get("network"))
    return recipe.removeprefix("detect-")


def length_of(card: Mapping[str, Any]) -> Row:
    """How long a run learned: minutes where it was told so, steps, images it learned from, and seconds a step."""
    length, learning, options = (card.get(name) or {} for name in ("length", "learning", "options"))
    phases = [phase for phase in card.get("phases") or () if phase.get("epochs")]
    training = (((card.get("data") or {}).get("parts") or {}).get("training") or {}).get("n")
    steps = length.get("steps")
    if steps is None and phases and training and options.get("batch"):
        steps = sum(phase["epochs"] for phase in phases) * math.ceil(training / options["batch"])
    paces = list(((length.get("pace") or {}).get("steps") or {}).values())
    return {
        "minutes": length.get("minutes", learning.get("minutes")),
        "steps": steps,
        "training_images": learning.get("training_images", training),
        "seconds_a_step": paces[-1] if paces else None,
    }


def differs(row: Row, same: Same) -> str:
    """In what a row was not made as asked, in words; "" where in nothing."""
    said = []
    if row["minutes"] != same.minutes:
        learned = "" if row["steps"] is None else count(row["steps"], "step")
        said.append(f"{row['minutes']:g} minutes" if row["minutes"] is not None else learned or "no set time")
    if row["backbone"] != same.backbone:
        said.append(f"on {row['backbone']}")
    if row["weights"] not in (None, same.weights):
        said.append(f"from {'random weights' if row['weights'] == 'none' else row['weights']}")
    if row["image_size"] != same.image_size:
        said.append(f"at {row['image_size']} pixels")
    return ", ".join(said)


def _by_occlusion(test: Mapping[str, Any]) -> Row:
    """Recall of the objects of which a share is hidden, at one rate of false alarms, and how many there are."""
    of_rate = [one for one in test.get("screening") or () if one["rate"] == HIDDEN_AT]
    bins = (of_rate[0].get("per_bin") or {}) if of_rate else {}
    found = {f"hidden {share}": one["recall"] for share, one in bins.items()}
    return found | {f"hidden {share} objects": one["objects"] for share, one in bins.items()}


def ordered(rows: Sequence[Row]) -> list[Row]:
    """The rows, the highest AP50 first; equal ones in their order."""
    return sorted(rows, key=lambda row: -(row["AP50"] or 0.0))


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns that any row has, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_table(rows: Sequence[Row], absent: Sequence[tuple[str, str]]) -> list[list[Any]]:
    """Header and cells of table.csv: all columns of all rows, and `why` for a detector without figures."""
    header = [*columns_of(rows), "why"] if rows else ["detector", "why"]
    body = [[row.get(name, "") for name in header[:-1]] + [""] for row in rows]
    blank = [""] * (len(header) - 2)
    cells = [*body, *([name, *blank, why] for name, why in absent)]
    return [header, *([("" if cell is None else cell) for cell in row] for row in cells)]


# --- for people ---


@dataclass(frozen=True)
class Part:
    """One table for people.

    Attributes:
        title: Its heading.
        columns: (heading, name of the row's column); `learned`, `interval:NAME` and `marked` are made of several.
        note: A sentence or two below it.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    note: str = ""


MARK = "*"


def parts_of(rows: Sequence[Row], classes: Sequence[str]) -> list[Part]:
    """The tables: worth, by class, by size and occlusion, costs; columns that no row has a figure for are left out."""
    others = [f"{row['detector']} ({row['differs']})" for row in rows if row["differs"]]
    marked = f"{MARK} learned otherwise: {'; '.join(others)}." if others else ""
    first = ("detector", "marked")
    worth = Part(
        "What each detector finds",
        (
            first,
            *((name, f"interval:{name}") for name in ("AP50", "AP")),
            *((f"recall at {rate}", f"interval:recall@{rate}") for rate in RATES),
            ("mask AP", "mask_AP"),
            ("proposals on", "proposals"),
        ),
        " ".join(filter(None, (_worth_note(rows), marked))),
    )
    by_class = Part("AP50 by class", (first, *((name, f"AP50 {name}") for name in classes)))
    shares = [
        name for name in columns_of(rows) if name.startswith("hidden ") and not name.endswith("objects")
    ]
    hidden = [(f"{name.removeprefix('hidden ')} hidden", name) for name in sorted(shares)]
    objects = {
        name: next(row[f"{name} objects"] for row in rows if f"{name} objects" in row) for name in shares
    }
    by_size = Part(
        "By size and by occlusion" if shares else "By size",
        (first, *((f"AP {text}", name) for name, text in SIZES.items()), *hidden),
        "Small objects have below 32 x 32 pixels of the file, large ones from 96 x 96 on (COCO)."
        + (f" {_hidden_note(objects)}" if shares else ""),
    )
    costs = Part(
        "What it costs",
        (
            first,
            ("learned", "learned"),
            ("s/step", "seconds_a_step"),
            ("ms/image", "milliseconds"),
            ("parameters", "parameters"),
            ("backbone", "backbone"),
            ("pixels", "image_size"),
        ),
        "A step was timed before its training, an image on its own, as tlkit predict answers, the search for proposals "
        "with it; all on this machine, as busy as it was.",
    )
    return [_known(part, rows) for part in (worth, by_class, by_size, costs)]


def _worth_note(rows: Sequence[Row]) -> str:
    said = "In brackets 95 % intervals over groups; recall at 0.1, 0.5 and 1 false alarms an image."
    proposals = " Proposals on: share of the objects that any proposal is on (IoU 0.5)."
    return said + (proposals if any(row.get("proposals") is not None for row in rows) else "")


def _hidden_note(objects: Mapping[str, int]) -> str:
    counts = "; ".join(
        f"{name.removeprefix('hidden ')}: {count(n, 'object')}" for name, n in sorted(objects.items())
    )
    return (
        f"Hidden: share of an object's beam that other matter takes; recall at {HIDDEN_AT:g} false alarms an image "
        f"({counts})."
    )


def _known(part: Part, rows: Sequence[Row]) -> Part:
    """The part without the columns that no row knows."""
    kept = tuple(
        pair
        for pair in part.columns
        if pair[1] == "marked" or any(cell_of(row, pair[1]) is not None for row in rows)
    )
    return Part(part.title, kept, part.note)


def cell_of(row: Row, column: str) -> Any:
    """What stands in a column of a table for people."""
    if column == "marked":
        return f"{row['detector']}{MARK if row['differs'] else ''}"
    if column == "learned":
        return _learned(row)
    if column.startswith("interval:"):
        name = column.partition(":")[2]
        value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
        if value is None:
            return None
        return f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
    value = row.get(column)
    if column == "milliseconds" and value is not None:
        return round(value) if value >= 10 else round(value, 1)
    return value


def _learned(row: Row) -> str | None:
    """Such as "15 min, 1,204 steps"; images for what learns in no steps."""
    minutes = [] if row["minutes"] is None else [f"{row['minutes']:g} min"]
    steps = [f"{row['steps']:,} step{'s' * (row['steps'] != 1)}"] if row["steps"] is not None else []
    images = row["training_images"]
    images = [f"{images:,} image{'s' * (images != 1)}"] if images is not None and not steps else []
    return ", ".join([*minutes, *(steps or images)]) or None


def cells_of(part: Part, rows: Sequence[Row]) -> list[list[Any]]:
    """The cells of a table for people."""
    return [[cell_of(row, column) for _, column in part.columns] for row in rows]


def best_cells(part: Part, rows: Sequence[Row]) -> set[tuple[int, int]]:
    """(row, column) of the best of each column in which detectors can be told apart."""
    found = set()
    for place, (_, column) in enumerate(part.columns):
        name = column.removeprefix("interval:")
        if name not in LOWEST and name in (*NUMBERS, "marked", "learned", "backbone", "proposals"):
            continue
        known = {i: row[name] for i, row in enumerate(rows) if row.get(name) is not None}
        best = (min if name in LOWEST else max)(known.values(), default=None)
        if len(set(known.values())) > 1:
            found |= {(i, place) for i, value in known.items() if value == best}
    return found


def as_markdown(parts: Sequence[Part], rows: Sequence[Row], absent: Sequence[tuple[str, str]]) -> str:
    """All tables as Markdown, the best of a column bold, and a line for each detector without figures."""
    blocks = []
    for part in parts:
        marked, cells = best_cells(part, rows), cells_of(part, rows)
        lines = [f"| {' | '.join(_escaped(heading) for heading, _ in part.columns)} |"]
        lines += ["|---" + "|--:" * (len(part.columns) - 1) + "|"]
        for i, row in enumerate(cells):
            shown = [f"**{_shown(c)}**" if (i, j) in marked else _shown(c) for j, c in enumerate(row)]
            lines.append(f"| {' | '.join(shown)} |")
        note = f"\n\n{part.note}" if part.note else ""
        blocks.append(f"## {part.title}\n\n" + "\n".join(lines) + note)
    if absent:
        blocks.append("## Without figures\n\n" + "\n".join(f"- {name}: {why}" for name, why in absent))
    return "\n\n".join(blocks) + "\n"


def _shown(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}" if cell >= 0.001 or cell == 0 else f"{cell:.2g}"
    return f"{cell:,}" if isinstance(cell, int) else _escaped(str(cell))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace(MARK, f"\\{MARK}")
