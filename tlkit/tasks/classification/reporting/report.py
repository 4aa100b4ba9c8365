"""One report per run: everything a reader needs to trust, question and use a result, in a single HTML file.

The report is made from the files of the run folder alone (card.json, metrics.jsonl, predictions.csv,
pictures/), so it can be written again at any time. Pictures are inside it; it loads nothing and runs nothing.
A part whose file is missing is left out or said to be missing.
"""

from __future__ import annotations

import heapq
import json
import os
import shlex
from pathlib import Path
from typing import Any

from tlkit.core.metric_names import CLASSIFIER, title_of
from tlkit.core.run_folder import read_metrics
from tlkit.data.checks.predictions import read_predictions
from tlkit.engine.reporting.html import image_text, read_json, write_html
from tlkit.tasks.classification.reporting.interpretation import interpretation, worst_classes

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
TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(run: Path) -> Path:
    """Write `report.html` of a run, finished or not, over an earlier one.

    Args:
        run: Its folder.

    Returns:
        The path of the page.
    """
    return write_html(run, TEMPLATE, metrics=CLASSIFIER, title_of=title_of, **_facts(run))


def _facts(run: Path) -> dict[str, Any]:
    card = read_json(run / "card.json")
    measures = card.get("measures") or {}
    evaluated = next((part for part in ("test", "validation", "training") if measures.get(part)), None)
    home = _place(run, card)
    options = card.get("options") or read_json(run / "options.json")
    return {
        "card": card,
        "options": options,
        "settings": [("Options", options), ("Environment", card.get("environment"))],
        "title": f"{card.get('name', run.parent.name)} / {card.get('number', run.name)}",
        "home": home,
        "quoted_home": shlex.quote(home),
        "python_home": json.dumps(home),
        "servable": (run / "saved_model.pb").is_file(),
        "judged": evaluated,
        "remarks": interpretation(measures),
        "worst": worst_classes((measures[evaluated].get("per_class") or {}) if evaluated else {}),
        "rows": read_metrics(run),
        "mistakes": _mistakes(run / "predictions.csv", evaluated),
        "pictures": {file.stem: image_text(file) for file in sorted((run / "pictures").glob("*.png"))},
        "captions": IMAGES,
    }


# --- reading -----------------------------------------------------------------------------------------------


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


def _place(run: Path, card: dict[str, Any]) -> str:
    """Say where the run lies once it is finished, from the current folder if it is below it."""
    place = run.absolute()
    if place.name.startswith("unfinished-") and card:
        place = place.with_name(str(card.get("number", place.name)))
    beside = os.path.relpath(place)
    return place.as_posix() if beside.startswith("..") else Path(beside).as_posix()
