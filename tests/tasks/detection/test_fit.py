"""Fitting a detector: losses fall, the best is kept by AP, an interruption leaves no trace, small images are learned."""

from __future__ import annotations

import dataclasses
import shutil

import keras
import numpy as np
import pytest

from tests.tasks.detection.detecting import NAMES, SIZE, average_precision_50, drawn_boxes, use_tiny_pyramid
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.splits import split_boxes
from tlkit.engine.training.checkpoints import load_variables
from tlkit.engine.training.fit import Watchers
from tlkit.engine.training.settings import Phase, StepPhase
from tlkit.errors import DataFault, RunFailed
from tlkit.tasks.detection.anchors import Anchors, propose_anchors
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.fit import Evaluation, fit_detector, measure_pace
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.retinanet import RetinaNetDetector
from tlkit.tasks.detection.settings import Detecting, DetectorFitting
from tlkit.tasks.detection.table import detector_class

FITTING = DetectorFitting(batch=4, warmup=0.1, ema=0.9)
PARTS = ["training"] * 8 + ["validation"] * 4 + ["test"] * 4  # without a test part one is split


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    use_tiny_pyramid(monkeypatch)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return split_boxes(drawn_boxes(tmp_path_factory.mktemp("drawn") / "p", 16, parts=PARTS))


def small_retinanet(seed=0):
    keras.utils.set_random_seed(seed)
    return build_detector("retinanet", NAMES, SIZE, "tiny", "none", width=16, depth=1, anchors=Anchors(14.0))[
        0
    ]


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def same(before, after):
    return all((a == b).all() for a, b in zip(before, after, strict=True))


def fit(
    detector, split, folder, epochs=4, copy_at=None, evaluator=None, fitting=FITTING, rate=1e-2, **options
):
    rows = []

    def epoch(row, _counts):
        rows.append({**row, "seconds": 0})
        if copy_at and row["epoch"] == copy_at[0]:
            shutil.copytree(folder, copy_at[1])

    phase = Phase("all", "all", epochs, rate)
    results = fit_detector(
        detector,
        split,
        [phase],
        fitting,
        folder,
        evaluator=evaluator,
        watchers=Watchers(epoch=epoch),
        **options,
    )
    return results[0], rows


def test_the_loss_falls_and_an_interruption_leaves_no_trace(split, tmp_path):
    """What lies on the disk when epoch 3 was told and not yet kept is what a run killed there leaves behind."""
    how = {"augmentation": BoxAugmentation(flip="horizontal", scale=(0.8, 1.2))}
    whole, folder = small_retinanet(), tmp_path / "stopped"
    result, rows = fit(whole, split, tmp_path / "whole", copy_at=(3, folder), **how)
    assert (result.epochs, result.stopped) == (4, "all epochs done")
    assert all(
        row.keys() >= {"training_loss", "training_box_loss", "validation_loss", "best"} for row in rows
    )
    assert rows[-1]["training_loss"] < 0.9 * rows[0]["training_loss"]
    assert rows[-1]["learning_rate"] < 1e-5
    resumed, later = fit(small_retinanet(seed=5), split, folder, **how)
    assert later == rows[2:]
    assert (resumed.best_epoch, resumed.best_loss) == (result.best_epoch, result.best_loss)
    stored = [dict(np.load(tmp_path / name / "all" / "last.npz")) for name in ("whole", "stopped")]
    assert stored[0].keys() == stored[1].keys()
    arrays = [k for k in stored[0] if k != "state"]
    assert len(arrays) > 60
    assert all((stored[0][k] == stored[1][k]).all() for k in arrays)  # weights, optimiser and average


@pytest.mark.slow  # that sizes follow from (seed, step) is told by yolo/test_yolov2.py
def test_an_interruption_leaves_no_trace_in_what_many_sizes_teach(split, tmp_path, monkeypatch):
    """YOLOv2's sizes follow from (seed, step): here one a step."""
    monkeypatch.setattr("tlkit.tasks.detection.yolo.yolov2.EVERY", 1)
    seen = []

    def small(seed):
        keras.utils.set_random_seed(seed)
        detector = build_detector("yolov2", NAMES, SIZE, "tiny", "none", width=8, passed=4)[0]
        seen.append(detector.sides)
        return detector

    whole, folder = small(0), tmp_path / "stopped"
    _, rows = fit(whole, split, tmp_path / "whole", epochs=3, copy_at=(2, folder))
    resumed = small(5)
    _, later = fit(resumed, split, folder, epochs=3)
    assert later == rows[1:]
    assert same(values(whole.weights), values(resumed.weights))
    assert seen == [(64, 96)] * 2
    assert whole.seed == resumed.seed != (0, 0)


def test_the_best_by_ap_is_what_is_left_and_patience_counts_judgements(split, tmp_path):
    scores, seen = iter([0.1, 0.7, 0.3]), []

    def evaluator(found, boxes):
        seen.append((len(found), [one.path for one in found] == list(boxes.paths)))
        return {"AP50": next(scores), "AP": 0.05}

    detector = small_retinanet()
    fitting = dataclasses.replace(FITTING, patience=1, judge_every=2)
    result, rows = fit(detector, split, tmp_path, epochs=9, evaluator=evaluator, fitting=fitting)
    assert seen == [(4, True)] * 3
    assert [row.get("validation_AP50") for row in rows] == [None, 0.1, None, 0.7, None, 0.3]
    assert [row.get("best") for row in rows] == [None, True, None, True, None, False]
    assert result.stopped == "no better validation for 1 evaluated epochs"
    assert (result.epochs, result.best_epoch, result.measures) == (6, 4, {"AP50": 0.7, "AP": 0.05})
    loss, _ = Evaluation(detector, split.take("validation"), 4, None)()
    assert loss == pytest.approx(rows[3]["validation_loss"], rel=1e-5)
    # a finished phase is not fitted again
    assert fit(small_retinanet(seed=3), split, tmp_path, epochs=9, evaluator=evaluator, fitting=fitting) == (
        result,
        [],
    )


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    boxes = drawn_boxes(
        tmp_path_factory.mktemp("larger"), 12, 160, 160, parts=["training"] * 4 + ["validation", "test"] * 4
    )
    return split_boxes(boxes)


def larger_retinanet(seed):
    keras.utils.set_random_seed(seed)
    return build_detector("retinanet", NAMES, 160, "tiny", "none", width=16, depth=1, anchors=Anchors(14.0))[
        0
    ]


class Clock:
    """Seconds by reading: each takes one more."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


class Resizing(RetinaNetDetector):
    """A detector whose steps must not be timed as they are."""

    step_cost = 1.5

    def learned(self, x, y):
        raise AssertionError("steps are timed at one size")


@pytest.mark.slow
@pytest.mark.onednn
def test_timing_leaves_no_trace_and_counts_by_the_clock(split, tmp_path):
    """A phase with steps of its own, too: what was timed before learns to the same bits as what was not."""
    how = {"augmentation": BoxAugmentation(flip="horizontal", scale=(0.8, 1.2)), "batch_norm": True}

    def learned(detector, folder):
        rows = []
        watchers = Watchers(epoch=lambda row, _: rows.append({**row, "seconds": 0}))
        phase = StepPhase(
            "all", "all", 2, 1e-2, 3
        )  # of 8 images in batches of 4, so one and a half passes each
        (result,) = fit_detector(detector, split, [phase], FITTING, folder, watchers=watchers, **how)
        stored = np.load(folder / "all" / "last.npz")
        return result.epochs, rows, {name: stored[name] for name in stored.files if name != "state"}

    _, rows, arrays = learned(small_retinanet(), tmp_path / "plain")
    detector = small_retinanet()
    before = values(detector.variables)
    detector.__class__ = Resizing
    pace = measure_pace(detector, split, [Phase("all", "all", 4, 1e-2)], FITTING, clock=Clock(), **how)
    assert pace.steps == {"all": 1.5}  # a second each by this clock, times what sizes cost
    assert (pace.beginning, pace.evaluation) == (
        0.0,
        1.0,
    )  # what comes first compiles; 4 images are one batch
    assert same(before, values(detector.variables))
    assert (detector.one_size, detector.average) == (False, None)
    detector.__class__ = RetinaNetDetector
    epochs, again, stored = learned(detector, tmp_path / "timed")
    assert (epochs, again) == (2, rows)
    assert stored.keys() == arrays.keys()
    assert all((stored[name] == arrays[name]).all() for name in arrays)
    assert 6 in {
        int(value) for value in arrays.values() if value.dtype.kind in "iu" and not value.ndim
    }  # steps


CROPS = {"epochs": 2, "augmentation": BoxAugmentation(crop=128, flip="both")}


def test_crops_teach_what_whole_images_judge(larger, tmp_path):
    whole, seen = larger_retinanet(0), []
    before = values(whole.weights)

    def evaluator(found, truth):
        seen.append([one.path for one in found] == list(truth.paths))
        return {"AP50": len(seen) / 10}  # the last is the best

    result, rows = fit(whole, larger, tmp_path, evaluator=evaluator, **CROPS)
    assert seen == [True, True]
    assert whole.size == 160
    assert not same(before, values(whole.weights))
    loss, _ = Evaluation(whole, larger.take("validation"), 4, None)()
    assert loss == pytest.approx(result.best_loss, rel=1e-5)
    assert loss == pytest.approx(rows[1]["validation_loss"], rel=1e-5)


@pytest.mark.slow  # by default it is whole images that are learned to the same end
def test_an_interruption_leaves_no_trace_in_what_crops_teach(larger, tmp_path):
    whole, folder = larger_retinanet(0), tmp_path / "stopped"
    fit(whole, larger, tmp_path / "whole", copy_at=(2, folder), **CROPS)
    resumed = larger_retinanet(5)
    fit(resumed, larger, folder, **CROPS)
    assert same(values(whole.weights), values(resumed.weights))


@pytest.mark.slow
def test_a_phase_that_ruins_everything_leaves_the_best_of_the_one_before(split, tmp_path):
    detector = small_retinanet()
    phases = [Phase("head", "head", 1, 1e-3), Phase("all", "all", 1, 3.0)]
    body = detector.backbone.get_layer("backbone")
    kernel = np.array(body.get_layer("conv_3").kernel)
    fitting = dataclasses.replace(FITTING, clip_norm=0.0, warmup=0.0)
    results = fit_detector(detector, split, phases, fitting, tmp_path, batch_norm=True)
    assert results[0].best_epoch == 1
    assert results[1].best_epoch == 0
    assert results[1].best_loss == results[0].best_loss
    assert (
        np.array(body.get_layer("conv_3").kernel) == kernel
    ).all()  # frozen in the first, lost in the second


def test_weights_with_nan_stop_the_first_step_and_are_named(split, tmp_path):
    detector = small_retinanet()
    detector.get_layer("box_head").prediction.bias.assign(np.full(36, np.nan))
    named = r"Weights were NaN, .* before phase all, epoch 1, step 1: box_head/prediction/bias\."
    with pytest.raises(RunFailed, match=named):
        fit(detector, split, tmp_path)


def test_parts_without_boxes_are_refused(tmp_path):
    boxes = drawn_boxes(tmp_path / "p", 8, parts=["training"] * 4 + ["validation"] * 4)
    empty = [np.zeros((0, 4), np.float32)] * 4
    none = [np.zeros(0, np.int32)] * 4
    boxes = dataclasses.replace(
        boxes,
        xyxy=(*boxes.xyxy[:4], *empty),
        labels=(*boxes.labels[:4], *none),
        difficult=(*boxes.difficult[:4], *[np.zeros(0, bool)] * 4),
    )
    with pytest.raises(DataFault, match="validation part of .* has 4 images and no box"):
        fit(small_retinanet(), split_boxes(boxes), tmp_path / "run")


def test_detections_lie_in_the_pixels_of_each_file(tmp_path):
    """An image of another size and shape gives the same boxes as its copy in the square, scaled."""
    detector = small_retinanet()
    boxes = drawn_boxes(tmp_path / "p", 3, width=128, height=64)
    how = Detecting(threshold=0.0, most=5)
    found = Finder(detector, how).in_files(boxes.files())
    assert [one.path for one in found] == [str(path) for path in boxes.files()]
    again = Finder(detector, how).in_boxes(boxes)
    for one, other in zip(found, again, strict=True):
        assert one.boxes == pytest.approx(other.boxes, abs=1e-3)
        assert one.boxes.min() >= 0
        assert one.boxes[:, 0::2].max() > 64  # beyond the square's 64 pixels
        assert one.boxes[:, 2].max() <= 128
        assert one.boxes[:, 3].max() <= 64


def test_a_bad_file_is_named_or_skipped(tmp_path):
    boxes = drawn_boxes(tmp_path / "p", 2)
    bad = tmp_path / "p" / "bad.png"
    bad.write_bytes(b"no image")
    finder = Finder(small_retinanet())
    files = [boxes.files()[0], bad, boxes.files()[1]]
    with pytest.raises(DataFault, match="bad.png"):
        finder.in_files(files)
    skipped = []
    assert len(finder.in_files(files, skipped=skipped)) == 2
    assert [path for path, _ in skipped] == [bad.as_posix()]


@pytest.mark.slow
def test_yolo_learns_in_a_few_steps(split, tmp_path):
    keras.utils.set_random_seed(0)
    detector = build_detector("yolov8", NAMES, SIZE, "tiny")[0]
    _, rows = fit(detector, split, tmp_path, epochs=12)
    losses = [row["training_loss"] for row in rows]  # they rise first: what fits better is asked more
    assert losses[-1] < 0.8 * max(losses)
    load_variables(tmp_path / "all" / "best.npz", detector.variables)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["retinanet", "yolov8", "yolov3", "yolov2", "faster-rcnn"])
def test_drawn_images_are_learned_by_heart(kind, tmp_path):
    """24 images, a quarter empty: AP50 on themselves by pycocotools over all images, and nothing on empty ones."""
    parts = ["training"] * 24 + ["validation"] * 8 + ["test"] * 8
    boxes = drawn_boxes(tmp_path / "p", 40, parts=parts)
    own = boxes.take(range(24))
    keras.utils.set_random_seed(0)
    if kind == "retinanet":
        anchors = propose_anchors(own, SIZE)
        detector = build_detector(
            "retinanet", NAMES, SIZE, "tiny", "none", width=48, depth=2, anchors=anchors
        )[0]
    else:
        design = detector_class(kind).design(own, SIZE, None)
        detector = build_detector(kind, NAMES, SIZE, "tiny", **design.own)[0]
    fitting = DetectorFitting(batch=8, ema=0.95, judge_every=100, patience=99)
    phases = [Phase("all", "all", 100, 4e-3)]
    fit_detector(detector, split_boxes(boxes), phases, fitting, tmp_path / "run", batch_norm=True)
    found = Finder(detector).in_boxes(own)
    assert average_precision_50(found, own) > 0.9
    empty = [one for one, some in zip(found, own.xyxy, strict=True) if not len(some)]
    assert len(empty) == 6
    assert max((one.scores.max() for one in empty if len(one.scores)), default=0) < 0.5
