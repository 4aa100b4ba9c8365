"""The page: complete, harmless, self-contained, and there even when parts of the run are not."""

from __future__ import annotations

import ast
import base64
import copy
import html
import io
import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.tasks.classification.metrics import classification_measures
from tlkit.tasks.classification.reporting.report import write_report

NAMES = ("blade", "gun", "other")
HOSTILE = "<script>alert('x')</script>&\"><img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "input", "hr"}
IMAGES = ("batch", "confusion", "counts", "curves", "heat_maps", "mistakes", "reliability", "roc")


class Page(HTMLParser):
    """Checks that tags close in the order in which they opened; gathers tags, text and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source, self.open, self.tags, self.loads, self.words = text, [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.loads += [
            value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def images(self) -> list[str]:
        return [values["alt"] for tag, values in self.tags if tag == "img"]


@cache
def measures(names=NAMES) -> dict:
    labels = np.arange(60) % 3
    predicted = labels.copy()
    predicted[:6] = 2
    probabilities = np.full((60, 3), 0.1)
    probabilities[np.arange(60), predicted] = 0.8
    return classification_measures(
        labels, probabilities, names, [str(index // 2) for index in range(60)], resamples=50
    )


def card(names=NAMES) -> dict:
    part = {"n": 60, "groups": 30, "per_class": dict.fromkeys(names, 20)}
    measured = copy.deepcopy(measures(names))
    return {
        "schema_version": 1,
        "tlkit": "0.1.0",
        "recipe": "fine-tune",
        "name": "threats",
        "number": 4,
        "created": "2026-01-07T10:21:44Z",
        "seconds": 412.3,
        "source": "photos",
        "seed": 0,
        "classes": list(names),
        "options": {"backbone": "mobilenet", "epochs": [10, 4, 4], "allow_leak": False, "group": None},
        "model": {
            "backbone": "mobilenet",
            "weights": {"kind": "imagenet", "source": "Keras cache", "sha256": "f00d" * 16},
            "image_size": 224,
            "parameters": 3228864,
            "temperature": 1.37,
        },
        "data": {
            "split_sha256": "beef" * 16,
            "parts": {"training": part, "validation": part, "test": part},
            "warnings": ["2 near duplicates lie in different parts."],
            "skipped": [{"path": "gun/broken.png", "reason": "truncated"}],
            "added": {},
        },
        "phases": [
            {
                "name": "head",
                "epochs": 10,
                "best_epoch": 7,
                "learning_rate": 1e-3,
                "seconds": 75,
                "stopped": "patience",
            }
        ],
        "measures": dict.fromkeys(("training", "validation", "test"), measured),
        "calibration": {"temperature": 1.37, "ece_before": 0.0712, "ece_after": 0.021},
        "parity": {"largest_difference": 2.1e-7, "checked": ["JPEG", "RGBA"]},
        "environment": {"python": "3.11", "device": "CPU"},
    }


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, shade, shade)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "saved_models" / "threats" / "4"
    (folder / "pictures").mkdir(parents=True)
    for shade, name in enumerate((*IMAGES, "zebra")):
        (folder / "pictures" / f"{name}.png").write_bytes(png(shade))
    (folder / "card.json").write_text(json.dumps(card()))
    (folder / "options.json").write_text(json.dumps(card()["options"]))
    row = {"phase": "head", "epoch": 1, "training_loss": 0.51234, "validation_loss": None, "best": True}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n" + '{"phase": "he')
    (folder / "predictions.csv").write_text(
        "path,part,label,predicted,blade,gun,other\n"
        "a/right.png,test,gun,gun,0.1,0.8,0.1\n"
        "a/second.png,test,gun,other,0.1,0.2,0.7\n"
        "a/first.png,test,blade,gun,0.02,0.95,0.03\n"
        "a/elsewhere.png,training,blade,gun,0.0,1.0,0.0\n"
    )
    (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


def written(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


# --- what stands there -------------------------------------------------------------------------------------


def test_headline_has_numbers_with_intervals_and_what_they_rest_on(run):
    text = written(run).text
    low, high = card()["measures"]["test"]["intervals"]["accuracy"]
    assert (
        "Accuracy on the test part 90.0 %" not in text
    )  # 4 of the 6 were blades and guns: 56 of 60 are right
    assert "Accuracy on the test part 93.3 %" in text
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in text
    assert "n = 60 images in 30 groups" in text
    assert "On 60 images from 30 groups the model is right 93.3 % of the time" in text


def test_every_chapter_is_filled(run):
    text = written(run).text
    for expected in (
        "threats / 4",
        "from photos",
        "6 min 52 s",
        "training 60 30 blade 20 · gun 20 · other 20",
        "beef" * 16,
        "gun/broken.png truncated",
        "Keras cache",
        "f00d" * 16,
        "3,228,864",
        "largest difference of a probability 2.1e-07 , checked on JPEG, RGBA",
        "head 10 7 0.001 1 min 15 s patience",
        "head 1 0.5123 – – ✓",
        "The temperature, 1.37 , was fitted on validation",
        "0.071 before the temperature",
        "epochs 10, 4, 4",
        "allow_leak no",
        "device CPU",
        "Limits",
    ):
        assert re.sub(r"\s+([,.])", r"\1", expected) in re.sub(r"\s+([,.])", r"\1", text), expected


def test_per_class_numbers_are_those_of_the_card(run):
    text = written(run).text
    for name, row in measures()["per_class"].items():
        numbers = " ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1", "eta", "auc"))
        assert f"{name} {row['support']} {numbers}" in text


def test_warnings_stand_in_a_box_near_the_top(run):
    page = written(run)
    assert ("div", {"class": "box", "role": "note"}) in page.tags
    assert page.source.index("2 near duplicates lie in different parts.") < page.source.index(
        '<section id="use">'
    )
    assert "allow-leak" not in page.text


def test_an_allowed_leak_is_said_loudly(run):
    facts = card()
    facts["options"]["allow_leak"] = True
    (run / "card.json").write_text(json.dumps(facts))
    assert "--allow-leak was given" in written(run).text


def test_mistakes_of_the_test_part_come_most_confident_first(run):
    text = written(run).text
    assert "a/first.png blade gun 95.0 % a/second.png gun other 70.0 %" in text
    assert "right.png" not in text
    assert "elsewhere.png" not in text


def test_images_come_in_their_order_and_unknown_ones_last(run):
    page = written(run)
    starts = (
        "Images of",
        "A batch",
        "Loss",
        "Rows",
        "The wrong",
        "Where the",
        "How often",
        "What share",
        "zebra",
    )
    assert [next(start for start in starts if alt.startswith(start)) for alt in page.images] == list(starts)
    last = next(values["src"] for tag, values in page.tags if tag == "img" and values["alt"] == "zebra")
    assert base64.b64decode(last.removeprefix("data:image/png;base64,")) == png(8)


def test_the_commands_name_the_finished_run_and_the_snippet_is_python(run, monkeypatch):
    unfinished = run.rename(run.with_name("unfinished-4"))
    monkeypatch.chdir(run.parents[2])
    page = written(unfinished)
    assert "tlkit predict saved_models/threats/4 photo.png" in page.text
    snippet = next(
        block for block in re.findall(r"<pre>(.*?)</pre>", page.source, re.S) if "tensorflow" in block
    )
    calls = [node for node in ast.walk(ast.parse(html.unescape(snippet))) if isinstance(node, ast.Constant)]
    assert "saved_models/threats/4" in [node.value for node in calls]


def test_a_name_with_blanks_is_quoted_for_the_shell(run, monkeypatch):
    spaced = run.parent.rename(run.parent.with_name("my threats")) / "4"
    monkeypatch.chdir(run.parents[2])
    assert "tlkit predict 'saved_models/my threats/4' photo.png" in written(spaced).text


# --- what must not happen ----------------------------------------------------------------------------------


def test_the_page_loads_nothing_and_runs_nothing(run):
    page = written(run)
    assert all(load.startswith(("data:image/png;base64,", "#")) for load in page.loads)
    assert len(page.images) == 9
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|javascript:", page.source)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "form"})
    assert not [name for _, values in page.tags for name in values if name.startswith("on")]
    targets = {values["id"] for _, values in page.tags if "id" in values}
    assert {load[1:] for load in page.loads if load.startswith("#")} <= targets


def test_hostile_names_are_shown_not_obeyed(run):
    names = ("blade", HOSTILE, "items")
    facts = card(names)
    facts |= {"name": HOSTILE, "source": HOSTILE, "recipe": HOSTILE}
    facts["data"]["warnings"] = facts["options"]["group"] = [HOSTILE]
    facts["data"]["skipped"] = [{"path": HOSTILE, "reason": HOSTILE}]
    facts["model"]["weights"]["source"] = HOSTILE
    (run / "card.json").write_text(json.dumps(facts))
    quoted = HOSTILE.replace('"', '""')
    (run / "predictions.csv").write_text(
        f'path,part,label,predicted,a,b\n"{quoted}",test,blade,"{quoted}",0.1,0.9\n'
    )
    (run / "pictures" / "zebra.png").rename(run / "pictures" / "<b>.png")
    page = written(run)
    assert page.source.count(HOSTILE) == 0
    assert page.text.count(HOSTILE) >= 10
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "b" if "<b>.png" in page.source else "script"})
    assert all(load.startswith(("data:image/png;base64,", "#")) for load in page.loads)
    assert "items 20" in page.text  # a class named as a method of dict


@pytest.mark.parametrize(
    "missing", ["metrics.jsonl", "predictions.csv", "saved_model.pb", "options.json", "pictures"]
)
def test_a_missing_file_leaves_the_rest(run, missing):
    if missing == "pictures":
        for path in (run / missing).iterdir():
            path.unlink()
        (run / missing).rmdir()
    else:
        (run / missing).unlink()
    page = written(run)
    assert "Accuracy on the test part 93.3 %" in page.text
    assert ("tlkit predict" in page.text) == (missing != "saved_model.pb")
    assert (len(page.images) == 9) == (missing != "pictures")


@pytest.mark.parametrize("missing", [key for key in card() if key != "measures"])
def test_a_card_without_an_entry_still_makes_a_page(run, missing):
    facts = card()
    del facts[missing]
    (run / "card.json").write_text(json.dumps(facts))
    assert "Accuracy on the test part 93.3 %" in written(run).text


def test_nulls_in_the_card_are_dashes(run):
    facts = card()
    facts["measures"]["test"] = facts["measures"]["test"] | {"auc": None, "log_loss": None}
    facts["measures"]["test"]["intervals"] = facts["measures"]["test"]["intervals"] | {"auc": None}
    facts["measures"]["test"]["per_class"]["gun"] = dict.fromkeys(
        ("precision", "recall", "f1", "eta", "auc")
    ) | {"support": 0}
    facts["model"] = facts["phases"] = facts["parity"] = facts["calibration"] = None
    (run / "card.json").write_text(json.dumps(facts))
    text = written(run).text
    assert "AUC –" in text
    assert "gun 0 – – – – –" in text
    assert "None" not in text
    assert "This run has no model." in text


def test_without_a_test_part_validation_is_shown_and_said_to_flatter(run):
    facts = card()
    del facts["measures"]["test"]
    (run / "card.json").write_text(json.dumps(facts))
    text = written(run).text
    assert "Accuracy on the validation part" in text
    assert "There is no test part" in text


def test_an_unfinished_run_says_so_and_how_to_go_on(tmp_path):
    run = tmp_path / "threats" / "unfinished-2"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"phase": "head", "epoch": 3, "training_loss": 0.25}\n')
    page = written(run)
    assert "unfinished" in page.text
    assert "tlkit resume" in page.text
    assert "head 3 0.2500" in page.text
    assert "threats / unfinished-2" in page.text
    assert "Limits" not in page.text
    assert {load for load in page.loads if load.startswith("#")} == {
        "#result",
        "#data",
        "#model",
        "#training",
        "#settings",
    }


def test_a_run_with_other_measures_lists_them(run):
    facts = card() | {"measures": {"kid": 0.0123, "images": 400}}
    (run / "card.json").write_text(json.dumps(facts))
    text = written(run).text
    assert "kid 0.0123" in text
    assert "images 400" in text


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_broken_card_counts_as_none(run, content):
    (run / "card.json").write_text(content)
    assert "Nothing has been measured" in written(run).text


def test_writing_again_gives_the_same_page_and_leaves_nothing_beside_it(run):
    write_report(run)
    before, names = (run / "report.html").read_text(encoding="utf-8"), sorted(run.iterdir())
    write_report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == before
    assert sorted(run.iterdir()) == names


def test_measures_images_and_report_need_no_tensorflow():
    code = (
        "import sys, tlkit.tasks.classification.metrics, tlkit.tasks.classification.reporting.plots, tlkit.tasks.classification.reporting.report; "
        "sys.exit(bool({'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
