"""The workflow of `compare-detectors`: each detector trained as a run of its own, and the table of them all.

What has become of each stands in the run's folder until its end, so that a comparison that is killed goes on with the
detector at which it was, and then with the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mode
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run
from tlkit.core.run_folder import find_run, is_unfinished, read_card
from tlkit.core.text import count, listed
from tlkit.data.images.sources import PARTS, TEST
from tlkit.engine.training.settings import CHECKPOINTS
from tlkit.errors import RunFailed, UsageFault
from tlkit.tasks.studies import detector_table as table
from tlkit.tasks.studies.comparison import Commands, Comparison, Outcome

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit

KEPT = "detectors.json"  # what has become of each, until the run ends
TIMED = 16  # images that a detector is timed on, the first half of them to warm up
RECIPE = "compare-detectors"


class Kept:
    """What has become of each detector: {"ready"}, then {"name", "before"}, then {"run", "milliseconds"} or {"why"}.

    Args:
        run: Of the comparison; an earlier attempt of it may have left some.
    """

    def __init__(self, run: Run) -> None:
        self.folder, self.file = run.folder, run.folder.path / CHECKPOINTS / KEPT
        self.entries: dict[str, dict[str, Any]] = {}
        if self.file.is_file():
            self.entries = json.loads(self.file.read_text(encoding="utf-8"))

    def __getitem__(self, detector: str) -> dict[str, Any]:
        return self.entries.get(detector, {})

    def add(self, detector: str, **facts: Any) -> None:
        """Write down more of a detector."""
        self.entries[detector] = {**self[detector], **facts}
        self.folder.folder(CHECKPOINTS)
        self.folder.write_json(f"{CHECKPOINTS}/{KEPT}", self.entries)


class Finished(NamedTuple):
    """A run with a row, or a detector without.

    Attributes:
        name: Of the detector, or as a person typed it.
        run: Its folder; None: it has none.
        milliseconds: What an image took.
        why: It has no row.
    """

    name: str
    run: Path | None = None
    milliseconds: float | None = None
    why: str = ""


# --- Preparation ---


def check(run: Run, comparison: Comparison, commands: Commands) -> Kept:
    """Find out, before anything is trained, which detectors cannot be, and say why; find the runs that join.

    Raises:
        UsageFault: A run that joins is not there, or nothing is left to compare.
    """
    joining(run, comparison)
    kept = Kept(run)
    for detector in comparison.detectors:
        if kept[detector]:
            continue
        why = commands.refused(detector) or commands.check(detector).fault
        if why:
            run.say(f"{detector} is left out: {why}")
            kept.add(detector, why=why)
        else:
            kept.add(detector, ready=True)
    absent = [detector for detector in comparison.detectors if kept[detector].get("why")]
    if len(absent) == len(comparison.detectors) and not comparison.added:
        first = f"{absent[0]}: {kept[absent[0]]['why']}" if absent else "--detectors names none."
        raise UsageFault(
            f"There is nothing to compare. {first}", "Name others with --detectors, or runs with --add."
        )
    return kept


def joining(run: Run, comparison: Comparison) -> list[Path]:
    """The finished runs that --add names; of a comparison those of its rows, none twice.

    Raises:
        UsageFault: One is not there.
    """
    found: list[Path] = []
    for name in comparison.added:
        path = find_run(name, Path(run.options["runs"]))
        card = read_card(path)
        rows = card.get("runs") if card.get("recipe") == RECIPE else [path]
        found += [_there(Path(row), path) for row in rows or ()]
    return list(dict.fromkeys(found))


def _there(path: Path, of: Path) -> Path:
    """A run that a comparison names: where it says, or else beside that comparison."""
    if path.is_dir():
        return path
    return of.parent.parent / path.parent.name / path.name


def plan(run: Run, comparison: Comparison, kept: Kept) -> dict[str, Any]:
    """What `--dry-run` shows."""
    card = run.card()
    learned = [detector for detector in comparison.detectors if not kept[detector].get("why")]
    return {
        "classes": card["classes"],
        "pictures": {part: card["data"]["parts"][part]["n"] for part in PARTS},
        "detectors": learned,
        "left out": {name: entry["why"] for name, entry in kept.entries.items() if entry.get("why")},
        "added": [str(path) for path in joining(run, comparison)],
        "time": f"{len(learned) * comparison.minutes:g} minutes of learning; evaluating, exporting and timing each "
        "comes on top.",
    }


# --- Cooking ---


def train(
    run: Run, split: BoxSplit, comparison: Comparison, kept: Kept, commands: Commands
) -> list[Finished]:
    """Train each detector, as a run of its own; what an earlier attempt has finished is not trained again.

    Returns:
        What was trained, in the order asked for, then what joins.
    """
    files = timed_images(split)
    found = []
    for number, detector in enumerate(comparison.detectors, 1):
        if not kept[detector].get("why") and "run" not in kept[detector]:
            run.say(f"Detector {number} of {len(comparison.detectors)}: {detector}.")
            _train_one(run, detector, kept, commands)
        found.append(_finished(run, detector, kept, commands, files))
    for path in joining(run, comparison):
        entry = str(path)
        if "run" not in kept[entry]:
            kept.add(entry, run=path)
        found.append(_finished(run, entry, kept, commands, files))
    return found


def timed_images(split: BoxSplit) -> list[Path]:
    """`TIMED` images, spread over the test part, and over the others where that has not as many."""
    found: list[Path] = []
    for part in reversed(PARTS):
        images, left = split.take(part), TIMED - len(found)
        stride = max(1, len(images) // left) if left else 1
        found += [Path(images.file(i)) for i in range(0, len(images), stride)][:left]
    return found


def _train_one(run: Run, detector: str, kept: Kept, commands: Commands) -> None:
    """Begin a detector's run, or go on with the one that was begun, and write down how it ended."""
    name = f"{run.folder.name}-{run.folder.number}-{detector}"
    home = Path(run.options["runs"]) / name
    if "before" not in kept[detector]:  # of another comparison that had this number, say
        kept.add(detector, name=name, before=sorted(_numbered(home)))
    begun = [
        path for number, path in sorted(_numbered(home).items()) if number not in kept[detector]["before"]
    ]
    if not begun:
        outcome = commands.start(detector, name)
    elif is_unfinished(begun[-1]):
        outcome = commands.resume(begun[-1])
    else:
        outcome = Outcome({"run": begun[-1]})
    if outcome.fault:
        run.say(f"{detector} has no figures: {outcome.fault}")
        kept.add(detector, why=outcome.fault)
    else:
        kept.add(detector, run=Path(outcome.answer["run"]))


def _numbered(home: Path) -> dict[int, Path]:
    """The runs of a name by number, finished or not, that can be gone on with or have an end."""
    folders = [file.parent for file in home.glob("*/options.json")]
    return {int(path.name.rpartition("-")[2]): path for path in folders}


def _finished(run: Run, name: str, kept: Kept, commands: Commands, files: Sequence[Path]) -> Finished:
    """What there is of a detector; how long it takes to answer is measured once."""
    entry = kept[name]
    if why := entry.get("why"):
        return Finished(name, why=why)
    path = Path(entry["run"])
    if "milliseconds" not in entry:
        outcome = commands.time(path, files)
        took = outcome.answer.get("milliseconds")
        slow = outcome.fault or "it is not known how long an image takes."
        run.say(f"{path}: {slow}" if took is None else f"{path} takes {took:.0f} ms an image, one at a time.")
        kept.add(name, milliseconds=took)
    return Finished(name, path, kept[name]["milliseconds"])


# --- Tasting ---


def rows_of(
    run: Run, split: BoxSplit, comparison: Comparison, finished: Sequence[Finished]
) -> tuple[list[table.Row], list[tuple[str, str]]]:
    """The rows, the highest AP50 first, and (name, why) of what has none."""
    absent = [(one.name, one.why) for one in finished if one.run is None]
    cards = {one.run: read_card(one.run) for one in finished if one.run is not None}
    options = run.options
    trained = any(one.name in comparison.detectors and one.run is not None for one in finished)
    minutes = [table.length_of(card)["minutes"] for card in cards.values()]
    same = table.Same(
        split.digest,
        tuple(split.images.class_names),
        comparison.minutes if trained or not minutes else mode(minutes),
        *(options[name] for name in ("backbone", "weights", "image_size")),
    )
    rows = []
    for one in finished:
        if one.run is None or one.run not in cards:
            continue
        if why := table.unfit(cards[one.run], one.run, same):
            run.say(f"{one.name} is left out: {why}")
            absent.append((one.name, why))
        else:
            rows.append(table.row_of(cards[one.run], one.run, one.milliseconds, same))
    return table.ordered(rows), absent


# --- Serving ---


def show(
    run: Run, split: BoxSplit, comparison: Comparison, finished: Sequence[Finished], commands: Commands
) -> None:
    """Write table.csv, table.md, table.json, the pictures and the report, and say who finds most.

    Raises:
        RunFailed: No detector has figures.
    """
    from tlkit.engine.reporting.html import Table, close_run

    rows, absent = rows_of(run, split, comparison, finished)
    if not rows:
        name, why = absent[0]
        raise RunFailed(f"No detector has figures. {name}: {why}", "Mend that, and start a new run.")
    folder, classes = run.folder.path, list(split.images.class_names)
    parts, lead = table.parts_of(rows, classes), lead_of(rows, split)
    write_csv(folder / "table.csv", table.as_table(rows, absent), safe=run.csv_safe)
    (folder / "table.md").write_text(f"{lead}\n\n{table.as_markdown(parts, rows, absent)}", encoding="utf-8")
    without = [{"detector": name, "why": why} for name, why in absent]
    run.folder.write_json("table.json", {"rows": rows, "without": without})
    images = _draw(run, comparison, rows, commands)
    runs = [row["run"] for row in rows]
    run.record(kind="table", runs=runs, measures={"rows": rows, "without": without})
    shown = [
        Table(
            part.title,
            [h for h, _ in part.columns],
            table.cells_of(part, rows),
            table.best_cells(part, rows),
            part.note,
        )
        for part in parts
    ]
    if absent:
        shown.append(Table("Without figures", ("detector", "why"), absent))
    shown.append(Table("Their runs", ("detector", "run"), [[row["detector"], row["run"]] for row in rows]))
    close_run(run, "Detectors compared", lead, shown, images)
    run.say(lead)
    best = rows[0]
    run.result(
        {
            "best": best["detector"],
            "AP50": best["AP50"],
            "AP50_interval": [best["AP50_low"], best["AP50_high"]],
            "n": best["n"],
            "rows": [
                {name: row[name] for name in ("detector", "AP50", "AP", "differs", "run")} for row in rows
            ],
            "without": without,
            "table": run.folder.final / "table.csv",
        }
    )


def lead_of(rows: Sequence[table.Row], split: BoxSplit) -> str:
    """Who finds most, and from whom it cannot be told apart."""
    best, sizes = rows[0], split.summary()
    value, low, high = (best[name] for name in ("AP50", "AP50_low", "AP50_high"))
    interval = "" if low is None else f" (95 % interval {low:.3f} to {high:.3f})"
    near = [
        row["detector"] for row in rows[1:] if None not in (low, row["AP50_high"]) and row["AP50_high"] >= low
    ]
    test = sizes[TEST]
    said = (
        f"{count(len(rows), 'detector')} on the same parts, evaluated on {count(test['n'], 'test image')} in "
        f"{count(test['groups'], 'group')}: {best['detector']} finds most, AP50 {value or 0:.3f}{interval}."
    )
    if near:
        theirs = "s" * (len(near) > 1), "s" * (len(near) == 1)
        said += (
            f" The interval{theirs[0]} of {listed(near)} overlap{theirs[1]} with it: the order may be chance."
        )
    return said


def _draw(
    run: Run, comparison: Comparison, rows: Sequence[table.Row], commands: Commands
) -> list[tuple[str, str]]:
    """The row of pictures, the bars and the points; (name, caption) of each that there is."""
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.studies.backbone_charts import sorted_bars
    from tlkit.tasks.studies.detector_charts import against_time

    folder = run.folder.folder("pictures")
    source = str(run.options["source"])
    drawn = commands.draw([Path(row["run"]) for row in rows], source, comparison.images, folder / "found.png")
    run.start_tensorflow()  # TensorBoard's; not before all processes of their own have had memory and device
    from tlkit.engine.reporting.tensorboard import TensorBoard

    known = [row for row in rows if row["AP50_low"] is not None]
    timed = [row for row in known if row["milliseconds"]]

    def facts(some: Sequence[table.Row]) -> tuple[list[str], list[float], list[tuple[float, float]]]:
        names = [f"{row['detector']}{table.MARK if row['differs'] else ''}" for row in some]
        return names, [row["AP50"] for row in some], [(row["AP50_low"], row["AP50_high"]) for row in some]

    others = [bool(row["differs"]) for row in known]
    title = "AP50 on the test part, 95 % intervals over groups"
    save(sorted_bars(*facts(known), title, others), folder / "ap50.png")
    took, apart = [row["milliseconds"] for row in timed], [bool(row["differs"]) for row in timed]
    save(against_time(*facts(timed), took, apart), folder / "time.png")
    images = [
        (
            "found.png",
            "The same test images: the truth, then what each detector finds from its own threshold on.",
        ),
        (
            "ap50.png",
            f"AP50 of each detector with its 95 % interval{'; orange: learned otherwise' if any(others) else ''}.",
        ),
        ("time.png", "What each finds over the time that one image takes: the upper left is best."),
    ]
    if drawn.fault:
        run.say(f"The detectors are not drawn on the same images: {drawn.fault}")
        del images[0]
    tensorboard = TensorBoard(run.folder.folder("tensorboard"))
    for name, _ in images:
        tensorboard.add_image(name.removesuffix(".png"), folder / name)
    tensorboard.close()
    return images
