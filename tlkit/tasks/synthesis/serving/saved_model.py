"""A generator as a service: the SavedModel that paints images from a seed, or from latents, and needs only TensorFlow.

A run whose card.json says `"kind": "generator"` holds such a model. What is inside: graph.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.safe_loading.saved_models import damaged, first_line, load_saved_model, printable
from tlkit.engine.serving.signatures import answering, loading, served_classes
from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.serving.graph import (
    ANY,
    GeneratorService,
    drawn_labels,
    drawn_latents,
    image_seeds,
    sampled,
)

TOLERANCE = 1e-5  # between the Keras model and the SavedModel, of a range of 1

Signature = Callable[..., dict[str, tf.Tensor]]


def export_generator(
    generator: keras.Model, folder: Path, *, class_names: Sequence[str] = (), bits: int = 8
) -> None:
    """Write a generator as a SavedModel: saved_model.pb and variables/ directly in `folder`.

    Signatures: `serving_default` and `generate` (seed, n, truncation, label), `from_latents` (latents, truncation,
    label), `classes` (nothing -> names). A label, or latents, that do not fit fail the call with InvalidArgumentError,
    which says what fits.

    Args:
        generator: See `GeneratorService`; the averaged one.
        folder: Made where it is missing; other files in it stay.
        class_names: Of its labels.
        bits: Of the PNGs.
    """
    GeneratorService(generator, class_names, bits).save(folder)


class ServedGenerator:
    """A SavedModel of `export_generator`, loaded.

    Attributes:
        classes: Names of its labels; one empty name where none was given.
    """

    def __init__(self, folder: Path) -> None:
        self._model = load_saved_model(folder)  # the signatures live only as long as it does
        self._folder = folder
        self._generate: Signature = self._model.signatures["generate"]
        self._from_latents: Signature = self._model.signatures["from_latents"]
        self.classes = served_classes(self._model, folder, lambda: self.answer(1))

    @classmethod
    def load(cls, folder: Path) -> ServedGenerator:
        """Load the SavedModel in `folder`.

        Raises:
            ModelFault: There is none, or it is no generator of ours.
        """
        with loading(folder, "generator", "synthesize-dcgan or synthesize-stylegan"):
            return cls(folder)

    def answer(
        self, n: int, *, seed: int = 0, truncation: float = 1.0, label: int = ANY
    ) -> dict[str, tf.Tensor]:
        """All outputs of `GeneratorService.generate`.

        Raises:
            UsageFault: No such class, or n below 0.
        """
        return self._asked(
            self._generate,
            seed=tf.constant(seed % 2**31, tf.int32),
            n=tf.constant(n, tf.int32),
            truncation=tf.constant(truncation, tf.float32),
            label=tf.constant(label, tf.int32),
        )

    def from_latents(
        self, latents: np.ndarray, *, truncation: float = 1.0, label: int = ANY
    ) -> dict[str, tf.Tensor]:
        """All outputs of `GeneratorService.from_latents`.

        Raises:
            UsageFault: Latents of another length, or no such class.
        """
        return self._asked(
            self._from_latents,
            latents=tf.constant(latents, tf.float32),
            truncation=tf.constant(truncation, tf.float32),
            label=tf.constant(label, tf.int32),
        )

    def _asked(self, signature: Signature, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Call a signature; what the graph refuses becomes a sentence of ours."""
        try:
            with answering(self._folder):
                return signature(**inputs)
        except tf.errors.InvalidArgumentError as fault:
            reasons = [line for line in str(fault.message).splitlines() if " must " in line]
            if not reasons:
                raise damaged(self._folder, f"it gives no answer ({first_line(fault)})") from fault
            said = reasons[0].split("assertion failed: [")[-1].split("]")[0].strip()
            given = ", ".join(
                f"{name} of shape {value.shape.as_list()}"
                if value.shape.rank
                else f"{name} {value.numpy():g}"
                for name, value in inputs.items()
            )
            raise UsageFault(
                f"The generator cannot paint this: {printable(said)}.", f"It was asked for {given}."
            ) from fault


# --- parity ------------------------------------------------------------------------------------------------


def check_generator_parity(generator: Any, folder: Path, *, n: int = 4, seed: int = 0) -> dict[str, Any]:
    """Compare the Keras generator with its SavedModel on disk, from a seed and from latents.

    Args:
        generator: The one that was exported.
        folder: Where its SavedModel lies.
        n: How many images of each are compared, at truncation 1 and 0.6.
        seed: Of the images.

    Returns:
        largest_difference: Of all pixels, 0..1. tolerance: What it should not exceed. spread: The mean standard
        deviation of a pixel over the images; near 0 the comparison proves little. checked: What was compared.
    """
    served = ServedGenerator.load(folder)
    seeds = image_seeds(tf.constant(seed % 2**31), tf.constant(n))
    latents = drawn_latents(seeds, generator.latent)
    labels = drawn_labels(seeds, generator.classes)
    differences, expected = {}, tf.zeros([0])
    for truncation in (1.0, 0.6):
        expected = sampled(generator, latents, labels, seeds, truncation)
        actual = served.answer(n, seed=seed, truncation=truncation)["pictures"]
        differences[f"seed, truncation {truncation:g}"] = _largest(expected - actual)
        plain = sampled(generator, latents, tf.zeros_like(labels), None, truncation)
        actual = served.from_latents(latents.numpy(), truncation=truncation)["pictures"]
        differences[f"latents, truncation {truncation:g}"] = _largest(plain - actual)
    return {
        "largest_difference": max(differences.values()),
        "tolerance": TOLERANCE,
        "spread": float(tf.reduce_mean(tf.math.reduce_std(expected, axis=0))),
        "checked": list(differences),
    }


def _largest(differences: tf.Tensor) -> float:
    return float(tf.reduce_max(tf.abs(differences)))
