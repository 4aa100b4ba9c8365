"""The contract of detectors: what each gives, and how all are compiled, fitted, saved and loaded.

    pixels uint8 [b, s, s, 3] -> call -> raw -> decode -> boxes [b, a, 4], scores [b, a, k]
                                         raw, true boxes, labels -> loss_parts -> scalars by name

A detector that takes proposals has {"images": pixels, "proposals": float32 [b, p, 4]} in place of pixels.

`raw` is whatever a detector's own `decode` and `loss_parts` take: maps of one stage, or the maps and proposals of the
first of two, whose second stage then runs inside both. Everything else of tlkit (recipes, fitting, export, --warm-start,
compare, studies) asks for nothing but what stands here, and knows no list of kinds.

KerasCV's own losses, metrics and configurations are passed over: they fail under mixed precision, cannot be logged
one by one, and cannot be loaded with a backbone of keras.applications.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.pyramids import check_side
from tlkit.tasks.detection.assignment import IGNORED, Targets

if TYPE_CHECKING:
    from keras import Model as _Network

    from tlkit.backbones.table import WeightsOrigin

else:
    _Network = object  # the class behind the mixin is the `keras.Model`

MOMENTUM = 0.9  # of batch normalisation: with KerasCV's 0.97 and 0.99 statistics lag behind a short training


class Design(NamedTuple):
    """What a detector takes from the training images and from its recipe's options.

    Attributes:
        own: Arguments of `own_settings`, such as anchors.
        facts: For the card, beside network, backbone and weights.
        says: Sentences for the user.
    """

    own: dict[str, Any]
    facts: Mapping[str, Any] = {}
    says: tuple[str, ...] = ()


class Detector(_Network):
    """What all kinds share; a mixin before `keras.Model`, or before a KerasCV class.

    Attributes:
        class_names: [k].
        size: Side of the square input, pixels.
        kind: Its key in `table.DETECTORS`.
        settings: The arguments that it was built from, without weights; JSON. `class_names`, `size` and `backbone`
            stand in those of every kind.
        backbone: Pixels -> maps; a layer "backbone" of it holds what was trained before.
        no_litert: Which of its operations LiteRT lacks; empty where it has all.
        no_onnx: What of its answers would be lost as ONNX; empty where nothing is.
        has_masks: Whether it finds masks too: it learns from those of `boxes.batches`, and has `masks`.
        told_apart: Of its losses those that are logged by themselves; all others are added up as those of boxes.
        proposals: How many proposals an image it takes at most (`boxes.proposals`); 0: it takes pixels alone. One that
            takes them has two inputs, "images" and "proposals": float32 [b, p, 4] in pixels of the square, p any number,
            -1 where there is none.
        proposes: Whether `raw["proposals"]` are regions that it proposes itself, in a first stage: float32 [b, p, 4].
        seed: Of what a step draws (sizes, samples of proposals); with the optimiser's step it says which.
        step_cost: What a step costs on average by one at `size`: of a detector whose `learned` changes sizes, their mean
            area by that of `size`.
        one_size: While steps are timed: `learned` is passed over.
    """

    kind = ""
    no_litert: ClassVar[str] = ""
    no_onnx: ClassVar[str] = ""
    has_masks: ClassVar[bool] = False
    told_apart: ClassVar[tuple[str, ...]] = ("class",)
    proposals: ClassVar[int] = 0
    proposes: ClassVar[bool] = False
    class_names: tuple[str, ...]
    size: int
    settings: dict[str, Any]
    backbone: keras.Model
    seed: tuple[int, int] = (0, 0)
    step_cost: float = 1.0
    one_size: bool = False

    # --- what each kind gives ---

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[Self, WeightsOrigin]:
        """Build from settings, and say where the backbone's weights ("imagenet", "none" or a file) come from."""
        raise NotImplementedError

    @classmethod
    def own_settings(cls, *_size: Any, **own: Any) -> dict[str, Any]:
        """(side of the input in pixels, the kind's own arguments) -> its own settings, with its defaults; JSON."""
        return own

    @classmethod
    def design(cls, *_given: Any, **options: Any) -> Design:
        """(training images with boxes, side in pixels, what it starts from) and options -> what they come to.

        Args:
            _given: `Boxes` that are learned; the side of the square input; what the card says of the model that this
                one starts from, a mapping, None without `--warm-start`.
            options: Of the recipe, beside those that all have.

        Raises:
            UsageFault: The options do not go together.
        """
        return Design(options)

    @classmethod
    def check_side(cls, size: int) -> None:
        """Raise where the input cannot have this side.

        Raises:
            UsageFault: It is too small, or no multiple of the coarsest stride.
        """
        check_side(size)

    def decode(self, raw: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, a, 4] in pixels of the square, and scores float32 [b, a, k], 0..1."""
        raise NotImplementedError

    def loss_parts(self, raw: Any, xyxy: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scalars by name, "class" among them, whose sum is learned.

        Args:
            raw: What the network gives in training.
            xyxy: float32 [b, m, 4], pixels of the square.
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        raise NotImplementedError

    def losses(self, raw: Any, truth: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What is learned from a batch of `boxes.batches`: `loss_parts`, and of a detector of masks their loss too.

        Args:
            raw: What the network gives in training.
            truth: "boxes", "classes", and what else the batch has.
        """
        return self.loss_parts(raw, truth["boxes"], truth["classes"])

    def masks(self, raw: Any, xyxy: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Of a detector that `has_masks`: probabilities float32 [b, n, side, side] over boxes that were kept.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, n, 4], pixels of the square.
            labels: int32 [b, n], of which classes; -1: none, whose mask is anything.
        """
        raise NotImplementedError

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """The kernels and biases that predict classes, for `--warm-start`.

        Returns:
            Of each the variable, and int [places, k]: which columns of its last axis belong to which class.
        """
        raise NotImplementedError

    def learned(self, x: tf.Tensor, y: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What a step learns from a batch: the batch itself, or, say, the same in another size."""
        return x, y

    # --- what all have ---

    def _begin(self, settings: dict[str, Any]) -> None:
        """After the constructor of the network: keep what it was built from."""
        self.settings = settings
        self.class_names = tuple(settings["class_names"])
        self.size = int(settings["size"])
        told = ("loss", "box_loss", *(f"{name}_loss" for name in self.told_apart))
        self.trackers = {name: keras.metrics.Mean(name=name) for name in told}
        for layer in self._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM

    # --- training ---

    average: Any = None  # of weights (training/ema.py), while it is fitted

    def train_step(self, data: Any) -> dict:
        """One step, after which the average follows."""
        logs = super().train_step(data if self.one_size else self.learned(*data))
        if self.average is not None:
            self.average.follow(self.optimizer.iterations)
        return logs

    def compile(self, optimizer="adam", **options) -> None:
        """As Keras's, without losses: they belong to the detector."""
        keras.Model.compile(self, optimizer=optimizer, **{"jit_compile": False, **options})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Scalar: the sum of `losses`; remembered for the logs."""
        parts = self.losses(y_pred, y)
        total = tf.add_n(list(parts.values()))
        apart = [parts[name] for name in self.told_apart]
        for tracker, value in zip(
            self.trackers.values(), (total, total - tf.add_n(apart), *apart), strict=True
        ):
            tracker.update_state(value)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        """Means over the epoch: loss, box_loss, class_loss, and others that are `told_apart`."""
        return self.get_metrics_result()

    @property
    def metrics(self) -> list:
        """What is reset at the start of an epoch."""
        return list(self.trackers.values())

    def get_metrics_result(self) -> dict:
        """Name -> value."""
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def predict_step(self, *args) -> Any:
        """Raw outputs; boxes come from `decode`, detections from tlkit.tasks.detection.predict."""
        return keras.Model.predict_step(self, *args)

    # --- saving ---

    def get_config(self) -> dict:
        """What it was built from."""
        return {**self.settings, "name": self.name}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:  # noqa: ARG003
        """The same detector with random weights."""
        return cls.of({key: value for key, value in config.items() if key != "name"})[0]


def counted(targets: Targets) -> tf.Tensor:
    """float32 [b, a, 1]: 0 for places that are ignored."""
    return tf.cast(targets.labels != IGNORED, tf.float32)[..., None]
