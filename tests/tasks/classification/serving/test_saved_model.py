"""From bytes to names: the SavedModel alone in a clean process, equal to the Keras model from the file on."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import draw
from tlkit.data.images.decoding.decode import decode_and_resize
from tlkit.engine.serving.convert import test_images as sample_images
from tlkit.engine.serving.saved_model import write_variants
from tlkit.errors import DataFault, ExportFault, ModelFault
from tlkit.tasks.classification.classifier import Probabilities
from tlkit.tasks.classification.serving.export import to_litert, to_onnx
from tlkit.tasks.classification.serving.saved_model import Served, check_parity, export_saved_model

CLASSES = ("bar", "disc", "étoile")  # not ASCII, so that encodings matter
SIZE = 24

TURNED = ["EXIF-turned JPEG", "EXIF-turned PNG", "EXIF-turned WebP"]


def small_classifier(scale: float = 1.0) -> keras.Model:
    """A network whose answers differ from image to image: a random head on normalised features."""
    keras.utils.set_random_seed(0)
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    x = keras.layers.Conv2D(8, 5, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    x = keras.layers.BatchNormalization(momentum=0.3)(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(0, scale))(x)
    model = keras.Model(images, Probabilities(CLASSES)(x))
    drawn = np.stack([np.asarray(draw(i % 3, i, SIZE)) for i in range(12)])
    for _ in range(5):  # statistics of the normalisation come to rest
        model(drawn, training=True)
    return model


@pytest.fixture(scope="module")
def model():
    return small_classifier()


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    """The folder of a finished run, as far as serving is concerned."""
    folder = tmp_path_factory.mktemp("runs") / "1"
    export_saved_model(model, folder)
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for label in range(3):
        for number in range(3):
            draw(label, number).save(folder / f"{label}{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def loaded(run):
    return tf.saved_model.load(str(run))


def contents_of(files) -> tf.Tensor:
    return tf.constant([Path(file).read_bytes() for file in files])


# --- the SavedModel ---

ALONE = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
answer = model.signatures["serving_default"](tf.constant([open(sys.argv[2], "rb").read()]))
assert not any(name.split(".")[0] == "tlkit" for name in sys.modules)
print(json.dumps({
    "probability": answer["probability"].numpy().tolist(),
    "label": [name.decode() for name in answer["label"].numpy()],
    "classes": [name.decode() for name in answer["classes"].numpy()],
}))
"""


@pytest.mark.slow  # by default tests/test_every_recipe.py asks a finished run in such a process
def test_it_answers_in_a_process_with_tensorflow_and_nothing_of_ours(model, run, files):
    command = [sys.executable, "-I", "-c", ALONE, str(run), str(files[0])]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    pixels = decode_and_resize(tf.constant(files[0].read_bytes()), SIZE)[None]
    expected = model(pixels, training=False).numpy()
    assert answer["classes"] == list(CLASSES)
    assert answer["label"] == [CLASSES[expected[0].argmax()]]
    assert np.abs(answer["probability"] - expected).max() <= 1e-5


@pytest.mark.onednn
def test_signatures_and_their_shapes(loaded):
    shapes = {
        name: {
            key: (value.dtype.name, value.shape.as_list()) for key, value in one.structured_outputs.items()
        }
        for name, one in loaded.signatures.items()
    }
    probability, label = ("float32", [None, 3]), ("string", [None])
    whole = {"probability": probability, "label": label, "classes": ("string", [3])}
    assert shapes == {
        "serving_default": whole,
        "pixels": whole,
        "instances": {"probability": probability, "label": label},
        "features": {"features": ("float32", [None, 8])},
        "classes": {"classes": ("string", [3])},
    }
    assert [name.decode() for name in loaded.signatures["classes"]()["classes"].numpy()] == list(CLASSES)
    inputs = {name: one.structured_input_signature[1] for name, one in loaded.signatures.items()}
    assert inputs["serving_default"]["image_bytes"].shape.as_list() == [None]
    assert inputs["pixels"]["images"].shape.as_list() == [None, None, None, 3]
    assert inputs["pixels"]["images"].dtype == tf.uint8


@pytest.mark.onednn
def test_all_signatures_agree(model, loaded, files):
    names = loaded.signatures
    answer = names["serving_default"](contents_of(files))
    probability = answer["probability"].numpy()
    assert probability.std(axis=0).max() > 0.05
    assert probability.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-5)
    assert [name.decode() for name in answer["label"].numpy()] == [CLASSES[i] for i in probability.argmax(1)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.abs(names["pixels"](tf.constant(pixels))["probability"] - probability).max() <= 1e-5
    assert (names["instances"](contents_of(files))["probability"].numpy() == probability).all()
    features = keras.Model(model.input, model.get_layer("features").output)
    small = np.stack([decode_and_resize(one, SIZE) for one in contents_of(files)])
    found = names["features"](contents_of(files))["features"]
    assert np.abs(found - features(small, training=False)).max() <= 1e-5


def test_an_answer_does_not_depend_on_its_batch(loaded, files):
    answer = loaded.signatures["serving_default"]
    together = answer(contents_of(files))["probability"].numpy()
    alone = np.concatenate([answer(contents_of([file]))["probability"] for file in files])
    assert np.abs(together - alone).max() <= 1e-6
    assert answer(tf.constant([], tf.string))["probability"].shape == (0, 3)


def test_bytes_that_are_no_image_fail_the_call(loaded, files):
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["serving_default"](tf.constant([files[0].read_bytes(), b"no image"]))


def test_weights_are_stored_once(model, run):
    stored = tf.train.list_variables(str(run / "variables" / "variables"))
    values = sum(int(np.prod(shape)) for name, shape in stored if name.startswith("weights/"))
    assert values == model.count_params()
    others = [name for name, _ in stored if not name.startswith("weights/")]
    assert others == ["_CHECKPOINTABLE_OBJECT_GRAPH"]


# --- parity ---


@pytest.mark.onednn
def test_parity_over_all_forms_of_a_image(model, run, files):
    found = check_parity(model, run, files)
    assert found["largest_difference"] <= found["tolerance"] == 1e-5
    assert found["spread"] > 0.05
    assert found["checked"][:9] == [file.as_posix() for file in files]
    forms = ["JPEG", "grey PNG", "16-bit PNG", "RGBA PNG", "non-square PNG", *TURNED]
    assert found["checked"][9:] == forms
    json.dumps(found, allow_nan=False)


def test_parity_sees_a_model_that_is_another(run, files):
    found = check_parity(small_classifier(scale=0.9), run, files)
    assert found["largest_difference"] > 0.01


def test_variants_are_what_they_are_called(files, tmp_path):
    forms = write_variants(files[4], tmp_path)
    opened = {name: Image.open(io.BytesIO(file.read_bytes())) for name, file in forms.items()}
    assert [opened[name].mode for name in ("grey PNG", "16-bit PNG", "RGBA PNG")] == ["L", "I;16", "RGBA"]
    assert all(opened[name].getexif()[0x0112] == 6 for name in TURNED)
    assert opened["non-square PNG"].width != opened["non-square PNG"].height


# --- files ---


@pytest.mark.onednn
def test_files_get_names_in_their_order(model, run, files, tmp_path):
    Image.open(files[3]).convert("L").save(tmp_path / "rare.pgm")
    paths = [*reversed(files), tmp_path / "rare.pgm"]
    served = Served.load(run)
    found = served.predict_files(paths, batch=4)
    assert served.classes == CLASSES
    assert [one.path for one in found] == [path.as_posix() for path in paths]
    pixels = np.stack([decode_and_resize(one, SIZE) for one in contents_of(paths[:9])])
    expected = model(pixels, training=False).numpy()
    assert np.abs(np.stack([one.probabilities for one in found[:9]]) - expected).max() <= 1e-5
    assert all(one.label == CLASSES[int(one.probabilities.argmax())] for one in found)
    assert all(one.confidence == one.probabilities.max() for one in found)
    assert served.predict_files([]) == []


@pytest.mark.onednn
def test_a_turned_file_is_answered_as_its_upright_copy(run, files, tmp_path):
    """From the files on disk to the served answer: stored lying, shown upright by EXIF, lossless."""
    upright = Image.open(files[3]).convert("RGB").resize((SIZE + 6, SIZE + 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned right by 90 degrees
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    upright.save(tmp_path / "upright.png")
    stored.save(tmp_path / "turned.png", exif=exif)
    stored.save(tmp_path / "turned.webp", exif=exif, lossless=True)
    names = ("upright.png", "turned.png", "turned.webp")
    one, *others = Served.load(run).predict_files([tmp_path / name for name in names])
    for other in others:
        assert np.abs(one.probabilities - other.probabilities).max() <= 1e-6


def test_a_bad_file_is_named_or_skipped(run, files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(files[1].read_bytes()[:60])
    rare, missing = tmp_path / "rare.tif", tmp_path / "missing.png"
    rare.write_bytes(b"II*\0")
    served = Served.load(run)
    for file in (bad, rare, missing):
        with pytest.raises(DataFault, match=file.name):
            served.predict_files([files[0], file, files[2]])
    skipped: list[tuple[str, str]] = []
    found = served.predict_files([files[0], bad, files[2], missing, rare], batch=2, skipped=skipped)
    assert [one.path for one in found] == [files[0].as_posix(), files[2].as_posix()]
    assert [Path(path).name for path, _ in skipped] == ["bad.png", "missing.png", "rare.tif"]
    assert skipped[0][1] == "is truncated"


def test_a_folder_without_a_saved_model_is_a_fault(tmp_path):
    with pytest.raises(ModelFault, match="no SavedModel"):
        Served.load(tmp_path)


# --- other runtimes ---


def test_onnx_answers_like_keras_at_any_batch_size(model, run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    file = tmp_path / "model.onnx"
    found = to_onnx(run, file)
    assert found["largest_difference"] <= 1e-4
    assert found["spread"] > 0.05
    session = onnxruntime.InferenceSession(str(file))
    images = sample_images(SIZE)[:3]
    (answer,) = session.run(["probability"], {"images": images})
    assert np.abs(answer - model(images, training=False)).max() <= 1e-4
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(CLASSES)
    assert about["image_size"] == str(SIZE)
    with pytest.raises(ExportFault, match="is there already"):
        to_onnx(run, file)


def test_litert_answers_like_keras_and_has_names_beside_it(model, run, tmp_path):
    found = to_litert(run, tmp_path / "model.tflite")
    assert found["largest_difference"] <= 1e-4
    assert found["spread"] > 0.05
    assert Path(found["labels"]).read_text(encoding="utf-8").split() == list(CLASSES)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "model.json",
        "model.labels.txt",
        "model.tflite",
    ]
    with pytest.raises(ExportFault, match="is there already"):
        to_litert(run, tmp_path / "model.tflite")


def test_a_file_that_differs_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tlkit.tasks.classification.serving.export._litert_answer",
        lambda target, given: np.full((8, 3), 1 / 3, np.float32),
    )
    with pytest.raises(ExportFault, match="LiteRT model differs from the Keras model by"):
        to_litert(run, tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_always_says_the_same_cannot_be_checked(tmp_path):
    small_classifier(scale=0.0).save(tmp_path / "model.keras")
    with pytest.raises(ExportFault, match="answers the same"):
        to_litert(tmp_path, tmp_path / "model.tflite")


def test_onnx_without_the_extra_names_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ExportFault, match="tf2onnx, which is not installed") as caught:
        to_onnx(run, tmp_path / "model.onnx")
    assert caught.value.remedy == "pip install 'tlkit[onnx]'"
    assert caught.value.exit_code == 5


def test_a_run_without_a_model_has_none_to_export(tmp_path):
    with pytest.raises(ModelFault, match=r"model\.keras cannot be read"):
        to_litert(tmp_path, tmp_path / "model.tflite")
