import json
import math
from pathlib import Path

import numpy as np
import pytest

from tlkit.core.run_folder import RunFolder, find_run, find_runs, find_unfinished, read_card, read_metrics
from tlkit.errors import RunFailed, UsageFault


def finished(runs: Path, name: str, **card) -> Path:
    folder = RunFolder.start(runs, name)
    return folder.finish({"schema_version": 1, **card})


def unfinished(runs: Path, name: str) -> Path:
    folder = RunFolder.start(runs, name)
    folder.write_json("options.json", {})
    return folder.path


def test_a_run_gets_its_number_as_the_last_act(tmp_path):
    folder = RunFolder.start(tmp_path / "deep" / "runs", "blades")
    assert folder.path == tmp_path / "deep" / "runs" / "blades" / "unfinished-1"
    (folder.path / "model").write_text("weights")
    final = folder.finish({"measures": {}})
    assert final == folder.path == tmp_path / "deep" / "runs" / "blades" / "1"
    assert (final / "model").read_text() == "weights"
    assert read_card(final) == {"measures": {}, "name": "blades", "number": 1}
    assert [entry.name for entry in final.parent.iterdir()] == ["1"]


def test_the_next_number_follows_the_largest_finished_or_not(tmp_path):
    for name in ("1", "unfinished-7", "3", "0", "12x", "unfinished-40x", "notes"):
        (tmp_path / "blades" / name).mkdir(parents=True)
    assert RunFolder.start(tmp_path, "blades").number == 8


def test_numbers_are_never_shared_and_never_overwritten(tmp_path):
    first, second = RunFolder.start(tmp_path, "blades"), RunFolder.start(tmp_path, "blades")
    assert (first.number, second.number) == (1, 2)
    (tmp_path / "blades" / "1").mkdir()
    (tmp_path / "blades" / "1" / "precious").write_text("keep me")
    assert first.finish({}) == tmp_path / "blades" / "3"
    assert read_card(tmp_path / "blades" / "3")["number"] == 3
    assert (tmp_path / "blades" / "1" / "precious").read_text() == "keep me"


def test_a_folder_taken_between_looking_and_making_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "blades").mkdir()
    mkdir, made = Path.mkdir, []

    def late(self, *arguments, **options):
        if self.name == "unfinished-1" and not made:
            made.append(self)
            mkdir(self)  # somebody else was quicker
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", late)
    assert RunFolder.start(tmp_path, "blades").number == 2


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunFailed) as caught:
        RunFolder.start(tmp_path / "file", "blades")
    assert str(tmp_path / "file" / "blades") in caught.value.problem
    assert "--runs" in caught.value.remedy


def test_json_is_plain_and_replaced_as_a_whole(tmp_path):
    folder = RunFolder.start(tmp_path, "blades")
    folder.write_json("numbers.json", {"old": True})
    content = {
        "nan": math.nan,
        "infinite": [math.inf, 1.5],
        "array": np.array([[1, 2]], np.int32),
        "scalar": np.float32(0.5),
        "path": Path("a") / "b.png",
        3: ("Größe", None, True),
        "deep": np.array([np.nan, 1.0]),
    }
    path = folder.write_json("numbers.json", content)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "nan": None,
        "infinite": [None, 1.5],
        "array": [[1, 2]],
        "scalar": 0.5,
        "path": "a/b.png",
        "3": ["Größe", None, True],
        "deep": [None, 1.0],
    }
    assert [entry.name for entry in folder.path.iterdir()] == ["numbers.json"]


def test_a_write_that_breaks_leaves_the_old_file(tmp_path):
    folder = RunFolder.start(tmp_path, "blades")
    folder.write_json("numbers.json", {"old": True})
    with pytest.raises(TypeError):
        folder.write_json("numbers.json", {"new": object()})
    assert json.loads((folder.path / "numbers.json").read_text()) == {"old": True}


def test_metrics_are_lines_that_survive_a_cut(tmp_path):
    folder = RunFolder.start(tmp_path, "blades")
    assert folder.metrics() == []
    folder.append_metrics({"epoch": 1, "loss": math.nan})
    folder.append_metrics({"epoch": 2, "loss": np.float32(0.25)})
    with (folder.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 3, "lo')
    rows = [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.25}]
    assert folder.metrics() == rows
    folder.rewrite_metrics(rows[:1])
    folder.append_metrics({"epoch": 2, "loss": 0.125})
    assert read_metrics(folder.path) == [rows[0], {"epoch": 2, "loss": 0.125}]


def test_what_is_worth_resuming(tmp_path):
    folder = RunFolder.start(tmp_path, "blades")
    for name in ("options.json", "recipe.py", "log.txt", "split.csv"):
        (folder.path / name).write_text("x")
    (folder.folder("pictures") / "batch.png").write_text("x")
    folder.folder("checkpoints")
    assert not folder.worth_resuming()
    (folder.folder("checkpoints") / "epoch-1").write_text("x")
    assert folder.worth_resuming()


def test_reopening(tmp_path):
    path = unfinished(tmp_path, "blades")
    folder = RunFolder.reopen(path)
    assert (folder.path, folder.name, folder.number, folder.final) == (path, "blades", 1, path.with_name("1"))
    assert folder.finish({}).name == "1"
    for wrong in (path.with_name("1"), path, tmp_path / "nothing"):
        with pytest.raises(UsageFault, match="is not an unfinished run"):
            RunFolder.reopen(wrong)


def test_two_processes_cannot_hold_one_folder(tmp_path):
    path = unfinished(tmp_path, "blades")
    first, second = RunFolder.reopen(path), RunFolder.reopen(path)
    first.lock()
    with pytest.raises(UsageFault, match="still being written by another process"):
        second.lock()
    first.release()
    second.lock()
    second.release()


def test_the_grammar_of_run(tmp_path, monkeypatch):
    for _ in range(11):
        finished(tmp_path, "blades")
    unfinished(tmp_path, "blades")
    home = tmp_path / "blades"
    assert find_run("blades", tmp_path) == home / "11"  # by number, not by letter
    assert find_run("blades/3", tmp_path) == home / "3"
    assert find_run(str(home / "3"), tmp_path / "elsewhere") == home / "3"
    assert find_run(str(home), tmp_path / "elsewhere") == home / "11"
    assert find_runs("blades", tmp_path) == [home / str(number) for number in range(1, 12)]
    monkeypatch.chdir(home / "2")
    assert find_run(".").resolve() == home / "2"


def test_a_run_moved_elsewhere_is_found_by_its_path(tmp_path):
    finished(tmp_path, "blades").rename(tmp_path / "served")
    assert find_run(str(tmp_path / "served")) == tmp_path / "served"


def test_a_folder_of_images_does_not_hide_a_run_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops" / "1").mkdir(parents=True)  # a class called 1
    run = finished(tmp_path / "saved_models", "crops")
    assert find_run("crops").resolve() == run


def test_a_numbered_folder_without_card_is_no_run(tmp_path):
    finished(tmp_path, "blades")
    (tmp_path / "blades" / "5").mkdir()
    assert find_run("blades", tmp_path).name == "1"
    with pytest.raises(UsageFault, match="There is no run 'blades/5'"):
        find_run("blades/5", tmp_path)


def test_no_such_run(tmp_path):
    with pytest.raises(UsageFault) as caught:
        find_run("blade", tmp_path)
    assert "tlkit run" in caught.value.remedy
    finished(tmp_path, "blades")
    finished(tmp_path, "guns")
    with pytest.raises(UsageFault) as caught:
        find_run("blade", tmp_path)
    assert caught.value.remedy == "Did you mean blades?"
    with pytest.raises(UsageFault) as caught:
        find_run("zebra", tmp_path)
    assert caught.value.remedy == "There are: blades, guns."
    path = unfinished(tmp_path, "knives")
    with pytest.raises(UsageFault) as caught:
        find_run("knives", tmp_path)
    assert str(path) in caught.value.remedy


def test_finding_what_to_resume(tmp_path):
    run = finished(tmp_path, "blades")
    assert find_unfinished("blades", tmp_path) == run  # nothing left to do
    path = unfinished(tmp_path, "blades")
    for text in ("blades", "blades/unfinished-2", str(path), str(path.parent)):
        assert find_unfinished(text, tmp_path) == path
    unfinished(tmp_path, "blades")
    with pytest.raises(UsageFault, match=r"2 unfinished runs: .*unfinished-2, .*unfinished-3"):
        find_unfinished("blades", tmp_path)


def test_a_broken_card_is_named(tmp_path):
    run = finished(tmp_path, "blades")
    (run / "card.json").write_text("{")
    with pytest.raises(UsageFault, match=r"card\.json cannot be read"):
        read_card(run)
