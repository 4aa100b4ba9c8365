"""The page of a run without a classifier: complete, harmless, self-contained."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.classification.reporting.test_report import HOSTILE, Page
from tlkit.engine.reporting import html as page
from tlkit.engine.reporting.html import Table, write_report


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "look-inside" / "unfinished-1"
    (folder / "pictures").mkdir(parents=True)
    Image.new("RGB", (8, 6), (0, 90, 180)).save(folder / "pictures" / "filters.png")
    settings = {
        "tlkit": "0.1.0",
        "recipe": "look-inside",
        "recipe_sha256": "ab" * 32,
        "created": "2026-01-02T03:04:05+00:00",
        "options": {"source": "photo.png", "seed": 7, "layers": ["a", "b"], "weights": None, "rate": 0.5},
    }
    (folder / "options.json").write_text(json.dumps(settings))
    return folder


def written(folder: Path, *arguments) -> Page:
    path = write_report(folder, *arguments)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_everything_given_is_on_the_page(run):
    tables = [Table("Costs", ["layer", "number"], [["conv", 1234567], ["pool", None]], note="As counted.")]
    found = written(run, "Inside mobilenet", "It has 2 layers.", tables, [("filters.png", "The filters.")])
    for words in (
        "look-inside · report",
        "Inside mobilenet",
        "It has 2 layers.",
        "Costs",
        "conv 1,234,567",
        "pool –",
        "As counted.",
        "The filters.",
    ):
        assert words in found.text, words
    assert found.images == ["The filters."]


def test_provenance_comes_from_options_and_card(run):
    found = written(run, "Title", "Lead.", [], [])
    assert "2026-01-02 03:04:05 UTC · seed 7 · tlkit 0.1.0" in found.text
    for words in (
        "source photo.png",
        "layers a, b",
        "weights –",
        "rate 0.5",
        "ab" * 32,
        "options.json , pictures/",
    ):
        assert words in found.text, words
    card = {
        "source": "photo.png",
        "seconds": 12.3,
        "environment": {"tensorflow": "2.21.0"},
        "model": {"size": 224},
    }
    (run / "card.json").write_text(json.dumps(card))
    found = written(run, "Title", "Lead.", [], [])
    assert "from photo.png" in found.text
    assert "12 s" in found.text
    assert "Environment tensorflow 2.21.0" in found.text
    assert "Model size 224" in found.text


def test_a_folder_without_any_facts_still_has_a_page(tmp_path):
    (tmp_path / "options.json").write_text("no json")
    assert "Lead." in written(tmp_path, "Title", "Lead.", [], []).text


def test_numbers_are_for_people_and_line_up(run):
    rows = [
        ["a", 0.98765, np.int64(1200), np.float32(0.5), "9.1 %", "0.9 (0.8 to 1.0)"],
        ["b", 0.0004321, 0, float("nan"), "–", "–"],
    ]
    found = written(run, "Title", "Lead.", [("T", list("uvwxyz"), rows)], [])
    assert "a 0.988 1,200 0.500 9.1 % 0.9 (0.8 to 1.0)" in found.text
    assert "b 0.00043 0 – – –" in found.text
    right = [values.get("class") for tag, values in found.tags if tag == "th" and "scope" not in values]
    assert right == [None, "n", "n", "n", "n", None]


def test_the_best_stand_out(run):
    table = Table("T", ["a", "b"], [[1, 2], [3, 4]], marked={(0, 1), (1, 0)})
    text = write_report(run, "Title", "Lead.", [table], []).read_text(encoding="utf-8")
    assert "<strong>2</strong>" in text
    assert "<strong>3</strong>" in text
    assert text.count("<strong>") == 2


def test_a_long_table_is_folded_and_an_empty_one_says_so(run):
    long = Table("Long", ["i"], [[i] for i in range(page.OPEN_ROWS + 1)])
    found = written(run, "Title", "Lead.", [long, Table("Empty", ["i"], [])], [])
    assert "All 41 rows" in found.text
    assert "There is no row." in found.text
    assert [tag for tag, _ in found.tags].count("details") == 1


def test_a_row_of_another_length_is_refused(run):
    with pytest.raises(ValueError, match="Costs: 2 columns, but a row of 1"):
        write_report(run, "Title", "Lead.", [Table("Costs", ["a", "b"], [["x"]])], [])
    assert not (run / "report.html").exists()


def test_a_missing_image_is_told_and_an_earlier_page_stays(run):
    write_report(run, "Earlier", "Lead.", [], [])
    with pytest.raises(FileNotFoundError):
        write_report(run, "Title", "Lead.", [], [("nowhere.png", "")])
    assert "Earlier" in (run / "report.html").read_text()


def test_names_from_outside_cannot_act(run):
    settings = json.loads((run / "options.json").read_text())
    settings["options"] = {HOSTILE: HOSTILE}
    (run / "options.json").write_text(json.dumps(settings))
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]], note=HOSTILE)
    found = written(run, HOSTILE, HOSTILE, [table], [("filters.png", HOSTILE)])
    assert not [tag for tag, _ in found.tags if tag == "script"]
    assert next(values for tag, values in found.tags if tag == "img")["alt"] == HOSTILE
    assert len(found.images) == 1


def test_the_page_loads_nothing_and_holds_its_images(run):
    import base64

    found = written(run, "Title", "Lead.", [Table("T", ["a"], [[1]])], [("filters.png", "Filters.")])
    image, *links = sorted(found.loads, reverse=True, key=len)
    content = base64.b64decode(image.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).size == (8, 6)
    assert all(link.startswith("#") for link in links)
    anchors = {values.get("id") for _, values in found.tags}
    assert {link[1:] for link in links} <= anchors
    assert "url(" not in found.source
    assert "@import" not in found.source


def test_every_annotation_that_was_mended_or_left_out_is_listed(run):
    done = [
        {"kind": "no-number", "where": f"{i}.xml object 1", "what": "box 1,2,,9 is not four numbers",
         "done": "its image is left out", "path": f"{i}.jpg"}
        for i in range(40)
    ]  # fmt: skip
    (run / "card.json").write_text(json.dumps({"source": "bags/", "data": {"mended": done}}))
    found = written(run, "Title", "Lead.", [], [])
    assert "Annotations of bags/ that were mended or left out (40)" in found.text
    for i in range(40):
        assert (
            f"{i}.jpg no-number {i}.xml object 1 box 1,2,,9 is not four numbers its image is left out"
            in found.text
        )
