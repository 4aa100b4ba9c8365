"""The exported generator paints what the Keras generator paints, and refuses what does not fit."""

from __future__ import annotations

import io
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkit.data.images.decoding.depth import read_images, write_image
from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.synthesis.dcgan import build_dcgan
from tlkit.tasks.synthesis.serving.graph import AT_ONCE, drawn_labels, drawn_latents, image_seeds
from tlkit.tasks.synthesis.serving.saved_model import (
    ServedGenerator,
    check_generator_parity,
    export_generator,
)
from tlkit.tasks.synthesis.stylegan import build_stylegan

CLASSES = ("blade", "gun", "shuriken")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small generator of three classes, exported with 16 bits."""
    generator = build_dcgan(32, 1, latent=8, classes=3, width=4, seed=3).generator
    folder = tmp_path_factory.mktemp("generator")
    export_generator(generator, folder, class_names=CLASSES, bits=16)
    return generator, folder, ServedGenerator.load(folder)


def painted(generator, latents, labels, truncation=1.0):
    images = generator(tf.constant(latents), tf.constant(labels), None, truncation=truncation)
    return np.clip(np.asarray(images) * 0.5 + 0.5, 0, 1)


@pytest.mark.onednn
def test_latents_give_the_images_of_the_keras_model(made):
    generator, _, served = made
    latents = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    for label in range(3):
        for truncation in (1.0, 0.4):
            answer = served.from_latents(latents, truncation=truncation, label=label)
            expected = painted(generator, latents, np.full(5, label, np.int32), truncation)
            assert abs(answer["pictures"].numpy() - expected).max() < 1e-5
    assert expected.std(axis=0).mean() > 0.01  # they differ, so the comparison says something


@pytest.mark.onednn
def test_parity_is_measured_and_a_changed_model_is_found(made):
    generator, folder, _ = made
    found = check_generator_parity(generator, folder)
    assert found["largest_difference"] <= found["tolerance"] == 1e-5
    assert found["spread"] > 0.01
    assert len(found["checked"]) == 4
    weights = generator.get_weights()
    generator.set_weights([weight * 1.01 for weight in weights])
    try:
        assert check_generator_parity(generator, folder)["largest_difference"] > 1e-4
    finally:
        generator.set_weights(weights)


def test_a_image_depends_on_its_seed_and_place_alone(made):
    served = made[2]
    many = served.answer(AT_ONCE + 3, seed=5)
    few = served.answer(3, seed=5)
    assert many["pictures"].shape == (AT_ONCE + 3, 32, 32, 1)
    assert np.allclose(many["pictures"][:3], few["pictures"], atol=1e-5)
    assert many["label"][:3].numpy().tolist() == few["label"].numpy().tolist()
    assert abs(served.answer(3, seed=6)["pictures"] - few["pictures"]).numpy().max() > 0.01
    assert np.array_equal(served.answer(3, seed=5)["pictures"], few["pictures"])
    assert served.answer(0)["pictures"].shape == (0, 32, 32, 1)


def test_a_seed_gives_the_latents_that_the_documented_draws_give(made):
    generator, _, served = made
    seeds = image_seeds(tf.constant(9), tf.constant(6))
    assert seeds.numpy().tolist() == [[9, number] for number in range(6)]
    labels = drawn_labels(seeds, 3).numpy()
    expected = painted(generator, drawn_latents(seeds, 8).numpy(), labels)
    answer = served.answer(6, seed=9)
    assert abs(answer["pictures"].numpy() - expected).max() < 1e-5
    assert [name.decode() for name in answer["label"].numpy()] == [CLASSES[label] for label in labels]


def test_draws_are_normal_and_even():
    seeds = image_seeds(tf.constant(1), tf.constant(600))
    latents = drawn_latents(seeds, 16).numpy()
    assert abs(latents.mean()) < 0.04
    assert latents.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(latents.T) - np.eye(16)).max() < 0.2
    assert np.bincount(drawn_labels(seeds, 3).numpy()).min() > 160
    assert drawn_labels(seeds, 0).numpy().max() == 0


def test_labels_choose_the_class_and_minus_one_draws_it(made):
    served = made[2]
    assert served.classes == CLASSES
    assert set(served.answer(4, label=2)["label"].numpy()) == {b"shuriken"}
    assert set(served.answer(40)["label"].numpy()) == {name.encode() for name in CLASSES}
    one, two = (served.answer(2, label=label)["pictures"] for label in (0, 1))
    assert abs(one - two).numpy().max() > 0.01


def test_without_any_variety_all_images_are_the_average(made):
    nothing, all_of_it = (np.asarray(made[2].answer(6, truncation=t, label=0)["pictures"]) for t in (0, 1))
    assert nothing.std(axis=0).max() < 1e-6 < all_of_it.std(axis=0).mean()


def test_png_files_hold_the_levels_that_write_image_writes(made, tmp_path):
    answer = made[2].answer(2, seed=1)
    for number in range(2):
        (tmp_path / "served.png").write_bytes(answer["png"][number].numpy())
        write_image(tmp_path / "written.png", answer["pictures"][number].numpy(), bits=16)
        with Image.open(tmp_path / "served.png") as served, Image.open(tmp_path / "written.png") as written:
            assert served.mode == "I;16"
            assert np.array_equal(np.asarray(served), np.asarray(written))
    assert abs(read_images([tmp_path / "served.png"], 32, 1) - answer["pictures"][1]).numpy().max() < 1e-5


def test_colour_has_8_bits_whatever_is_asked_and_names_may_be_absent(tmp_path):
    generator = build_dcgan(32, 3, latent=4, width=4).generator
    export_generator(generator, tmp_path, bits=16)
    answer = ServedGenerator.load(tmp_path).answer(1)
    with Image.open(io.BytesIO(answer["png"][0].numpy())) as image:
        assert (image.mode, image.size) == ("RGB", (32, 32))
        assert abs(np.asarray(image) / 255 - answer["pictures"][0]).numpy().max() < 0.5 / 255 + 1e-6
    assert answer["label"].numpy().tolist() == [b""]


@pytest.mark.onednn
def test_signatures_are_as_documented(made):
    model = tf.saved_model.load(str(made[1]))
    assert set(model.signatures) == {"serving_default", "generate", "from_latents", "classes"}
    inputs = {name: set(one.structured_input_signature[1]) for name, one in model.signatures.items()}
    assert inputs["generate"] == inputs["serving_default"] == {"seed", "n", "truncation", "label"}
    assert inputs["from_latents"] == {"latents", "truncation", "label"}
    assert set(model.signatures["generate"].structured_outputs) == {"pictures", "png", "label", "classes"}
    assert model.signatures["classes"]()["classes"].numpy().tolist() == [name.encode() for name in CLASSES]


def test_weights_are_stored_once(made):
    generator, folder, _ = made
    stored = sum(file.stat().st_size for file in (folder / "variables").iterdir())
    own = sum(weight.numpy().nbytes for weight in generator.weights)
    assert own < stored < own + 20_000


@pytest.mark.parametrize("width", [7, 9])
def test_latents_of_another_length_are_refused_with_the_length(made, width):
    with pytest.raises(UsageFault, match="latents must have 8 numbers for each image") as fault:
        made[2].from_latents(np.zeros((2, width)))
    assert f"[2, {width}]" in fault.value.remedy


def test_other_inputs_that_do_not_fit_are_refused(made):
    with pytest.raises(UsageFault, match=r"label must be -1 \(any\) or a class from 0 to 2") as fault:
        made[2].answer(2, label=3)
    assert "label 3" in fault.value.remedy
    with pytest.raises(UsageFault, match="label must be"):
        made[2].from_latents(np.zeros((2, 8)), label=-2)
    with pytest.raises(UsageFault, match="n must be 0 or more"):
        made[2].answer(-1)


def test_what_is_no_generator_is_refused(tmp_path):
    with pytest.raises(ModelFault, match="holds no generator"):
        ServedGenerator.load(tmp_path)
    other = tf.Module()
    other.answer = tf.function(lambda x: x, [tf.TensorSpec([])])
    tf.saved_model.save(other, str(tmp_path / "other"))
    with pytest.raises(ModelFault, match="Name the folder of a finished run"):
        ServedGenerator.load(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_stylegan_with_noise_and_classes(tmp_path, precision):
    generator = build_stylegan(32, 1, latent=8, classes=3, width=8, precision=precision, seed=1).generator
    export_generator(generator, tmp_path, class_names=CLASSES)
    found = check_generator_parity(generator, tmp_path)
    assert found["largest_difference"] <= found["tolerance"]
    assert found["spread"] > 0.01
    served = ServedGenerator.load(tmp_path)
    spreads = [
        np.std(served.answer(8, truncation=t, label=0)["pictures"], axis=0).mean() for t in (0.3, 0.6, 1)
    ]
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.8 * spreads[2]
    few, many = (served.answer(n, seed=2)["pictures"][:2] for n in (2, AT_ONCE + 1))
    assert abs(few - many).numpy().max() < (1e-5 if precision == "float32" else 0.05)


@pytest.mark.slow
def test_it_needs_tensorflow_and_nothing_of_ours(made):
    code = (
        "import sys, tensorflow as tf; m = tf.saved_model.load(sys.argv[1]);"
        "a = m.signatures['generate'](seed=tf.constant(1), n=tf.constant(2), truncation=tf.constant(1.0),"
        " label=tf.constant(-1)); sys.exit(0 if a['images'].shape == (2, 32, 32, 1)"
        " and not any(name.startswith('tlkit') for name in sys.modules) else 1)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(made[1])], check=False, cwd="/", env={"PATH": ""})
    assert done.returncode == 0


def test_any_keras_generator_of_the_four_numbers_can_be_exported(tmp_path):
    class Plain(keras.Model):
        size, channels, latent, classes = 8, 1, 5, 0

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(64)
            self.dense.build((None, 5))
            self.built = True

        def call(self, latents, labels=None, seeds=None, truncation=1.0):
            return tf.reshape(self.dense(latents * truncation), [-1, 8, 8, 1])

    generator = Plain()
    export_generator(generator, tmp_path, class_names=("thing",))
    assert check_generator_parity(generator, tmp_path)["largest_difference"] <= 1e-5
    answer = ServedGenerator.load(tmp_path).answer(3)
    assert answer["label"].numpy().tolist() == [b"thing"] * 3
    assert 0 <= answer["pictures"].numpy().min() <= answer["pictures"].numpy().max() <= 1
