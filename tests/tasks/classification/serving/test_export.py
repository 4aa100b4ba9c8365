"""Exports of classifiers: every fitted head, certain answers, and images resized as the SavedModel resizes them."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import draw
from tlkit.data.images.decoding.decode import decode_and_resize, read_contents, resize
from tlkit.engine.serving.convert import TOLERANCE, litert_interpreter
from tlkit.engine.serving.saved_model import write_variants
from tlkit.errors import ExportFault
from tlkit.tasks.classification.head_layers import add_fitted_head
from tlkit.tasks.classification.heads import HEADS, decision_values, fit_head, settings_of
from tlkit.tasks.classification.serving import export as conversion
from tlkit.tasks.classification.serving.export import (
    RESIZED_TOLERANCE,
    RULE,
    images_of_many_sizes,
    input_facts,
    to_litert,
    to_onnx,
)
from tlkit.tasks.classification.serving.layers import ResizeInside, in_single_precision
from tlkit.tasks.classification.serving.saved_model import export_saved_model

SIZE = 16
NAMES = ("bar", "disc", "étoile")
PAGE = (Path(__file__).resolve().parents[4] / "saved_models" / "README.md").read_text(encoding="utf-8")
WRITERS = {"onnx": to_onnx, "litert": to_litert}
SUFFIX = {"onnx": ".onnx", "litert": ".tflite"}


def fitted(head: str, classes: int, *, apart: float = 60.0) -> keras.Model:
    """A random convolution with a head that was fitted on noise, `apart` levels lighter in a channel by class."""
    keras.utils.set_random_seed(0)
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    generator, labels = np.random.default_rng(1), np.arange(60) % classes
    drawn = generator.integers(0, 256 - int(apart), (60, SIZE, SIZE, 3)).astype(np.uint8)
    for image, label in zip(drawn, labels, strict=True):
        image[..., label] += np.uint8(apart)
    known = keras.Model(images, features)(drawn).numpy()
    pipeline = fit_head(head, settings_of(head)[0], known, labels)
    return keras.Model(images, add_fitted_head(features, pipeline, NAMES[:classes]), name="classifier")


def draw_images(count: int, seed: int = 5) -> np.ndarray:
    generator = np.random.default_rng(seed)
    tones = generator.integers(0, 200, (count, 1, 1, 3))
    return (tones + generator.integers(0, 56, (count, SIZE, SIZE, 3))).astype(np.uint8)


def ask_onnx(file, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    return np.concatenate([session.run(["probability"], {"images": image[None]})[0] for image in images])


def ask_litert(file, images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces LiteRT's next home
        interpreter = litert_interpreter(file)
    put, get = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for image in images:
        interpreter.resize_tensor_input(put, (1, *image.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(put, image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(get)[0].copy())
    return np.stack(answers)


ASKERS = {"onnx": ask_onnx, "litert": ask_litert}


def served(model, folder):
    """What the SavedModel on disk says of images of any size."""
    export_saved_model(model, folder)
    loaded = tf.saved_model.load(str(folder))  # its signatures live only as long as it does

    def ask(images):
        answers = [loaded.signatures["pixels"](tf.constant(image[None]))["probability"] for image in images]
        return np.concatenate(answers)

    return ask


def check_head(head, classes, folder, resizes):
    model = fitted(head, classes)
    ask = served(model, folder)
    model.save(folder / "model.keras")
    images = images_of_many_sizes(SIZE) if resizes else draw_images(12)
    expected = ask(images)
    for target, write in WRITERS.items():
        file = folder / f"{target}{SUFFIX[target]}"
        found = write(folder, file, resizes=resizes)
        assert found["spread"] > 0.005
        answers = ASKERS[target](file, images)
        assert answers.dtype == np.float32
        assert np.abs(answers - expected).max() <= (RESIZED_TOLERANCE if resizes else TOLERANCE), target


@pytest.mark.onednn
@pytest.mark.parametrize(("head", "classes"), [("knn3", 3), ("svm-rbf", 2)])
def test_a_head_in_float64_answers_in_both_formats_as_the_saved_model(head, classes, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    check_head(head, classes, tmp_path, resizes=False)


@pytest.mark.slow
@pytest.mark.onednn
@pytest.mark.parametrize(
    ("head", "classes", "resizes"), list(itertools.product(HEADS, (2, 3), (False, True)))
)
def test_every_head_answers_in_both_formats_as_the_saved_model(head, classes, resizes, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    check_head(head, classes, tmp_path, resizes)


@pytest.mark.parametrize(("head", "classes"), list(itertools.product(HEADS, (2, 3))))
def test_a_head_in_single_precision_gives_scikit_learn_s_labels(head, classes):
    model = fitted(head, classes)
    images = draw_images(40)
    single = in_single_precision(model)
    expected, answers = model(images).numpy(), single(images).numpy()
    assert np.abs(answers - expected).max() < 1e-5
    assert (answers.argmax(1) == expected.argmax(1)).all()
    assert {layer.dtype_policy.name for layer in single.layers} <= {"float32"}
    assert (single is model) == (head not in {"knn1", "knn3", "knn", "svm-rbf"})


def test_features_far_from_zero_keep_their_neighbours_in_single_precision():
    """The expansion of the square would lose all digits here: distances near 1e-6 of the squares."""
    generator = np.random.default_rng(0)
    rows = (5000 + generator.normal(0, 1, (50, 12))).astype(np.float32)
    labels = np.arange(50) % 2
    pipeline = fit_head("knn3", {}, rows, labels)
    inputs = keras.Input((12,), dtype="float32", name="features")
    model = keras.Model(inputs, add_fitted_head(inputs, pipeline, ["a", "b"]))
    asked = (5000 + generator.normal(0, 1, (200, 12))).astype(np.float32)
    answers = in_single_precision(model)(asked).numpy()
    assert (answers.argmax(1) == decision_values(pipeline, asked).argmax(1)).all()


@pytest.mark.parametrize("target", WRITERS)
def test_a_head_that_is_certain_of_one_class_is_checked_by_its_parts(target, tmp_path):
    """All drawn images get 1 and 0, so that equal answers alone would prove little."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    model = fitted("lda", 2)
    weights, offsets = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([weights * 50, offsets + np.array([2000.0, -2000.0])])
    model.save(tmp_path / "model.keras")
    images = draw_images(12)
    assert np.abs(model(images).numpy() - [1, 0]).max() < 1e-6
    found = WRITERS[target](tmp_path, tmp_path / f"x{SUFFIX[target]}")
    assert 0 <= found["apart"]["features"] <= TOLERANCE
    assert 0 <= found["apart"]["head"] <= TOLERANCE
    assert found["spread"] > 0.1
    assert np.abs(ASKERS[target](tmp_path / f"x{SUFFIX[target]}", images) - model(images)).max() <= TOLERANCE


@pytest.mark.parametrize("part", ["features", "head"])
def test_a_part_that_differs_is_not_kept(part, tmp_path, monkeypatch):
    model = fitted("lda", 2)
    weights, offsets = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([weights * 50, offsets + np.array([2000.0, -2000.0])])
    model.save(tmp_path / "model.keras")
    answer = conversion._litert_answer

    def lie(target, given):
        return answer(target, given) + (0.001 if target.stem == part else 0)

    monkeypatch.setattr(conversion, "_litert_answer", lie)
    with pytest.raises(ExportFault, match="LiteRT model differs from the Keras model by"):
        to_litert(tmp_path, tmp_path / "x.tflite")
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


# --- resizing ---


def test_each_new_pixel_is_an_average_or_lies_between_two_by_hand():
    row = np.array([0, 100], np.uint8)
    wide = ResizeInside(4)(np.tile(row[None, None, :, None], (1, 4, 1, 3))).numpy()
    assert wide[0, 0, :, 0].tolist() == [0, 25, 75, 100]
    tall = np.array(
        [10, 20, 60, 0, 7], np.uint8
    )  # 5 -> 2: (10 + 20 + 60 / 2) / 2.5 and (60 / 2 + 0 + 7) / 2.5
    small = ResizeInside(2)(np.tile(tall[None, :, None, None], (1, 1, 2, 3))).numpy()
    assert small[0, :, 1, 2].tolist() == [24, 15]
    assert ResizeInside(3)(np.full((1, 1, 1, 3), 77, np.uint8)).numpy().tolist() == [[[[77] * 3] * 3] * 3]
    half = ResizeInside(1)(np.array([[[[3] * 3, [4] * 3]]], np.uint8)).numpy()  # 3.5
    assert half.tolist() == [[[[4, 4, 4]]]]


def test_it_is_the_served_resize_within_one_level():
    generator = np.random.default_rng(0)
    apart = []
    for _ in range(25):
        image = generator.integers(0, 256, (*generator.integers(1, 300, 2), 3), np.uint8)
        size = int(generator.integers(1, 130))
        theirs = resize(tf.constant(image), size).numpy().astype(int)
        apart.append(np.abs(ResizeInside(size)(image[None])[0].numpy() - theirs))
    assert max(one.max() for one in apart) <= 1
    assert np.mean([(one > 0).mean() for one in apart]) < 0.002


def lines_of_the_page():
    (code,) = [
        text for text in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if "served_pixels" in text
    ]
    names: dict = {}
    exec(compile(code.split("\n\n\n#")[0], "saved_models/README.md", "exec"), names)  # noqa: S102 - that is the point
    return names["served_pixels"]


def test_the_page_s_lines_make_the_served_pixels(tmp_path):
    """From files: grey, transparent, stretched, turned, and JPEGs on both sides of each reduced decoding."""
    served_pixels = lines_of_the_page()
    draw(0, 0, 90).save(tmp_path / "picture.png")
    files = write_variants(tmp_path / "picture.png", tmp_path)
    del files["16-bit PNG"]  # said to be left out
    large = np.random.default_rng(2).integers(0, 256, (40, 52, 3), np.uint8)
    for width, height in ((47, 48), (144, 143), (144, 145), (288, 290), (575, 576), (640, 577), (24, 300)):
        files[f"{width}"] = tmp_path / f"{width}x{height}.jpg"
        Image.fromarray(large).resize((width, height), Image.Resampling.BICUBIC).save(
            files[f"{width}"], quality=93
        )
    for name, file in files.items():
        for size in (24, 48, 63):
            theirs = decode_and_resize(tf.constant(read_contents(file)), size).numpy().astype(int)
            ours = served_pixels(file, size)
            assert ours.dtype == np.uint8
            apart = np.abs(ours[0] - theirs)
            assert apart.max() <= 1, (name, size)
            assert (apart > 0).mean() < 0.01, (name, size)


@pytest.mark.onednn
@pytest.mark.parametrize("target", WRITERS)
def test_a_file_that_resizes_inside_answers_as_the_saved_model_at_any_size(target, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    model = fitted("logistic", 3)
    ask = served(model, tmp_path)
    model.save(tmp_path / "model.keras")
    file = tmp_path / f"any{SUFFIX[target]}"
    assert WRITERS[target](tmp_path, file, resizes=True)["largest_difference"] <= RESIZED_TOLERANCE
    images = [np.asarray(draw(i % 3, i, 40))[: 3 + 5 * i, : 40 - 4 * i] for i in range(7)]
    assert np.abs(ASKERS[target](file, images) - ask(images)).max() <= RESIZED_TOLERANCE
    if target == "onnx":
        batch = np.stack([np.asarray(draw(i % 3, i, 40)) for i in range(3)])
        import onnxruntime

        (answer,) = onnxruntime.InferenceSession(str(file)).run(["probability"], {"images": batch})
        assert np.abs(answer - ask(batch)).max() <= RESIZED_TOLERANCE


@pytest.mark.parametrize("resizes", [False, True])
def test_what_a_caller_must_know_travels_with_the_file(resizes, tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    fitted("logistic", 3).save(tmp_path / "model.keras")
    to_onnx(tmp_path, tmp_path / "x.onnx", resizes=resizes)
    found = to_litert(tmp_path, tmp_path / "x.tflite", resizes=resizes)
    facts = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert found["facts"] == str(tmp_path / "x.json")
    assert facts == input_facts(NAMES, SIZE, resizes=resizes)
    assert facts["classes"] == list(NAMES)
    assert facts["input"] == ("uint8 [n, h, w, 3]" if resizes else "uint8 [n, 16, 16, 3]")
    assert (facts["colours"], facts["resize"] == RULE) == ("RGB", not resizes)
    inside = {one.key: one.value for one in onnx.load(str(tmp_path / "x.onnx")).metadata_props}
    assert json.loads(inside.pop("classes")) == facts.pop("classes")
    assert json.loads(inside.pop("image_size")) == facts.pop("image_size") == SIZE
    assert inside == facts


@pytest.mark.slow
def test_a_process_that_knows_classifiers_reads_fitted_heads(tmp_path):
    """Whoever imports `classifier`, or asks for a file's weights, has the layers that such a file names."""
    fitted("knn3", 2).save(tmp_path / "model.keras")
    code = (
        "import sys\nfrom pathlib import Path\nfrom tlkit.tasks.classification import classifier; from tlkit.backbones import weights\n"
        "assert 'tlkit.tasks.classification.head_layers' not in sys.modules\n"
        "print(len(weights._read_model(Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2
