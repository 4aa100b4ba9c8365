"""Synthetic images join training only, and never when what made them has seen what is evaluated."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from tests.conftest import draw
from tlkit.data.images.load import load_split
from tlkit.data.images.synthetic import TRAINED_ON, add_synthetic, say_added, write_trained_on
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.classification.heads import make_folds


@pytest.fixture
def split(make_folder):
    return load_split(str(make_folder(bar=10, disc=10))).split


@pytest.fixture
def synthetic_run(tmp_path, split):
    """A run that learned from the training part's bars and made three."""
    run = tmp_path / "runs" / "gan" / "1"
    (run / "synthetic" / "bar").mkdir(parents=True)
    for number in range(3):
        draw(1, 100 + number).save(run / "synthetic" / "bar" / f"{number}.png")
    write_trained_on(run, split, [i for i in split.indices("training") if split.images.labels[i] == 0])
    return run


def test_they_join_the_training_part_and_nothing_else(split, synthetic_run):
    joined, added = add_synthetic(split, [synthetic_run])
    assert added == {"gan/1": {"bar": 3}}
    assert say_added(added) == ["Added to training from gan/1: 3 images of bar."]
    assert joined.parts == (*split.parts, "training", "training", "training")
    assert joined.images.labels[-3:].tolist() == [0, 0, 0]
    assert set(joined.groups[-3:]) == {"synthetic:gan/1"}
    assert all(joined.images.file(i).is_file() for i in range(len(joined.images)))
    for part in ("validation", "test"):
        assert joined.summary()[part] == split.summary()[part]


def test_they_are_found_from_a_source_behind_a_link(make_folder, synthetic_run, tmp_path, monkeypatch):
    photos = make_folder("deep/down/photos", bar=10, disc=10)
    (tmp_path / "near").symlink_to(photos.parent)
    monkeypatch.chdir(tmp_path)
    joined, _ = add_synthetic(load_split("near/photos").split, [synthetic_run.relative_to(tmp_path)])
    assert all(joined.images.file(i).is_file() for i in range(len(joined.images)))


def test_a_run_says_what_it_learned_from(split, synthetic_run):
    with (synthetic_run / TRAINED_ON).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["label"] for row in rows} == {"bar"}
    assert {row["sha256"] for row in rows} <= {split.sha256[i] for i in split.indices("training")}
    assert len(rows) == 6


@pytest.mark.parametrize("part", ["validation", "test"])
def test_having_learned_from_a_judged_image_is_refused(split, synthetic_run, part):
    seen = split.indices(part)[0]
    write_trained_on(synthetic_run, split, [*split.indices("training"), seen])
    with pytest.raises(DataFault, match=rf"{split.images.paths[seen]}, which is in the {part} part here"):
        add_synthetic(split, [synthetic_run])


def test_the_leak_is_found_by_content_whatever_the_name(make_folder, tmp_path, split, synthetic_run):
    seen = split.images.file(split.indices("test")[0])
    other = make_folder("others", frame=4, bar=4)
    shutil.copy(seen, other / "frame" / "renamed.png")
    theirs = load_split(str(other)).split
    write_trained_on(synthetic_run, theirs, range(len(theirs.images)))
    with pytest.raises(DataFault, match=r"frame/renamed\.png, which is in the test part here"):
        add_synthetic(split, [synthetic_run])


def test_what_cannot_be_trusted_is_refused(split, synthetic_run, make_folder):
    (synthetic_run / TRAINED_ON).rename(synthetic_run / "aside.csv")
    with pytest.raises(DataFault, match=r"does not say which images it learned from"):
        add_synthetic(split, [synthetic_run])
    (synthetic_run / "aside.csv").rename(synthetic_run / TRAINED_ON)
    (synthetic_run / "synthetic" / "bar" / "0.png").write_bytes(b"")
    with pytest.raises(DataFault, match="is empty"):
        add_synthetic(split, [synthetic_run])
    (synthetic_run / "synthetic" / "bar").rename(synthetic_run / "synthetic" / "disk")
    with pytest.raises(DataFault, match="images of disk, which .* has not(.|\n)*Did you mean disc"):
        add_synthetic(split, [synthetic_run])
    shutil.rmtree(synthetic_run / "synthetic")
    with pytest.raises(DataFault, match="has no images in synthetic/"):
        add_synthetic(split, [synthetic_run])


def test_a_manifest_with_synthetic_rows_serves_again(split, synthetic_run, tmp_path):
    joined, _ = add_synthetic(split, [synthetic_run])
    manifest = tmp_path / "split.csv"
    manifest.write_text(joined.manifest)
    again = load_split(split.images.source, manifest=manifest).split
    assert again.manifest == split.manifest
    both = load_split(split.images.source, manifest=manifest, more=[synthetic_run])
    assert both.split.manifest == joined.manifest
    assert both.added == {"gan/1": {"bar": 3}}


def test_folds_refuse_synthetic_images(split, synthetic_run):
    joined, _ = add_synthetic(split, [synthetic_run])
    chosen = joined.indices("training")
    groups = [joined.groups[i] for i in chosen]
    with pytest.raises(UsageFault, match="--select folds cannot evaluate with --synthetic"):
        make_folds(joined.images.labels[chosen], groups, joined.images.class_names, 2)


ALARM = "The samples differ from each other 0.03 times as much as real images do (alarm below 0.5)."


@pytest.mark.parametrize(
    ("stopped", "steps", "various", "refused"),
    [
        (ALARM, 3000, [False, False], True),
        (ALARM, 3000, [True, False], False),  # the checkpoint that was kept is one from before
        (ALARM, 40, [False], False),  # in so few steps nobody can tell
        ("all steps done", 3000, [False, False], False),
        ("12.5 minutes are over", 3000, [False, False], False),
    ],
)
def test_a_run_of_before_whose_generator_had_collapsed_is_refused(
    stopped, steps, various, refused, split, synthetic_run
):
    gan = {"game": {"stopped": stopped, "steps": steps}}
    (synthetic_run / "card.json").write_text(json.dumps(gan))
    rows = "".join(json.dumps({"various": value}) + "\n" for value in various)
    (synthetic_run / "metrics.jsonl").write_text(rows)
    if not refused:
        add_synthetic(split, [synthetic_run])
        return
    with pytest.raises(
        DataFault, match=r"--synthetic gan/1 comes from a generator that had collapsed\. The samples"
    ) as told:
        add_synthetic(split, [synthetic_run])
    assert "synthesize-dcgan SOURCE --class NAME" in told.value.remedy
    (synthetic_run / "card.json").write_text(json.dumps({"collapsed": ALARM}))  # of `generate`
    with pytest.raises(DataFault, match="had collapsed"):
        add_synthetic(split, [synthetic_run])
