"""Claims: a detector's step with augmentation is at least as fast as stock KerasCV's; its COCO measures take at most
0.3 of bare pycocotools' time; and what a bag costs, one at a time.

    python -m tests.benchmarks.detectors

Training: YOLOv8-xs at 320, batches of 8, Adam with clipped gradients, mirroring and a change of size, images decoded
before; `fit()` of stock `keras_cv.models.YOLOV8Detector` with KerasCV's own augmentation layers in its Dataset.map is the
rival. A second row runs the input pipelines alone. Evaluation: 5,000 images with made detections; the rival makes
COCO's lists from the same arrays and calls pycocotools. Prediction: bytes of a bag's PNG to boxes in its pixels, batch 1,
by our SavedModel; beside it stands YOLOX-nano (416 px, 80 classes) through onnxruntime and OpenVINO, decoded and
letterboxed by Pillow, without the suppression of duplicates, where ../shared/weights/yolox_nano.onnx and the package are.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmarks.measuring import SHARED, Comparison, in_turn, main, seconds

YOLOX = SHARED / "weights" / "yolox_nano.onnx"
YOLOX_SIDE = 416
NAMES = ("gun", "shuriken", "blade", "knife")
BATCH = 8
SCALE = (0.7, 1.4)


def measure(
    _source: str,
    pairs: int = 3,
    *,
    size: int = 320,
    images: int = 64,
    steps: int = 12,
    evaluated: int = 5000,
    asked: int = 20,
) -> list[Comparison]:
    """Rows of training, of evaluation and of prediction."""
    with tempfile.TemporaryDirectory() as folder:
        boxes = drawn_bags(Path(folder), images, size)
        return [
            *training(boxes, pairs, size, steps),
            *evaluation(pairs, evaluated),
            *prediction(boxes, pairs, size, asked),
        ]


def drawn_bags(folder: Path, count: int, size: int) -> Any:
    """Simulated bags and their boxes, as files."""
    from tlkit.data.boxes.dataset import read_boxes
    from tlkit.data.xray.bags import write_bags

    write_bags(folder / "bags", count, seed=2, size=size)
    return read_boxes(folder / "bags")


# --- training ---


def training(boxes: Any, pairs: int, size: int, steps: int) -> list[Comparison]:
    """Images a second of `fit()`, and of the input pipelines alone."""
    theirs, ours = stock_batches(boxes, size), our_batches(boxes, size)
    stock, own = stock_detector(size), our_detector(size)
    images = BATCH * steps

    def fitted(detector: Any, batches: Any) -> Callable[[], float]:
        return lambda: (
            images / seconds(lambda: detector.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0))
        )

    def read(batches: Any) -> Callable[[], float]:
        return lambda: images / seconds(lambda: [None for _ in batches.take(steps)])

    rows = []
    for claim, ways, target in (
        ("fit() with augmentation", {"rival": fitted(stock, theirs), "ours": fitted(own, ours)}, 1.0),
        ("its input pipeline alone", {"rival": read(theirs), "ours": read(ours)}, None),
    ):
        in_turn(ways, 1)
        took = in_turn(ways, pairs)
        rows.append(
            Comparison(
                f"YOLOv8-xs {size} px, {claim}, ours / stock KerasCV",
                "images/s",
                took["rival"],
                took["ours"],
                target,
                least=True,
            )
        )
    share = [f / r for f, r in zip(rows[0].ours, rows[1].ours, strict=True)]
    theirs_share = [f / r for f, r in zip(rows[0].rival, rows[1].rival, strict=True)]
    note = (
        f"Input pipeline as a share of a step: ours {np.median(share):.1%}, stock {np.median(theirs_share):.1%}; "
        f"{len(boxes)} images, batch {BATCH}."
    )
    return [Comparison(**{**vars(row), "note": note}) for row in rows]


def our_detector(size: int) -> Any:
    """Compiled as fit_detector does it."""
    import keras

    from tlkit.engine.training.adam import FusedAdam
    from tlkit.tasks.detection.build import build_detector

    keras.utils.set_random_seed(0)
    detector = build_detector("yolov8", NAMES, size, "yolov8-xs", "none")[0]
    detector.compile(FusedAdam(1e-3, global_clipnorm=10.0))
    return detector


def our_batches(boxes: Any, size: int) -> Any:
    from tlkit.data.boxes.augment_settings import BoxAugmentation
    from tlkit.data.boxes.batches import training_box_batches
    from tlkit.data.boxes.splits import strata
    from tlkit.data.images.batches import Order

    order = Order(strata(boxes), BATCH, 0, "benchmark")
    changes = BoxAugmentation(flip="horizontal", scale=SCALE)
    return training_box_batches(boxes, order, size, 10_000, augmentation=changes)


def stock_detector(size: int) -> Any:
    """KerasCV's own classes with the numbers of its preset, which would call a hub."""
    import keras
    import keras_cv

    keras.utils.set_random_seed(0)
    backbone = keras_cv.models.YOLOV8Backbone(
        stackwise_channels=[32, 64, 128, 256],
        stackwise_depth=[1, 2, 2, 1],
        include_rescaling=True,
        input_shape=(size, size, 3),
    )
    detector = keras_cv.models.YOLOV8Detector(
        backbone=backbone, num_classes=len(NAMES), bounding_box_format="xyxy", fpn_depth=1
    )
    detector.compile(
        optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=10.0),
        classification_loss="binary_crossentropy",
        box_loss="ciou",
        jit_compile=False,
    )
    return detector


def stock_batches(boxes: Any, size: int) -> Any:
    """Its own layers in Dataset.map, as its guides have it, on images that are decoded already."""
    import keras_cv
    import tensorflow as tf

    most = max(map(len, boxes.xyxy))
    pixels = np.zeros((len(boxes), size, size, 3), np.float32)
    corners = np.full((len(boxes), most, 4), -1, np.float32)
    labels = np.full((len(boxes), most), -1, np.float32)
    for i in range(len(boxes)):
        image = np.asarray(Image.open(boxes.file(i)).convert("RGB"))
        pixels[i, : image.shape[0], : image.shape[1]] = image
        corners[i, : len(boxes.xyxy[i])] = boxes.xyxy[i]
        labels[i, : len(boxes.labels[i])] = boxes.labels[i]
    flip = keras_cv.layers.RandomFlip(mode="horizontal", bounding_box_format="xyxy", seed=0)
    resize = keras_cv.layers.JitteredResize(
        target_size=(size, size), scale_factor=SCALE, bounding_box_format="xyxy", seed=0
    )

    def changed(images: Any, boxes: Any, classes: Any) -> Any:
        inputs = {"images": images, "bounding_boxes": {"boxes": boxes, "classes": classes}}
        inputs = resize(flip(inputs))
        dense = keras_cv.bounding_box.to_dense(inputs["bounding_boxes"], max_boxes=most)
        return inputs["images"], dense

    data = tf.data.Dataset.from_tensor_slices((pixels, corners, labels)).shuffle(len(boxes), seed=0).repeat()
    return data.batch(BATCH).map(changed, num_parallel_calls=2).prefetch(2)


# --- evaluation ---


def evaluation(pairs: int, count: int) -> list[Comparison]:
    """Seconds for COCO's measures, and for all that a report says, intervals included."""
    from tlkit.tasks.detection.metrics.summary import coco_measures, detection_measures

    truth, found = made_detections(count)
    ways = {
        "rival": lambda: seconds(lambda: bare_pycocotools(truth, found)),
        "measures": lambda: seconds(lambda: coco_measures(truth, found)),
        "report": lambda: seconds(lambda: detection_measures(truth, found)),
    }
    took = in_turn(ways, pairs)
    same = abs(bare_pycocotools(truth, found) - (coco_measures(truth, found)["AP"] or 0.0))
    note = f"{sum(map(len, truth.xyxy))} objects, {sum(len(one.scores) for one in found)} detections; difference of AP {same:.1g}."
    return [
        Comparison(f"COCO measures of {count:,} images / bare pycocotools", "s", took["rival"], took["measures"], 0.3, note=note),
        Comparison(f"all measures with intervals of {count:,} images / bare pycocotools", "s", took["rival"], took["report"], note=note),
    ]  # fmt: skip


def made_detections(count: int) -> tuple[Any, Any]:
    """0 to 4 objects an image, most of them found, and false alarms."""
    from tlkit.data.boxes.dataset import Boxes
    from tlkit.tasks.detection.detections import Detections

    random = np.random.default_rng(0)
    xyxy, labels, found = [], [], []
    for _ in range(count):
        number = int(random.integers(0, 5))
        corner, side = random.uniform(0, 400, (number, 2)), random.uniform(20, 150, (number, 2))
        xyxy.append(np.concatenate([corner, corner + side], 1).astype(np.float32))
        labels.append(random.integers(0, len(NAMES), number).astype(np.int32))
        hits = random.random(number) < 0.8
        alarms = int(random.integers(0, 12))
        other, wide = random.uniform(0, 400, (alarms, 2)), random.uniform(20, 150, (alarms, 2))
        shaken = xyxy[-1][hits] + random.normal(0, 4, (int(hits.sum()), 4))
        boxes = np.concatenate([shaken, np.concatenate([other, other + wide], 1)]).astype(np.float32)
        kinds = np.concatenate([labels[-1][hits], random.integers(0, len(NAMES), alarms)]).astype(np.int32)
        scores = np.concatenate([random.beta(4, 2, int(hits.sum())), random.beta(1, 5, alarms)])
        found.append(Detections(boxes, scores.astype(np.float32), kinds))
    truth = Boxes(
        source="made",
        root=Path(),
        class_names=NAMES,
        paths=tuple(f"{i}.png" for i in range(count)),
        xyxy=tuple(xyxy),
        labels=tuple(labels),
        difficult=tuple(np.zeros(len(some), bool) for some in labels),
        sizes=((550, 550),) * count,
        groups=(None,) * count,
        parts=(None,) * count,
    )
    return truth, found


def bare_pycocotools(truth: Any, found: Any) -> float:
    """AP by its own recipe: lists, loadRes, evaluate, accumulate, summarize."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes: Any, labels: Any, scores: Any = None) -> list[dict[str, Any]]:
        listed = []
        for i, (some, kinds) in enumerate(zip(boxes, labels, strict=True), 1):
            for j, (box, kind) in enumerate(zip(some.tolist(), kinds.tolist(), strict=True)):
                left, top, right, bottom = box
                row = {
                    "id": len(listed) + 1,
                    "image_id": i,
                    "category_id": kind + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
                listed.append(row if scores is None else {**row, "score": float(scores[i - 1][j])})
        return listed

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(1, len(truth) + 1)],
            "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES, 1)],
            "annotations": rows(truth.xyxy, truth.labels),
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(rows(found.boxes, found.labels, found.scores)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


# --- prediction ---


def prediction(boxes: Any, pairs: int, size: int, asked: int) -> list[Comparison]:
    """Milliseconds a bag, from its file to boxes; one row for each engine that can run the rival."""
    from tlkit.tasks.detection.serving.saved_model import ServedDetector, export_detector

    files = [boxes.file(i % len(boxes)) for i in range(asked)]
    engines, absent = rivals()
    with tempfile.TemporaryDirectory() as folder:
        export_detector(our_detector(size), Path(folder))
        served = ServedDetector.load(Path(folder))
        ours = lambda: 1000 * seconds(lambda: served.predict_files(files, 1)) / asked  # noqa: E731
        ways = {"ours": ours} | {
            name: lambda run=run: 1000 * seconds(lambda: [run(file) for file in files]) / asked
            for name, run in engines.items()
        }
        in_turn(ways, 1)
        took = in_turn(ways, pairs)
    note = f"{asked} bags, one at a time; {'; '.join(absent) or 'both engines are here'}."
    if not engines:
        return [
            Comparison(f"YOLOv8-xs {size} px, a bag (no rival)", "ms", took["ours"], took["ours"], note=note)
        ]
    return [
        Comparison(
            f"a bag, YOLOv8-xs {size} px SavedModel / YOLOX-nano {YOLOX_SIDE} px {name}",
            "ms",
            took[name],
            took["ours"],
            note=note,
        )
        for name in engines
    ]


def rivals() -> tuple[dict[str, Callable[[Path], np.ndarray]], list[str]]:
    """File -> raw output of YOLOX-nano by engine, and why an engine is left out."""
    if not YOLOX.is_file():
        return {}, ["left out: ../shared/weights/yolox_nano.onnx is not on this machine"]
    engines: dict[str, Callable[[Path], np.ndarray]] = {}
    absent = []
    if find_spec("onnxruntime"):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(YOLOX), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        engines["onnxruntime"] = lambda file: session.run(None, {name: letterboxed(file)})[0]
    else:
        absent.append("left out: onnxruntime is not installed")
    if find_spec("openvino"):
        import openvino

        compiled = openvino.Core().compile_model(str(YOLOX), "CPU")
        engines["OpenVINO"] = lambda file: compiled(letterboxed(file))[0]
    else:
        absent.append("left out: openvino is not installed")
    return engines, absent


def letterboxed(file: Path) -> np.ndarray:
    """As YOLOX wants it: float32 [1, 3, 416, 416], BGR 0..255, grey 114 around."""
    image = Image.open(file).convert("RGB")
    image.thumbnail((YOLOX_SIDE, YOLOX_SIDE), Image.Resampling.BILINEAR)
    square = np.full((YOLOX_SIDE, YOLOX_SIDE, 3), 114, np.float32)
    square[: image.height, : image.width] = np.asarray(image)[..., ::-1]
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None])


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=3)
