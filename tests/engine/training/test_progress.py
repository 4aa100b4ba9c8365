"""Progress: rows behind a checkpoint are forgotten, those of other trainings stay, each new one is written once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tlkit.core.run_folder import RunFolder
from tlkit.engine.training.fit import NO_COUNTS
from tlkit.engine.training.progress import Reporter


@pytest.fixture
def run(tmp_path):
    rows = [{"phase": phase, "epoch": epoch} for phase in ("head", "all") for epoch in (1, 2)]
    rows += [{"arm": "base", **row} for row in rows]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = []
    table = SimpleNamespace(
        start=lambda *_: None,
        step=lambda *_: None,
        epoch=lambda *row: told.append(row),
        close=lambda: None,
    )
    return SimpleNamespace(folder=RunFolder(tmp_path, "x", 1), resumed=True, table=table, told=told)


def test_a_resumed_training_forgets_what_came_after_its_checkpoint(run):
    reporter = Reporter(run, "abc", ["head", "all"], "detector", measure="AP50", training={"arm": "base"})
    reporter.start("all", 5, 3, 1)
    kept = [("head", 1), ("head", 2), ("all", 1), ("all", 2), ("head", 1), ("head", 2), ("all", 1)]
    assert [(row["phase"], row["epoch"]) for row in run.folder.metrics()] == kept
    row = {"phase": "all", "epoch": 2, "training_loss": 0.5, "validation_AP50": 0.25, "seconds": 1.5}
    reporter.epoch(row, NO_COUNTS)
    reporter.close()
    assert run.folder.metrics()[-1] == {"arm": "base", **row, "split_sha256": "abc"}
    logs = {"loss": 0.5, "val_loss": None, "val_AP50": 0.25}
    assert run.told == [("all", 2, 5, logs, False, 1.5)]
    assert [file.parent.name for file in run.folder.path.rglob("*tfevents*")] == ["base"]


def test_the_confusion_of_the_best_epoch_is_drawn_on_the_board(run):
    reporter = Reporter(run, "abc", ["head", "all"], "validation", ["a", "b"])
    row = {"phase": "head", "epoch": 3, "training_accuracy": 0.5, "training_loss": 1.0, "seconds": 1.0}
    for best in (False, True):
        reporter.epoch({**row, "best": best}, np.eye(2, dtype=int))
        reporter.close()
        drawn = [file for file in run.folder.path.rglob("*tfevents*") if b"confusion" in file.read_bytes()]
        assert [file.parent.name for file in drawn] == ["validation"] * best
