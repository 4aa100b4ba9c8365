"""What TensorBoard's own reader finds in the event files of a run, and what metrics.jsonl says should be there."""

from __future__ import annotations

import json
import math

import numpy as np
from tensorboard.backend.event_processing.directory_loader import DirectoryLoader
from tensorboard.backend.event_processing.event_file_loader import TimestampedEventFileLoader

TIMES = {"seconds", "images_per_second"}  # no two runs take the same


def events_of(run):
    """Folder below tensorboard/ -> its events, as TensorBoard loads them."""
    root = run / "tensorboard"
    folders = sorted({file.parent for file in root.rglob("*tfevents*")})
    return {
        f.relative_to(root).as_posix(): list(DirectoryLoader(str(f), TimestampedEventFileLoader).Load())
        for f in folders
    }


def values_of(run, plugin):
    """(folder, tag) -> [(step, tensor)] of one plugin, in the order of the file."""
    found = {}
    for folder, events in events_of(run).items():
        known = {}  # metadata stands at a tag's first value of a reader
        for event in events:
            for value in event.summary.value:
                known.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                if known[value.tag] == plugin:
                    found.setdefault((folder, value.tag), []).append((event.step, value.tensor))
    return found


def every_point(run):
    from tensorboard.util.tensor_util import make_ndarray

    return {
        key: [(step, float(make_ndarray(tensor))) for step, tensor in values]
        for key, values in values_of(run, "scalars").items()
    }


def points_of_board(run):
    """(folder, tag) -> [(step, value)], but of times the steps alone."""
    return {
        key: [(step, None if key[1] in TIMES else value) for step, value in values]
        for key, values in every_point(run).items()
    }


def images_of_board(run):
    """(folder, tag) -> the steps of its images."""
    return {key: [step for step, _ in values] for key, values in values_of(run, "images").items()}


def points_expected(rows):
    """(folder, tag) -> [(step, value)] of the rows of metrics.jsonl, as they are read."""
    found = {}
    for number, row in enumerate(rows, 1):
        for name, value in row.items():
            if not isinstance(value, float):
                continue
            part, _, measure = name.partition("_")
            if "kid" in row:
                places = [("game", name, row["step"])]
            elif "training_accuracy" not in row:
                named = [str(row[key]) for key in ("number", "arm", "repeat") if key in row]
                places = [("-".join(named) or "detector", name, number)]
            elif name == "learning_rate":
                places = [("training", name, number)]
            elif part in {"training", "validation"}:
                places = [(part, measure, number), (part, f"{row['phase']}/{measure}", row["epoch"])]
            else:
                continue
            for folder, tag, step in places:
                found.setdefault((folder, tag), []).append((step, float(np.float32(value))))
    return found


def check_board(run):
    """Each point of metrics.jsonl once, in order, and none beside; each image and the graph once; one file each."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = every_point(run)
    assert found == points_expected(rows)
    assert found
    for steps in images_of_board(run).values():
        assert steps == sorted(set(steps))
    for folder, events in events_of(run).items():
        assert sum(bool(event.graph_def) for event in events) <= 1
        times = [event.wall_time for event in events if event.summary.value]
        assert all(math.isfinite(t) and t > 1.5e9 for t in times)
        assert len(list((run / "tensorboard" / folder).iterdir())) == 1
