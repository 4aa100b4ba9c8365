"""Measures of detectors against pycocotools itself, against plain loops, and against cases worked by hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from tlkit.core.metric_names import DETECTOR
from tlkit.data.boxes.dataset import Boxes, iou
from tlkit.errors import DataFault, RunFailed
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.coco import coco_evaluation, coco_matches, most_counted
from tlkit.tasks.detection.metrics.curves import at_false_alarms, best_f1, bins_of, curve, screening, voc_ap
from tlkit.tasks.detection.metrics.intervals import (
    counted_classes,
    counted_screening,
    resampled_ap,
    resampled_recall,
)
from tlkit.tasks.detection.metrics.matching import confusion_with_background, ranked
from tlkit.tasks.detection.metrics.summary import coco_measures, detection_measures

CAT = ("gun", "knife", "razor")


def truth_of(boxes, labels, difficult=None, crowd=None, names=CAT, **facts):
    count = len(boxes)
    flags = difficult or [[False] * len(some) for some in boxes]
    crowds = crowd or [[False] * len(some) for some in boxes]
    return Boxes(
        source="made",
        root=Path(),
        class_names=tuple(names),
        paths=tuple(f"{i:03d}.png" for i in range(count)),
        xyxy=tuple(np.array(some, np.float32).reshape(-1, 4) for some in boxes),
        labels=tuple(np.array(some, np.int32) for some in labels),
        difficult=tuple(np.array(some, bool) for some in flags),
        crowd=tuple(np.array(some, bool) for some in crowds),
        sizes=((400, 400),) * count,
        groups=(None,) * count,
        parts=(None,) * count,
        **facts,
    )


def found_of(boxes, scores, labels):
    return [
        Detections(np.array(b, np.float32).reshape(-1, 4), np.array(s, np.float32), np.array(k, np.int32))
        for b, s, k in zip(boxes, scores, labels, strict=True)
    ]


def drawn(count=40, seed=0, difficult=0.15, noise=4, crowd=0.0):
    """Images, a third of them empty, and a mediocre detector whose scores tie."""
    generator = np.random.default_rng(seed)
    truth, found = ([], [], [], []), ([], [], [])
    for _ in range(count):
        objects = 0 if generator.random() < 0.35 else generator.integers(1, 6)
        corner = generator.random((objects, 2)) * 250
        boxes = np.concatenate([corner, corner + 10 + generator.random((objects, 2)) * 120], axis=1)
        labels = generator.integers(0, 3, objects)
        seen = generator.random(objects) < 0.8
        extra = generator.integers(0, noise)
        corner = generator.random((extra, 2)) * 250
        wild = np.concatenate([corner, corner + 10 + generator.random((extra, 2)) * 120], axis=1)
        near = boxes[seen] + generator.normal(0, 4, (seen.sum(), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        wrong = np.where(
            generator.random(seen.sum()) < 0.9, labels[seen], generator.integers(0, 3, seen.sum())
        )
        scores = np.concatenate([0.3 + 0.7 * generator.random(seen.sum()), 0.8 * generator.random(extra)])
        many = generator.random(objects) < crowd
        hard = (generator.random(objects) < difficult) & ~many
        for place, value in zip(truth, (boxes, labels, hard, many), strict=True):
            place.append(value)
        kinds = np.concatenate([wrong, generator.integers(0, 3, extra)])
        for place, value in zip(
            found, (np.concatenate([near, wild]), np.round(scores, 2), kinds), strict=True
        ):
            place.append(value)
    return truth_of(*truth), found_of(*found)


# --- pycocotools ---


def bare_pycocotools(truth, found, images=None, drop_class_zero=False, limit=100):
    """COCOeval used as its demo does: dictionaries, loadRes, evaluate. Two of the arguments plant KerasCV's faults."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects, rows = [], []
    for i in range(len(truth)):
        for box, label, crowd in zip(truth.xyxy[i].tolist(), truth.labels[i], truth.crowd[i], strict=True):
            if not (drop_class_zero and label == 0):
                sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                objects.append(
                    {"id": len(objects) + 1, "image_id": i + 1, "category_id": int(label) + 1, "bbox": sides,
                     "area": sides[2] * sides[3], "iscrowd": int(crowd)}
                )  # fmt: skip
        for box, score, label in zip(*(values.tolist() for values in found[i][:3]), strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            rows.append({"image_id": i + 1, "category_id": int(label) + 1, "bbox": sides, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(truth))],
            "categories": [{"id": k + 1} for k in range(len(truth.class_names))],
            "annotations": objects,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        if images is not None:
            evaluation.params.imgIds = [i + 1 for i in images]
        evaluation.params.maxDets = [1, 10, 100] if limit == 100 else [10, 100, limit]
        evaluation.evaluate()
        evaluation.accumulate()
        if limit != 100:
            return evaluation.eval
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize(
    "seeds", [range(8), range(8, 16), pytest.param(range(16, 200), marks=pytest.mark.slow)]
)
def test_coco_measures_are_those_of_pycocotools(seeds, capsys):
    """Random sets with crowds, scores that tie, images without objects, and now and then none with any."""
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
    for seed in seeds:
        truth, found = drawn(12, seed, difficult=0.0, crowd=(0.0, 0.2, 1.0)[seed % 3], noise=12)
        found = [one._replace(scores=np.round(one.scores, seed % 2 + 1)) for one in found]
        stats = bare_pycocotools(truth, found)
        expected = dict(zip(names, [*stats[:6], stats[8]], strict=True))
        measured = coco_measures(truth, found)
        assert {name: -1 if value is None else value for name, value in measured.items()} == pytest.approx(
            expected, abs=1e-12
        )
    assert capsys.readouterr().out == ""  # stdout is for data


# --- more than COCO's 100 ---


def grid(objects, right=None):
    """An image with so many objects of one class that do not touch; each found, or as many as `right`."""
    boxes = [[x, y, x + 8, y + 8] for x in range(0, 400, 10) for y in range(0, 400, 10)][:objects]
    scores = np.linspace(0.9, 0.5, objects)[:right]
    return truth_of([boxes], [[0] * objects], names=("cell",)), found_of(
        [boxes[:right]], [scores], [[0] * len(scores)]
    )


def test_a_perfect_detector_of_two_hundred_cells_has_an_ap_of_one():
    """COCO's own 100 detections would say 0.505 (cocoapi #222), and stats[0] of other limits -1."""
    truth, found = grid(200)
    measures = detection_measures(truth, found, resamples=20)
    assert [measures[name] for name in ("AP", "AP50", "AR", "counted")] == [1.0, 1.0, 1.0, 200]
    assert (measures["at_100"]["AP"], measures["at_100"]["AR"]) == (
        pytest.approx(51 / 101),
        pytest.approx(0.5),
    )
    assert measures["per_class"]["cell"]["AP"] == 1.0
    assert measures["intervals"]["AP"][1] == 1.0
    assert coco_measures(truth, found)["AP"] == 1.0  # what the best epoch is chosen by
    for objects in (99, 100, 101):
        assert coco_measures(*grid(objects))["AP"] == 1.0
    assert detection_measures(*grid(100), resamples=20)["at_100"] is None


def test_as_many_detections_count_as_a_detector_gives():
    """150 false alarms that are surer than the one hit: of 100 none is a hit, of 151 the last."""
    truth, _ = grid(1)
    boxes = [[x, 200, x + 5, 205] for x in range(0, 375, 5)] + [
        [x, 300, x + 5, 305] for x in range(0, 375, 5)
    ]
    found = found_of([[*boxes, [0, 0, 8, 8]]], [[*np.linspace(0.9, 0.5, 150), 0.4]], [[0] * 151])
    assert (most_counted(truth), most_counted(truth, 300), most_counted(grid(120)[0])) == (100, 300, 120)
    assert coco_measures(truth, found)["AP"] == 0.0
    assert coco_measures(truth, found, most=300)["AP"] == pytest.approx(1 / 151)
    matched = coco_matches(truth, found)
    assert (matched.hits.shape, matched.hits.any()) == ((10, 100), False)
    assert coco_matches(truth, found, 300).hits[:, -1].all()
    expected = bare_pycocotools(truth, found, limit=300)["precision"][..., 0, 0, -1].mean()
    assert coco_measures(truth, found, most=300)["AP"] == pytest.approx(expected, abs=1e-12)


# --- difficult objects and crowds ---


def overlap_of(one, other, inside=False):
    """Intersection over union, or over the first's own area."""
    wide, high = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    common = max(wide, 0) * max(high, 0)
    own, its = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (own if inside else own + its - common)


def plain_ap(truth, found, label, least):
    """COCO's average precision of a class at one overlap in plain loops: crowds by COCO's rule, difficult by VOC's."""
    ranking, objects = [], 0
    for i in range(len(truth)):
        boxes = truth.xyxy[i].astype(float)
        own = [j for j in range(len(boxes)) if truth.labels[i][j] == label]
        real = [j for j in own if not truth.difficult[i][j] and not truth.crowd[i][j]]
        objects += len(real)
        taken = set()
        for d in np.argsort(-found[i].scores, kind="stable"):
            if found[i].labels[d] != label:
                continue
            box, place, best = found[i].boxes[d].astype(float), None, least
            for j in real:
                if j not in taken and overlap_of(box, boxes[j]) >= best:
                    place, best = j, overlap_of(box, boxes[j])
            on = any(
                overlap_of(box, boxes[j], inside=truth.crowd[i][j]) >= least for j in own if j not in real
            )
            if place is not None or not on:
                taken.add(place)
                ranking.append((-float(found[i].scores[d]), place is not None))
    if not objects:
        return None
    ranking.sort(key=lambda row: row[0])
    hits = np.cumsum([hit for _, hit in ranking])
    precision = hits / np.arange(1, len(hits) + 1)
    return np.mean([max(precision[hits / objects >= r], default=0.0) for r in np.linspace(0, 1, 101)])


def test_each_kind_by_its_own_rule_as_a_plain_loop_has_it():
    both = 0
    for seed in range(4):
        truth, found = drawn(30, seed + 50, difficult=0.3, crowd=0.3, noise=12)
        both += sum(d.any() and c.any() for d, c in zip(truth.difficult, truth.crowd, strict=True))
        precision = coco_evaluation(truth, found).eval["precision"]
        matched = coco_matches(truth, found)
        for k in range(3):
            for place, least in enumerate(np.linspace(0.5, 0.95, 10)):
                expected = plain_ap(truth, found, k, least)
                assert precision[place, :, k, 0, -1].mean() == pytest.approx(expected, abs=1e-12)
                (rows,) = np.nonzero((matched.labels == k) & ~matched.ignored[place])
                rows = rows[np.argsort(-matched.scores[rows], kind="stable")]
                hits = np.cumsum(matched.hits[place][rows])
                every = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
                reached = np.searchsorted(hits / (matched.object_labels == k).sum(), np.linspace(0, 1, 101))
                assert np.append(every, 0.0)[reached].mean() == pytest.approx(expected, abs=1e-9)
    assert both > 10  # images that have both kinds


def test_a_difficult_object_and_a_crowd_in_one_image_by_hand():
    """By IoU nothing small lies on the difficult one; by its own area everything small lies in the crowd."""
    gun, hard, many = [0, 0, 40, 40], [100, 0, 300, 200], [100, 220, 300, 400]
    truth = truth_of([[gun, hard, many]], [[0] * 3], [[False, True, False]], [[False, False, True]], ("gun",))
    cases = {
        "small in the difficult one": ([[110, 10, 130, 30]], 0.5),
        "on the difficult one, twice": ([hard, [100, 0, 300, 190]], 1.0),
        "small in the crowd": ([[110, 230, 130, 250], [150, 300, 160, 310]], 1.0),
        "half outside the crowd": ([[280, 300, 330, 340]], 0.5),
    }
    for name, (extra, expected) in cases.items():
        found = found_of(
            [[*extra, gun]], [[*np.linspace(0.9, 0.8, len(extra)), 0.5]], [[0] * (len(extra) + 1)]
        )
        measures = detection_measures(truth, found, resamples=20)
        assert (measures["AP50"], measures["voc"]["AP10"], measures["objects"]) == (expected, expected, 1), (
            name
        )
        assert measures["f1"]["precision"] == expected, name
        assert measures["confusion"]["matrix"] == [[1, 0], [int(expected < 1), 0]], name
    # a hit stays one inside a crowd, and an object's second detection there is no false alarm
    crowded = truth_of([[gun, [0, 0, 200, 200]]], [[0, 0]], crowd=[[False, True]], names=("gun",))
    rows = ranked(crowded, found_of([[gun, gun]], [[0.9, 0.8]], [[0, 0]]))
    assert (rows.hits.tolist(), len(rows.found_at)) == ([True], 1)


def test_per_class_means_are_the_head():
    measures = detection_measures(*drawn(), resamples=20)
    for name in ("AP", "AP50", "AP75", "AR"):
        mean = np.mean([row[name] for row in measures["per_class"].values()])
        assert mean == pytest.approx(measures[name], abs=1e-12)


def test_the_area_of_an_outline_decides_what_is_small():
    box = [[0, 0, 50, 50]]  # 2,500 square pixels: medium; its outline 900: small
    found = found_of([box], [[0.9]], [[0]])
    plain = coco_measures(truth_of([box], [[0]]), found)
    outlined = coco_measures(truth_of([box], [[0]], box_columns={"area": (("900.0",),)}), found)
    assert (plain["APs"], plain["APm"]) == (None, pytest.approx(1))
    assert (outlined["APs"], outlined["APm"]) == (pytest.approx(1), None)


# --- KerasCV's two faults ---


def perfect(count=20):
    """One object an image, of every class in turn, each found."""
    boxes = [[[10, 10, 60 + i, 80]] for i in range(count)]
    labels = [[i % 3] for i in range(count)]
    return truth_of(boxes, labels), found_of(boxes, [[0.9]] * count, labels)


def test_images_without_detections_do_not_vanish():
    """stack.md bug 2: evaluated over images that have predictions, a detector that misses half looks perfect."""
    truth, found = perfect()
    silent = [one if i % 2 else one.take([]) for i, one in enumerate(found)]
    planted = bare_pycocotools(truth, silent, images=[i for i in range(20) if len(silent[i].boxes)])
    ours = coco_measures(truth, silent)
    assert planted[1] == pytest.approx(1.0)
    # recall 0.5 or near: of 101 recalls 0 to 0.5 are reached with precision 1
    assert ours["AP50"] == pytest.approx(bare_pycocotools(truth, silent)[1])
    assert 0.4 < ours["AP50"] < 0.55


def test_class_zero_is_not_dropped():
    """stack.md bug 3: without the objects of class 0 its detections are false alarms, or its mean is left out."""
    truth, found = perfect()
    blind = [one.take(one.labels > 0) for one in found]
    assert coco_measures(truth, found)["AP50"] == pytest.approx(1.0)
    planted = bare_pycocotools(truth, blind, drop_class_zero=True)
    ours = detection_measures(truth, blind, resamples=20)
    assert planted[1] == pytest.approx(1.0)  # nobody sees that no gun is ever found
    assert ours["AP50"] == pytest.approx(2 / 3)
    assert ours["per_class"]["gun"]["AP50"] == 0.0


def test_precision_and_recall_of_a_class_are_at_the_threshold_that_was_chosen_elsewhere():
    """The knife's own best is 0.9, where its false alarm is gone; from the 0.5 of validation on it is there."""
    box, far = [0, 0, 10, 10], [80, 80, 90, 90]
    truth = truth_of([[box], [box]], [[0], [1]])
    found = found_of([[box], [box, far]], [[0.6], [0.9, 0.7]], [[0], [1, 1]])
    measures = detection_measures(truth, found, resamples=20, score_threshold=0.5)
    gun, knife, razor = measures["per_class"].values()
    assert [knife[name] for name in ("threshold", "precision", "recall")] == [0.5, 0.5, 1.0]
    assert (gun["precision"], gun["recall"], razor["precision"], razor["threshold"]) == (1.0, 1.0, None, 0.5)
    strict = detection_measures(truth, found, resamples=20, score_threshold=0.8)["per_class"]
    assert (strict["gun"]["recall"], strict["knife"]["precision"]) == (0.0, 1.0)
    chosen_here = detection_measures(truth, found, resamples=20)  # one threshold for all: 0.6, with F1 0.8
    assert [row["threshold"] for row in chosen_here["per_class"].values()] == [pytest.approx(0.6)] * 3
    assert chosen_here["per_class"]["knife"]["precision"] == 0.5


# --- Pascal VOC ---


def test_voc_ap_by_hand():
    """Hits and false alarms in the order + - + + - with 4 objects: precision 1, 1/2, 2/3, 3/4, 3/5."""
    boxes = [[[0, 0, 10, 10]], [[0, 0, 10, 10]], [[0, 0, 10, 10]], [[0, 0, 10, 10]]]
    hit, miss = [0, 0, 10, 10], [50, 50, 60, 60]
    truth = truth_of(boxes, [[0]] * 4, names=("gun",))
    found = found_of(
        [[hit, miss], [hit], [hit, miss], []], [[0.9, 0.8], [0.7], [0.6, 0.5], []], [[0, 0], [0], [0, 0], []]
    )
    rows = ranked(truth, found)
    # all points: recall 0 to 1/4 at best precision 1, from there to 3/4 at 3/4
    assert voc_ap(rows, "10") == pytest.approx(0.25 * 1 + 0.5 * 0.75)
    # eleven points: 0, .1, .2 at 1; .3 to .7 at 3/4; .8, .9, 1 at 0
    assert voc_ap(rows, "07") == pytest.approx((3 * 1 + 5 * 0.75) / 11)


def test_voc_ap_07_counts_recalls_that_are_reached_exactly():
    """Ten objects, three found without a false alarm: recalls 0, 0.1, 0.2 and 0.3 are reached."""
    box = [0, 0, 10, 10]
    truth = truth_of([[box]] * 10, [[0]] * 10, names=("gun",))
    found = found_of([[box]] * 3 + [[]] * 7, [[0.9], [0.8], [0.7]] + [[]] * 7, [[0]] * 3 + [[]] * 7)
    assert voc_ap(ranked(truth, found), "07") == pytest.approx(4 / 11)


def devkit_ap(truth, found, label, overlap=0.5):
    """VOCevaldet of the development kit, statement by statement; continuous boxes, so no + 1."""
    everything = sorted(
        ((-s, i, b) for i in range(len(truth)) for b, s, k in zip(*found[i][:3], strict=True) if k == label),
        key=lambda row: row[:2],
    )  # fmt: skip
    taken, positives = (
        set(),
        sum(((k == label) & ~d).sum() for k, d in zip(truth.labels, truth.difficult, strict=True)),
    )
    tp, fp = [], []
    for _, i, box in everything:
        best, place = -np.inf, None
        for j, other in enumerate(truth.xyxy[i]):
            if truth.labels[i][j] != label:
                continue
            wide = min(box[2], other[2]) - max(box[0], other[0])
            high = min(box[3], other[3]) - max(box[1], other[1])
            if wide > 0 and high > 0:
                union = (
                    (box[2] - box[0]) * (box[3] - box[1])
                    + (other[2] - other[0]) * (other[3] - other[1])
                    - wide * high
                )
                if wide * high / union > best:
                    best, place = wide * high / union, j
        if best >= overlap:
            if not truth.difficult[i][place]:
                tp.append((i, place) not in taken)
                fp.append((i, place) in taken)
                taken.add((i, place))
        else:
            tp.append(False)
            fp.append(True)
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    recall, precision = tp / positives, tp / (tp + fp)
    ap07 = np.mean([max(precision[recall >= t - 1e-12], default=0) for t in np.arange(0, 1.01, 0.1)])
    wide_recall, wide_precision = np.concatenate([[0], recall, [1]]), np.concatenate([[0], precision, [0]])
    for i in range(len(wide_precision) - 2, -1, -1):
        wide_precision[i] = max(wide_precision[i], wide_precision[i + 1])
    steps = np.flatnonzero(wide_recall[1:] != wide_recall[:-1]) + 1
    return ap07, ((wide_recall[steps] - wide_recall[steps - 1]) * wide_precision[steps]).sum()


@pytest.mark.parametrize("seed", range(3))
def test_voc_ap_is_that_of_the_development_kit(seed):
    truth, found = drawn(seed=seed + 10, difficult=0.3)
    measures = detection_measures(truth, found, resamples=20)
    expected = [devkit_ap(truth, found, label) for label in range(3)]
    assert [row["AP07"] for row in measures["per_class"].values()] == pytest.approx([a for a, _ in expected])
    assert [row["AP10"] for row in measures["per_class"].values()] == pytest.approx([a for _, a in expected])
    assert measures["voc"]["AP10"] == pytest.approx(np.mean([a for _, a in expected]))


def test_difficult_objects_count_neither_way():
    boxes = [[[0, 0, 10, 10], [50, 50, 60, 60]]]
    truth = truth_of(boxes, [[0, 0]], [[False, True]])
    on_both = found_of(boxes, [[0.5, 0.9]], [[0, 0]])
    on_one = found_of([boxes[0][:1]], [[0.5]], [[0]])
    for found in (on_both, on_one):
        measures = detection_measures(truth, found, resamples=20)
        assert (measures["objects"], measures["per_class"]["gun"]["AP10"]) == (1, 1.0)
        assert measures["AP50"] == pytest.approx(1.0)
        assert measures["confusion"]["matrix"] == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4]


# --- curves ---


def test_f1_by_hand_with_a_tie():
    """Two objects. 0.9: hit. 0.5: a hit and a false alarm at once. 0.1: false alarm."""
    box, far = [0, 0, 10, 10], [80, 80, 90, 90]
    truth = truth_of([[box], [box]], [[0], [0]])
    found = found_of([[box], [box, far, far]], [[0.9], [0.5, 0.5, 0.1]], [[0], [0, 0, 0]])
    points = curve(ranked(truth, found))
    np.testing.assert_allclose(points.thresholds, [0.9, 0.5, 0.1], atol=1e-6)
    np.testing.assert_allclose(points.precision, [1, 2 / 3, 1 / 2])
    np.testing.assert_allclose(points.recall, [1 / 2, 1, 1])
    np.testing.assert_allclose(points.f1, [2 / 3, 4 / 5, 2 / 3])
    np.testing.assert_allclose(points.false_alarms, [0, 1 / 2, 1])
    best = best_f1(points)
    assert (best["f1"], best["threshold"]) == (pytest.approx(0.8), pytest.approx(0.5))
    assert (best["precision"], best["recall"]) == (pytest.approx(2 / 3), 1.0)


def test_false_alarms_by_hand():
    """Ten bags, four objects; thresholds 0.9 ... with 0, 1, 1, 5, 5, 10 false alarms so far."""
    box, far = [0, 0, 10, 10], [80, 80, 90, 90]
    boxes = [[box]] * 4 + [[]] * 6
    truth = truth_of(boxes, [[0], [0], [1], [1]] + [[]] * 6)
    found = found_of(
        [[box], [box], [box], [far], [far], [far], [far], [far], [far] * 5, []],
        [[0.9], [0.7], [0.5], [0.8], [0.6], [0.6], [0.6], [0.6], [0.4] * 5, []],
        [[0], [0], [1], [1], [0], [0], [0], [0], [0] * 5, []],
    )
    rows = ranked(truth, found)
    assert [at_false_alarms(curve(rows), rate)["recall"] for rate in (0, 0.1, 0.5, 1)] == [
        0.25,
        0.5,
        0.75,
        0.75,
    ]
    assert [at_false_alarms(curve(rows), rate)["threshold"] for rate in (0.1, 0.5)] == [
        pytest.approx(0.7),
        pytest.approx(0.5),
    ]
    first, *_ = screening(truth, rows, (0.1,))
    assert first["per_class"] == {"gun": 1.0, "knife": 0.0, "razor": None}
    assert first["false_alarms"] == pytest.approx(0.1)


def test_a_detector_that_begins_with_false_alarms_finds_nothing_at_few():
    box, far = [0, 0, 10, 10], [80, 80, 90, 90]
    found = found_of([[far, box]], [[0.9, 0.5]], [[0, 0]])
    point = at_false_alarms(curve(ranked(truth_of([[box]], [[0]]), found)), 0.5)
    assert point == {"threshold": None, "recall": 0.0, "false_alarms": 0.0}


def test_recall_by_occlusion():
    box, other = [0, 0, 10, 10], [50, 50, 60, 60]
    shares = (("0.1", "0.9"), ("0.2", "0.8"), ("0.3", "0.7"), ("", "0.95"))
    truth = truth_of([[box, other]] * 4, [[0, 0]] * 4, box_columns={"occlusion": shares})
    found = found_of([[box, other]] * 4, [[0.9, 0.1]] * 3 + [[0.9, 0.8]], [[0, 0]] * 4)
    (one,) = screening(truth, ranked(truth, [one.above(0.5) for one in found]), (0.1,))
    assert one["per_bin"] == {
        "0-0.25": {"recall": 1.0, "objects": 2},
        "0.25-0.5": {"recall": 1.0, "objects": 1},
        "0.5-0.75": {"recall": 0.0, "objects": 1},
        "0.75-1": {"recall": 1 / 3, "objects": 3},
        "unknown": {"recall": 1.0, "objects": 1},
    }
    assert bins_of(["easy", "hard", ""]) == ["easy", "hard", "unknown"]
    assert bins_of(["1", "3", "2", "3"]) == ["1", "3", "2", "3"]
    assert bins_of(["1.0", *(f"0.{i}" for i in range(8))])[0] == "0.75-1"


def test_confusion_by_hand():
    gun, knife, far = [0, 0, 10, 10], [50, 50, 60, 60], [100, 100, 110, 110]
    truth = truth_of([[gun, knife], [knife]], [[0, 1], [1]])
    found = found_of(
        [[gun, gun, knife, far], [gun, knife]],
        [[0.9, 0.8, 0.7, 0.6], [0.95, 0.2]],
        [[0, 1, 2, 2], [0, 1]],
    )
    matrix = confusion_with_background(truth, found, 0.5)
    assert matrix.tolist() == [
        [1, 0, 0, 0],  # the gun, by its surest detection
        [0, 0, 1, 1],  # a knife taken for a razor; one whose detection is below the threshold
        [0, 0, 0, 0],
        [1, 1, 1, 0],  # the gun again as knife, nothing as razor, nothing as gun
    ]
    assert confusion_with_background(truth, found, 0.1)[1].tolist() == [0, 1, 1, 0]


def test_every_object_and_every_detection_is_in_the_confusion_once():
    truth, found = drawn(difficult=0.0)
    matrix = confusion_with_background(truth, found, 0.4)
    assert matrix[:3].sum(axis=1).tolist() == np.bincount(np.concatenate(truth.labels), minlength=3).tolist()
    kept = np.concatenate([one.above(0.4).labels for one in found])
    assert matrix[:, :3].sum(axis=0).tolist() == np.bincount(kept, minlength=3).tolist()


# --- intervals ---


def repeated(truth, found, draw):
    """The images as often as they were drawn."""
    indices = np.repeat(np.arange(len(truth)), draw.astype(int))
    return truth.take(indices), [found[i] for i in indices]


def untied(found, seed=0):
    """Scores that differ, so that the order does not hang on the order of the images."""
    generator = np.random.default_rng(seed)
    return [one._replace(scores=generator.random(len(one.scores)).astype(np.float32)) for one in found]


def test_a_resample_is_the_measure_of_the_images_drawn():
    truth, found = drawn(25, seed=4)
    found = untied(found)
    draws = np.random.default_rng(1).multinomial(25, np.full(25, 1 / 25), size=3).astype(float)
    draws = np.concatenate([np.ones((1, 25)), draws])
    members, weights = np.arange(25), draws.T.astype(np.float32)
    classes = counted_classes(coco_matches(truth, found), 3, members, 25)
    pooled = counted_screening(ranked(truth, found), members, 25)
    for number, draw in enumerate(draws):
        again = repeated(truth, found, draw)
        precision = coco_evaluation(*again).eval["precision"]
        points = curve(ranked(*again))
        for k in range(3):
            for overlap in (0, 5, 9):
                value = resampled_ap(classes[k][overlap], weights)[number]
                # equal scores of one image drawn twice stand in another order, which shifts precision a little
                assert value == pytest.approx(
                    precision[overlap, :, k, 0, -1].mean(), abs=1e-6 if not number else 0.02
                )
        for rate in (0.1, 0.5, 1.0):
            expected = at_false_alarms(points, rate)["recall"]
            assert resampled_recall(pooled, weights, rate)[number] == pytest.approx(expected, abs=1e-12)


def test_resampling_groups_draws_their_images_together():
    truth, found = drawn(24, seed=5)
    groups = [f"bag{i // 3}" for i in range(24)]
    alone = detection_measures(truth, found, resamples=200)
    together = detection_measures(truth, found, groups=groups, resamples=200)
    assert (alone["groups"], together["groups"]) == (24, 8)
    assert alone["AP"] == together["AP"]
    assert alone["intervals"] != together["intervals"]
    for measures in (alone, together):
        for name in ("AP", "AP50", "AP75"):
            low, high = measures["intervals"][name]
            assert low < measures[name] < high
        for one in measures["screening"]:
            low, high = measures["intervals"][f"recall@{one['rate']:g}"]
            assert low <= one["recall"] <= high
        for row in measures["per_class"].values():
            assert row["interval"][0] < row["AP50"] < row["interval"][1]


def test_a_perfect_score_still_has_a_lower_bound():
    measures = detection_measures(*perfect(30), resamples=50)
    assert measures["AP"] == pytest.approx(1.0)
    low, high = measures["intervals"]["AP"]
    assert (low, high) == (
        pytest.approx(0.025 ** (1 / 10)),
        1.0,
    )  # ten groups of the rarest class, none failed


# --- the whole, and what cannot be ---


def test_the_whole_on_images_without_objects_or_detections():
    empty = truth_of([[], []], [[], []])
    silent = found_of([[], []], [[], []], [[], []])
    measures = detection_measures(empty, silent, resamples=20)
    assert (measures["AP"], measures["AR"], measures["f1"]["f1"]) == (None, None, None)
    assert measures["negative"] == 2
    assert measures["intervals"]["AP"] is None
    assert measures["screening"][0]["recall"] in (None, 0.0)
    noisy = found_of([[[1, 1, 5, 5]], []], [[0.9], []], [[0], []])
    measures = detection_measures(empty, noisy, resamples=20)
    assert measures["confusion"]["matrix"][3] == [1, 0, 0, 0]
    full = detection_measures(perfect()[0], found_of([[]] * 20, [[]] * 20, [[]] * 20), resamples=20)
    assert (full["AP"], full["f1"]["f1"], full["voc"]["AP10"]) == (0.0, None, 0.0)


def test_the_result_goes_into_json():
    import json

    measures = detection_measures(*drawn(), resamples=20, score_threshold=0.4)
    assert measures["f1"]["threshold"] == 0.4  # given, not chosen here
    again = json.loads(json.dumps(measures, allow_nan=False))
    assert again["confusion"]["score_threshold"] == 0.4
    assert {*DETECTOR.overall, *DETECTOR.compared} <= set(again)
    assert set(DETECTOR.with_interval) <= set(again["intervals"])
    assert set(DETECTOR.per_class) <= set(again["per_class"]["gun"])
    assert again["confusion"]["iou_threshold"] == 0.5
    assert again["confusion"]["classes"] == [*CAT, "background"]


def test_what_cannot_be_measured():
    truth, found = perfect(3)
    with pytest.raises(DataFault, match="no image"):
        detection_measures(truth.take([]), [])
    with pytest.raises(ValueError, match="2 detections for 3 images"):
        coco_measures(truth, found[:2])
    with pytest.raises(ValueError, match=r"labels 7\.\.7 of 3"):
        coco_measures(truth, [one._replace(labels=np.array([7], np.int32)) for one in found])
    with pytest.raises(RunFailed, match="NaN"):
        coco_measures(truth, [one._replace(scores=np.array([np.nan], np.float32)) for one in found])


def test_the_first_of_two_detections_of_one_object_is_the_hit():
    box, near = [0, 0, 10, 10], [0, 0, 10, 9]
    rows = ranked(truth_of([[box]], [[0]]), found_of([[box, near]], [[0.6, 0.7]], [[0, 0]]))
    assert rows.hits.tolist() == [True, False]
    assert rows.found_at.tolist() == [np.float32(0.7)]
    assert iou(np.array([box]), np.array([near]))[0, 0] == pytest.approx(0.9)


@pytest.mark.slow
def test_five_thousand_images_cost_less_than_pycocotools():
    """1.0 times bare pycocotools, all measures and intervals in: CPU time of this process, the best of three each."""
    import time

    truth, found = drawn(5000, seed=1, noise=20)

    def seconds(function):
        begin = time.process_time()
        function(truth, found)
        return time.process_time() - begin

    times = [(seconds(bare_pycocotools), seconds(detection_measures)) for _ in range(3)]
    bare, ours = (min(column) for column in zip(*times, strict=True))
    assert ours < bare, times
