"""`import tlkit.keras_objects` is all that a foreign process needs to read a `.keras` file of ours with Keras itself."""

from __future__ import annotations

import ast
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.tasks.classification.test_heads import WIDTH, clouds, served
from tests.tasks.detection.detecting import NAMES
from tests.tasks.detection.sliding_window.test_detector import colour_classifier
from tlkit.backbones.layers import GroupedConvolution
from tlkit.engine.training.settings import Head
from tlkit.tasks.classification.classifier import build_classifier
from tlkit.tasks.classification.heads import HEADS, fit_head, settings_of
from tlkit.tasks.classification.small_cnn import build_small_cnn
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.sliding_window.detector import build_window_detector
from tlkit.tasks.detection.sliding_window.pooled import PooledLayout, build_pooled
from tlkit.tasks.detection.sliding_window.settings import Windows
from tlkit.tasks.synthesis.dcgan import build_dcgan
from tlkit.tasks.synthesis.stylegan import build_stylegan

ROOT = Path(__file__).resolve().parents[1]
# What a reader of the README writes, for every file of a folder; answers go beside the files.
PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np
import tlkit.keras_objects

for file in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(file)
    asked = np.load(file.with_suffix(".npz"))
    given = [dict(asked)] if "proposals" in asked.files else [asked[name] for name in asked.files]
    answers = keras.tree.flatten(model(*given))
    np.savez(file.with_suffix(".answers.npz"), *answers)
"""


def registered():
    """Class or function -> the module that registers it, by the text of the source."""
    found = {}
    for path in (ROOT / "tlkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            decorators = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
            if any("register_keras_serializable" in text for text in decorators):
                found[node.name] = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return found


def test_every_registered_class_stands_in_the_module():
    from tlkit import keras_objects

    found = registered()
    assert len(found) >= 28
    listed = {name: getattr(keras_objects, name).__module__ for name in keras_objects.__all__}
    assert listed == found
    earlier = {
        "DcganDiscriminator": "DcganCritic",
        "StyleDiscriminator": "StyleCritic",
    }  # as files of before name them
    assert {f"tlkit>{earlier.get(name, name)}" for name in found} <= set(keras.saving.get_custom_objects())


def test_nothing_is_registered_in_another_way():
    """Such a class would escape the test above."""
    for path in (ROOT / "tlkit").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        decorators = text.count("@keras.saving.register_keras_serializable(")
        assert text.count("register_keras_serializable") == decorators, path
        assert "get_custom_objects" not in text, path
        assert "custom_object_scope" not in text, path


def images(side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, side, side, 3)).astype(np.uint8)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def classifiers():
    """Every kind of classifier that has layers of ours: (name, model, what it is asked)."""
    for backbone in ("googlenet", "shufflenet"):
        model, _ = build_classifier(backbone, ("a", "b"), 64, weights="none", head=Head((4,), 0.1))
        yield backbone, model, [images(64)]
    yield "small-cnn", build_small_cnn(("a", "b")), [images(32)]
    entry = keras.Input((8, 8, 4))
    yield "alexnet", keras.Model(entry, GroupedConvolution(4, 3, groups=2)(entry)), [normal(2, 8, 8, 4)]
    for head in HEADS:
        features, labels = clouds(3)
        yield head, served(fit_head(head, settings_of(head)[0], features, labels), 3), [normal(2, WIDTH)]


def generators():
    """Both kinds, with classes and without."""
    for kind, build in (("dcgan", build_dcgan), ("stylegan", build_stylegan)):
        for classes in (0, 2):
            networks = build(32, latent=8, width=4, classes=classes)
            labels = [np.array([0, 1])] if classes else []
            yield f"{kind}-{classes}", networks.generator, [normal(2, 8), *labels]
            yield f"{kind}-critic-{classes}", networks.discriminator, [normal(2, 32, 32, 1), *labels]


def detectors():
    """A RetinaNet and earlier YOLOs on a network of keras.applications, a YOLOv8 on KerasCV's own, and both kinds of windows."""
    yield (
        "retinanet",
        build_detector("retinanet", NAMES, 64, "mobilenet-v2-0.35", "none", width=8, depth=1)[0],
        [images(64)],
    )
    for kind, width in (
        ("yolov3", {"widths": (8, 8, 8)}),
        ("yolov2", {"width": 8}),
        ("yolov1", {"dense": 8}),
        ("faster-rcnn", {"width": 8, "hidden": 8}),
        ("mask-rcnn", {"width": 8, "hidden": 8, "mask_width": 8}),
    ):
        yield kind, build_detector(kind, NAMES, 64, "mobilenet-v2-0.35", "none", **width)[0], [images(64)]
    made = build_detector("fast-rcnn", NAMES, 64, "mobilenet-v2-0.35", "none", width=8, hidden=8)[0]
    yield "fast-rcnn", made, [{"images": images(64), "proposals": np.abs(normal(2, 5, 4)).cumsum(-1) * 9}]
    yield "yolov8", build_detector("yolov8", NAMES, 64, "yolov8-xs", "none")[0], [images(64)]
    windows = Windows(96, (0.2, 0.5), 2, step=0.5)
    made, _ = build_window_detector(colour_classifier(), ("green", "red"), "other", windows)
    yield "windows", made, [images(96)]
    layout = PooledLayout(((96, 2, 2), (64, 1, 2)), channels=(4, 4), hidden=8)
    yield "pooled", build_pooled(NAMES, 64, "mobilenet-v2-0.35", "none", layout)[0], [images(64)]


def asked_elsewhere(folder: Path) -> None:
    """Load every file of a folder in a process that knows Keras and `tlkit.keras_objects` alone, and ask it."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "kinds",
    [(classifiers, generators), pytest.param((detectors,), marks=pytest.mark.slow)],
    ids=["classifiers and generators", "detectors"],
)
def test_every_kind_of_model_is_read_and_answers_in_a_clean_process(kinds, finished, tmp_path):
    expected = {}
    for name, model, arguments in itertools.chain(*(kind() for kind in kinds)):
        expected[name] = [np.asarray(one) for one in keras.tree.flatten(model(*arguments))]
        model.save(tmp_path / f"{name}.keras")
        named = arguments[0] if isinstance(arguments[0], dict) else {}
        np.savez(tmp_path / f"{name}.npz", *([] if named else arguments), **named)
    for name in ("model", "last"):  # of a run: with an optimiser, a loss and a metric of ours
        stored = finished.run / f"{name}.keras"
        expected[name] = [keras.saving.load_model(stored)(images(64)).numpy()]
        shutil.copy(stored, tmp_path)
        np.savez(tmp_path / f"{name}.npz", images(64))
    asked_elsewhere(tmp_path)
    for name, answers in expected.items():
        with np.load(tmp_path / f"{name}.answers.npz") as found:
            assert len(found.files) == len(answers)
            for one, other in zip(answers, found.values(), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)
