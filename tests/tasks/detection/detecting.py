"""A detector small enough to be built and traced in seconds, and images with coloured rectangles for it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from tlkit.backbones import pyramids
from tlkit.backbones.table import WeightsOrigin
from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.table import DETECTORS

SIZE = 64
NAMES = ("red", "green", "blue")
COLOURS = ((220, 40, 40), (40, 220, 40), (40, 40, 220))


def tiny_pyramid(backbone, size, weights="none", *, limits=None, finer=False):
    """What `build_pyramid` gives, from six convolutions."""
    x = inputs = keras.Input((size, size, 3))
    maps = []
    for number, width in enumerate((8, 16, 32, 32, 32), 1):
        x = keras.layers.Conv2D(width, 3, 2, "same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"norm_{number}")(x))
        maps.append(x)
    names = ("P2", "P3", "P4", "P5") if finer else ("P3", "P4", "P5")
    body = keras.Model(inputs, maps[-len(names) :], name="backbone")
    images = keras.Input((size, size, 3), name="images")
    levels = [
        keras.layers.Identity(name=name)(y)
        for name, y in zip(
            names,
            body(keras.layers.Rescaling(1 / 127.5, -1, name="preprocess")(images)),
            strict=True,
        )
    ]
    pyramid = keras.Model(images, levels, name="pyramid")
    pyramid.pyramid_level_inputs = {name: name for name in names}
    return pyramid, WeightsOrigin("none", "random", None)


def use_tiny_pyramid(patch) -> None:
    """Six convolutions wherever a detector of any kind builds its backbone, by a MonkeyPatch."""
    for row in DETECTORS.values():
        module = import_module(f"tlkit.tasks.detection.{row.module}")
        if hasattr(module, "build_pyramid"):  # a subclass builds that of its parent
            patch.setattr(module, "build_pyramid", tiny_pyramid)
    tiny = pyramids.DetectorBackbone(tiny_pyramid, "minus-one-to-one", "conv_5")
    patch.setitem(
        pyramids.DETECTOR_BACKBONES, "tiny", tiny
    )  # of which the last convolution is the last stage


def draw(number: int, width: int = SIZE, height: int = SIZE):
    """Noise with 0 to 3 coloured rectangles that do not touch: pixels, boxes [m, 4], labels [m]; each fourth is empty."""
    random = np.random.default_rng([7, number])
    pixels = random.integers(60, 120, (height, width, 3)).astype(np.uint8)
    boxes, labels = [], []
    for _ in range(0 if number % 4 == 3 else random.integers(1, 4)):
        sides = random.integers(SIZE // 5, SIZE // 2, 2)
        left, top = (
            int(random.integers(0, most - side)) for most, side in zip((width, height), sides, strict=True)
        )
        right, bottom = left + int(sides[0]), top + int(sides[1])
        apart = all(right + 2 < a or c + 2 < left or bottom + 2 < b or d + 2 < top for a, b, c, d in boxes)
        if apart:
            label = int(random.integers(0, 3))
            noise = random.integers(-15, 15, (bottom - top, right - left, 3))
            pixels[top:bottom, left:right] = np.clip(np.array(COLOURS[label]) + noise, 0, 255)
            boxes.append((left, top, right, bottom))
            labels.append(label)
    return pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int32)


def drawn_boxes(folder: Path, count: int, width: int = SIZE, height: int = SIZE, parts=None) -> Boxes:
    folder.mkdir(exist_ok=True)
    every = [draw(number, width, height) for number in range(count)]
    paths = tuple(f"{number:03}.png" for number in range(count))
    for path, (pixels, _, _) in zip(paths, every, strict=True):
        Image.fromarray(pixels).save(folder / path)
    return Boxes(
        source=str(folder),
        root=folder,
        class_names=NAMES,
        paths=paths,
        xyxy=tuple(boxes for _, boxes, _ in every),
        labels=tuple(labels for _, _, labels in every),
        difficult=tuple(np.zeros(len(labels), bool) for _, _, labels in every),
        sizes=((width, height),) * count,
        groups=(None,) * count,
        parts=tuple(parts) if parts else (None,) * count,
    )


def average_precision_50(found, boxes: Boxes) -> float:
    """AP at IoU 0.5 by pycocotools over all images."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(number, image, box, label, **more):
        left, top, right, bottom = map(float, box)
        sides = right - left, bottom - top
        return {
            "id": number,
            "image_id": image,
            "category_id": int(label) + 1,
            "bbox": [left, top, *sides],
            "area": sides[0] * sides[1],
            "iscrowd": 0,
            **more,
        }

    truth = [
        (i, b, k) for i in range(len(boxes)) for b, k in zip(boxes.xyxy[i], boxes.labels[i], strict=True)
    ]
    images = [{"id": i, "width": w, "height": h} for i, (w, h) in enumerate(boxes.sizes)]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(boxes.class_names)]
    with contextlib.redirect_stdout(io.StringIO()):
        gold = COCO()
        gold.dataset = {
            "images": images,
            "categories": categories,
            "annotations": [annotation(n + 1, *one) for n, one in enumerate(truth)],
        }
        gold.createIndex()
        results = [
            annotation(n, i, box, label, score=float(score))
            for i, one in enumerate(found)
            for n, (box, score, label) in enumerate(zip(one.boxes, one.scores, one.labels, strict=True))
        ]
        if not results:
            return 0.0
        evaluation = COCOeval(gold, gold.loadRes(results), "bbox")
        evaluation.params.imgIds = list(range(len(boxes)))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])
