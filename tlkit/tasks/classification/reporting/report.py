"""One report per run: everything a reader needs to trust, question and use a result, in a single HTML file.

The report is made from the files of the run folder alone (card.json, metrics.jsonl, predictions.csv,
pictures/), so it can be written again at any time. Pictures are inside it; it loads nothing and runs nothing.
A part whose file is missing is left out or said to be missing.
"""

from __future__ import annotations

import base64
import heapq
import json
import os
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from tlkit.core.metric_names import CLASSIFIER, title_of
from tlkit.core.text import some_of
from tlkit.data.checks.predictions import read_predictions
from tlkit.engine.reporting.html import TEMPLATES, read_json, shown
from tlkit.tasks.classification.reporting.interpretation import percent, verdict, worst_classes

IMAGES = {  # with what to look for; others come last
    "counts": "Images of each class in each part.",
    "batch": "A batch of training images as the network sees them, changes included.",
    "curves": "Loss and accuracy after each epoch; phases are shaded, the best epoch is marked.",
    "confusion": "Rows are the truth, columns the answers: blue is right, red is wrong.",
    "reliability": "How often an answer is right, by its confidence. On the dashed line, promises are kept.",
    "roc": "What share of a class is found at what share of false alarms, each class against the rest.",
    "mistakes": "The wrong answers, the most confident first.",
    "heat_maps": "Where the network looked (Grad-CAM): each image, and over it what spoke for the answer.",
}
MISTAKES = 20  # rows of the table of mistakes
_TEMPLATE = "report.html.j2"


def write_report(run: Path) -> Path:
    """Write `report.html` of a run, finished or not, over an earlier one.

    Args:
        run: Its folder.

    Returns:
        The path of the page.
    """
    page = _environment().get_template(_TEMPLATE).render(**_facts(run))
    path = run / "report.html"
    aside = run / ".report.html"
    aside.write_text(page, encoding="utf-8", errors="backslashreplace")
    aside.replace(path)
    return path


def _facts(run: Path) -> dict[str, Any]:
    card = read_json(run / "card.json")
    measures = card.get("measures") or {}
    evaluated = next((part for part in ("test", "validation", "training") if measures.get(part)), None)
    home = _place(run, card)
    return {
        "card": card,
        "options": card.get("options") or read_json(run / "options.json"),
        "title": f"{card.get('name', run.parent.name)} / {card.get('number', run.name)}",
        "home": home,
        "quoted_home": shlex.quote(home),
        "python_home": json.dumps(home),
        "servable": (run / "saved_model.pb").is_file(),
        "judged": evaluated,
        "remarks": verdict(measures),
        "worst": worst_classes((measures[evaluated].get("per_class") or {}) if evaluated else {}),
        "rows": list(_read_rows(run / "metrics.jsonl")),
        "mistakes": _mistakes(run / "predictions.csv", evaluated),
        "pictures": _images(run / "pictures"),
        "captions": IMAGES,
        "files": sorted(_names(run)),
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, TEMPLATES]),
        autoescape=True,
        undefined=ChainableUndefined,  # a card may lack anything
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number,
        share=_share,
        duration=_duration,
        shown=shown,
        whole=_whole,
        rate=_rate,
        some_of=some_of,
    )
    environment.globals.update(metrics=CLASSIFIER, title_of=title_of)
    return environment


# --- reading -----------------------------------------------------------------------------------------------


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON-lines file; a last line that was cut off is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _mistakes(path: Path, part: str | None) -> list[dict[str, Any]]:
    """Find the most confident wrong answers of a part: path, label, predicted, confidence."""
    if not path.is_file():
        return []
    wrong = (
        {"path": one.path, "label": one.label, "predicted": one.predicted, "confidence": one.confidence}
        for one in read_predictions(path)
        if one.part == part and one.label != one.predicted
    )
    return heapq.nlargest(MISTAKES, wrong, key=lambda row: row["confidence"])


def _images(folder: Path) -> dict[str, str]:
    """Read every PNG, as base64 by name; the template knows the order."""
    files = sorted(folder.glob("*.png")) if folder.is_dir() else []
    return {path.stem: base64.b64encode(path.read_bytes()).decode("ascii") for path in files}


def _names(run: Path) -> Iterator[str]:
    for path in run.iterdir():
        if not path.name.startswith(".") and path.name != "report.html":
            yield f"{path.name}/" if path.is_dir() else path.name


def _place(run: Path, card: dict[str, Any]) -> str:
    """Say where the run lies once it is finished, from the current folder if it is below it."""
    place = run.absolute()
    if place.name.startswith("unfinished-") and card:
        place = place.with_name(str(card.get("number", place.name)))
    beside = os.path.relpath(place)
    return place.as_posix() if beside.startswith("..") else Path(beside).as_posix()


# --- writing numbers ---------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if _is_number(value) else "–"


def _whole(value: Any) -> str:
    return f"{value:,}" if _is_number(value) else "–"


def _share(value: Any) -> str:
    return percent(value) if _is_number(value) else "–"


def _rate(value: Any) -> str:
    return f"{value:.3g}" if _is_number(value) else "–"


def _duration(seconds: Any) -> str:
    if not _is_number(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
