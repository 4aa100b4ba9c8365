"""What both kinds of detector share: how they are compiled, fitted, saved and loaded, whatever their graph is.

KerasCV's own losses, metrics and configurations are passed over: they fail under mixed precision, cannot be logged
one by one, and cannot be loaded with a backbone of keras.applications.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tlkit.tasks.detection.assignment import IGNORED, Targets

MOMENTUM = 0.9  # of batch normalisation: with KerasCV's 0.97 and 0.99 statistics lag behind a short training


class Detector:
    """What both kinds share; a mixin before the KerasCV class.

    Attributes:
        class_names: [k].
        size: Side of the square input, pixels.
        kind: "retinanet" or "yolov8".
        settings: The arguments that it was built from, without weights; JSON.
    """

    kind = ""
    class_names: tuple[str, ...]
    size: int
    settings: dict[str, Any]

    def _begin(self, settings: dict[str, Any]) -> None:
        """After KerasCV's constructor: keep what it was built from."""
        self.settings = settings
        self.class_names = tuple(settings["class_names"])
        self.size = int(settings["size"])
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("loss", "box_loss", "class_loss")}
        network: Any = self  # a keras.Model too, by the class behind this one
        for layer in network._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM

    # --- training ---

    average: Any = None  # of weights (training/ema.py), while it is fitted

    def train_step(self, *args) -> dict:
        """One step, after which the average follows."""
        logs = super().train_step(*args)  # type: ignore[misc]
        if self.average is not None:
            network: Any = self
            self.average.follow(network.optimizer.iterations)
        return logs

    def compile(self, optimizer="adam", **options) -> None:
        """As Keras's, without losses: they belong to the detector."""
        keras.Model.compile(self, optimizer=optimizer, **{"jit_compile": False, **options})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Scalar: the sum of `loss_parts`; remembered for the logs."""
        network: Any = self
        parts = network.loss_parts(y_pred, y["boxes"], y["classes"])
        total = tf.add_n(list(parts.values()))
        box = total - parts["class"]
        for name, value in (("loss", total), ("box_loss", box), ("class_loss", parts["class"])):
            self.trackers[name].update_state(value)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        """Means over the epoch: loss, box_loss, class_loss."""
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
        network: Any = self
        return {**self.settings, "name": network.name}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:  # noqa: ARG003
        """The same detector with random weights."""
        kind: Any = cls
        return kind.of({key: value for key, value in config.items() if key != "name"})[0]


def counted(targets: Targets) -> tf.Tensor:
    """float32 [b, a, 1]: 0 for places that are ignored."""
    return tf.cast(targets.labels != IGNORED, tf.float32)[..., None]
