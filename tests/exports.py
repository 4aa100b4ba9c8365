"""SavedModels of every kind that a recipe writes, with random weights: what the allowed operations are measured by.

    python -m tests.exports

writes all of them into a temporary folder, one after the other, and prints the operations in them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import keras
import numpy as np

from tests.tasks.detection.sliding_window.test_detector import colour_classifier
from tlkit.backbones.feature_model import build_features
from tlkit.backbones.table import BACKBONES
from tlkit.core.safe_loading.programs import operations_of
from tlkit.core.safe_loading.saved_models import check_saved_model, read_graph
from tlkit.engine.training.settings import Head
from tlkit.tasks.classification.classifier import build_classifier
from tlkit.tasks.classification.head_layers import add_fitted_head
from tlkit.tasks.classification.heads import HEADS, fit_head, settings_of
from tlkit.tasks.classification.serving.saved_model import export_saved_model
from tlkit.tasks.classification.small_cnn import build_small_cnn
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.rcnn.rcnn import build_rcnn
from tlkit.tasks.detection.serving.saved_model import export_detector
from tlkit.tasks.detection.sliding_window.detector import build_window_detector
from tlkit.tasks.detection.sliding_window.pooled import PooledLayout, build_pooled
from tlkit.tasks.detection.sliding_window.settings import Windows
from tlkit.tasks.synthesis.dcgan import build_dcgan
from tlkit.tasks.synthesis.serving.saved_model import export_generator
from tlkit.tasks.synthesis.stylegan import build_stylegan

NAMES = ("bar", "disc", "frame")
# The smallest of each family: the others have the same layers more often.
FAMILIES = {backbone.family: backbone.name for backbone in reversed(BACKBONES.values())}
SMALL = {
    "efficientnet-lite": "efficientnet-lite0",
    **FAMILIES,
    **{
        f"{family}, the first": next(b.name for b in BACKBONES.values() if b.family == family)
        for family in FAMILIES
    },
}


def classifier(backbone: str, folder: Path) -> None:
    """A network with a head of two layers."""
    row = BACKBONES[backbone]
    model, _ = build_classifier(backbone, NAMES, row.least_size, weights="none", head=Head(units=(8,)))
    export_saved_model(model, folder)


def fitted(head: str, folder: Path) -> None:
    """A classical head, fitted to noise."""
    images, features, _ = build_features("mobilenet-0.25", 32, "none")
    noise = np.random.default_rng(0).normal(size=(30, features.shape[-1]))
    pipeline = fit_head(head, settings_of(head)[0], noise, np.arange(30) % 3)
    export_saved_model(keras.Model(images, add_fitted_head(features, pipeline, NAMES)), folder)


def small(folder: Path) -> None:
    """The network of small-cnn."""
    export_saved_model(build_small_cnn(NAMES), folder)


def windows(way: str, folder: Path) -> None:
    """A classifier that is moved over images."""
    settings = Windows(64, (0.5, 0.5), 2, way=way)
    export_detector(build_window_detector(colour_classifier(), ("red",), "other", settings)[0], folder)


def pooled(folder: Path) -> None:
    """Windows with a head of their own."""
    layout = PooledLayout(((96, 2, 2), (64, 1, 2)), channels=(4, 4), hidden=8, most=5)
    export_detector(build_pooled(NAMES, 64, "mobilenet-v2-0.35", "none", layout)[0], folder)


def retinanet(precision: str, backbone: str, folder: Path) -> None:
    """The detector of detect-retinanet."""
    with precise(precision):
        export_detector(build_detector("retinanet", NAMES, 64, backbone, "none", width=16, depth=1, anchors=Anchors(14.0))[0], folder)  # fmt: skip


def yolov8(precision: str, backbone: str, folder: Path) -> None:
    """The detector of detect-yolov8."""
    with precise(precision):
        export_detector(build_detector("yolov8", NAMES, 64, backbone, "none")[0], folder)


def anchored(kind: str, folder: Path) -> None:
    """The detector of detect-yolov2, detect-yolov3, detect-fast-rcnn, detect-faster-rcnn or detect-mask-rcnn."""
    export_detector(build_detector(kind, NAMES, 64, "mobilenet-v2-0.35", "none")[0], folder)


def rcnn(folder: Path) -> None:
    """The detector of detect-rcnn."""
    export_detector(build_rcnn(NAMES, 64, "mobilenet-v2-0.35", "none", 32)[0], folder)


def generator(build: Callable, channels: int, classes: int, precision: str, folder: Path) -> None:
    """A generator of synthesize-dcgan or synthesize-stylegan."""
    made = build(32, channels, latent=8, classes=classes, width=4, precision=precision).generator
    export_generator(made, folder, class_names=NAMES[:classes], bits=16 if channels == 1 else 8)


class precise:  # noqa: N801 - reads as the word that it is
    """A global precision of Keras, for a while."""

    def __init__(self, policy: str) -> None:
        self.policy = policy

    def __enter__(self) -> None:
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_: object) -> None:
        keras.config.set_dtype_policy(self.before)


# Those that are quick to make, one of each recipe.
FEW: dict[str, Callable[[Path], None]] = {
    "small-cnn": small,
    "slide-window": partial(windows, "crops"),
    "synthesize-dcgan": partial(generator, build_dcgan, 1, 3, "float32"),
    "synthesize-stylegan": partial(generator, build_stylegan, 3, 0, "float32"),
}
EVERY: dict[str, Callable[[Path], None]] = {
    **FEW,
    "slide-window, convolutional": partial(windows, "convolutional"),
    "slide-window, pooled": pooled,
    **{
        f"{build.__name__}, {channels} channels, {classes} classes, {precision}": partial(generator, build, channels, classes, precision)
        for build in (build_dcgan, build_stylegan)
        for channels, classes, precision in ((3, 3, "float32"), (1, 0, "mixed_bfloat16"))
    },
    **{f"fit-head, {head}": partial(fitted, head) for head in HEADS},
    **{f"fine-tune, {backbone}": partial(classifier, backbone) for backbone in sorted(set(SMALL.values()))},
    **{
        f"detect-yolov8, {precision}": partial(yolov8, precision, "yolov8-xs")
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    },
    "detect-retinanet, darknet-small": partial(retinanet, "float32", "darknet-small"),
    **{
        f"detect-{kind}": partial(anchored, kind)
        for kind in ("yolov2", "yolov3", "fast-rcnn", "faster-rcnn", "mask-rcnn")
    },
    "detect-rcnn": rcnn,
    "detect-yolov8, resnet50": partial(yolov8, "float32", "resnet50"),
    **{
        f"detect-retinanet, {precision}": partial(retinanet, precision, "efficientnet-lite0")
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    },
}  # fmt: skip


def found(exports: dict[str, Callable[[Path], None]]) -> Iterator[tuple[str, frozenset[str]]]:
    """What is exported, and the operations in it; each is let pass as a whole."""
    for name, export in exports.items():
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as place:
            export(Path(place))
            check_saved_model(Path(place))
            yield name, operations_of(read_graph(Path(place)))


def main() -> None:
    """Print the operations, the new ones of each model beside it."""
    every: set[str] = set()
    for name, operations in found(EVERY):
        print(f"{name}: {len(operations)}, new: {' '.join(sorted(operations - every))}", flush=True)
        every |= operations
    print(f"{len(every)}: {' '.join(sorted(every))}")


if __name__ == "__main__":
    main()
