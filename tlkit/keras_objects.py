"""Custom Keras objects: importing this module registers every layer, model and metric of tlkit.

    import keras
    import tlkit.keras_objects

    model = keras.saving.load_model("saved_models/fine-tune-crops/1/model.keras")

Without it Keras stops at the first of them ("Could not locate class 'Preprocess'"). It takes TensorFlow and KerasCV
along, so `import tlkit` leaves it out; nothing in tlkit imports it. Keras must run on TensorFlow.
"""

from __future__ import annotations

from importlib import import_module

import keras

from tlkit.tasks.detection.table import DETECTORS

_MODULES = (
    "backbones.darknet",
    "backbones.fitted_layers",
    "backbones.layers",
    "backbones.preprocessing",
    "tasks.classification.classifier",
    "tasks.classification.fit",
    "tasks.detection.rcnn.box_head",
    "tasks.detection.rcnn.mask_head",
    "tasks.detection.rcnn.rpn",
    "tasks.detection.rcnn.rcnn",
    "tasks.detection.retinanet_layers",
    "tasks.detection.sliding_window.detector",
    "tasks.detection.sliding_window.pooled",
    *(f"tasks.detection.{row.module}" for row in DETECTORS.values()),
    "tasks.synthesis.dcgan",
    "tasks.synthesis.stylegan",
    "tasks.synthesis.stylegan_layers",
)
# every class by its own name: `tlkit.keras_objects.Preprocess`
_OBJECTS = {
    name: thing
    for module in (import_module(f"tlkit.{place}") for place in _MODULES)
    for name, thing in vars(module).items()
    if isinstance(thing, type) and keras.saving.get_registered_name(thing).startswith("tlkit>")
}
globals().update(_OBJECTS)
__all__ = sorted(_OBJECTS)  # noqa: PLE0605
