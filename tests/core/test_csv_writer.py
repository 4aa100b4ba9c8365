"""The one CSV writer: what it writes, csv reads again; with `safe`, a spreadsheet runs none of it."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tlkit.core.csv_writer import CsvWriter, run_rows, safe_cell, write_csv
from tlkit.data.images.readers.tables import read_image_table

SAFE = {
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "+1+1": "'+1+1",
    "-2+3": "'-2+3",
    "@SUM(1)": "'@SUM(1)",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "'=1": "''=1",  # else it could not be told from what was written for =1
    "gun": "gun",
    "'quoted'": "'quoted'",
    "a=b": "a=b",
    "": "",
    "-3.50": "-3.50",  # numbers are harmless, and are to stay numbers
    "+1e-3": "+1e-3",
    "-": "'-",
}


def test_what_a_spreadsheet_would_run_gets_an_apostrophe():
    assert {cell: safe_cell(cell) for cell in SAFE} == SAFE
    assert [safe_cell(cell) for cell in (-1, -0.5, None)] == [-1, -0.5, None]


@pytest.mark.parametrize("safe", [False, True])
def test_a_run_s_table_is_read_as_it_was(safe, tmp_path):
    rows = [["path", *SAFE], *([f"{cell}.png", cell, "a\rb", "a\nb", 'a"b', "a,b"] for cell in SAFE)]
    write_csv(tmp_path / "predictions.csv", rows, safe=safe)
    (tmp_path / "options.json").write_text(json.dumps({"options": {"csv_safe": safe}}))
    assert list(run_rows(tmp_path / "predictions.csv")) == rows
    (tmp_path / "options.json").write_text("{}")  # of an earlier version: as it stands
    assert (list(run_rows(tmp_path / "predictions.csv")) == rows) == (not safe)


def test_without_safe_names_are_as_they_are_and_lines_end_with_a_newline():
    stream = io.StringIO(newline="")
    CsvWriter(stream).writerows([["=1", None, 0.5], ["\r", "x", "y"]])
    assert stream.getvalue() == '=1,,0.5\n"\r",x,y\n'


def test_files_are_utf_8_and_a_byte_that_is_none_is_escaped(tmp_path):
    write_csv(tmp_path / "a.csv", [["caf\u00e9 \U0001f408", "\udcff"]])
    assert (tmp_path / "a.csv").read_bytes() == "caf\u00e9 \U0001f408,\\udcff\n".encode()


def test_a_safe_table_as_a_source_keeps_the_apostrophe_and_says_so(make_folder):
    folder = make_folder(bar=2, disc=2)
    rows = [
        ["path", "label"],
        *([f"{kind}/{i}.png", f"={kind}"] for kind in ("bar", "disc") for i in range(2)),
    ]
    for safe in (True, False):
        write_csv(folder / "images.csv", rows, safe=safe)
        table = read_image_table("images.csv", folder / "images.csv")
        assert table.names == (["'=bar", "'=disc"] if safe else ["=bar", "=disc"])
        assert table.remarks == (
            [
                "Class '=bar begins with an apostrophe, as --csv-safe writes names: it is kept as part of the name."
            ]
            if safe
            else []
        )


def test_predictions_of_a_safe_run_are_understood(tmp_path, make_folder):
    """By the report and by `tlkit check --run`, which match paths and classes with split.csv and the source."""
    import numpy as np

    from tlkit.data.checks.label_errors import held_out_answers
    from tlkit.data.checks.predictions import write_predictions
    from tlkit.data.images.inspection import inspect_files
    from tlkit.data.images.sources import read_images
    from tlkit.data.images.splits import split_images
    from tlkit.tasks.classification.reporting.report import _mistakes

    make_folder(**{"=bar": 8, "-disc": 8})
    images = read_images(str(tmp_path / "photos"))
    split = split_images(images, inspect_files([tmp_path / "photos" / path for path in images.paths]))
    wrong = np.eye(2)[1 - np.asarray(split.images.labels)]
    write_predictions(tmp_path / "predictions.csv", split, wrong, safe=True)
    (tmp_path / "split.csv").write_text(split.manifest, encoding="utf-8")
    (tmp_path / "options.json").write_text(json.dumps({"options": {"csv_safe": True}}))
    text = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert text.startswith("path,part,label,predicted,'-disc,'=bar\n")
    assert "\n'=bar/" in text
    assert not any(cell.startswith(("=", "-")) for row in csv.reader(io.StringIO(text)) for cell in row)
    assert held_out_answers(tmp_path).classes == ("-disc", "=bar")
    assert {row["label"] for row in _mistakes(tmp_path / "predictions.csv", "test")} == {"-disc", "=bar"}
    assert "'" not in split.manifest
