"""Custom Keras objects: importing this module registers every layer, model and metric of tlkit.

    import keras
    import tlkit.keras_objects

    model = keras.saving.load_model("saved_models/fine-tune-crops/1/model.keras")

Without it Keras stops at the first of them ("Could not locate class 'Preprocess'"). It takes TensorFlow and KerasCV
along, so `import tlkit` leaves it out; nothing in tlkit imports it. Keras must run on TensorFlow.
"""

from __future__ import annotations

from tlkit.backbones.fitted_layers import NearestNeighbours, Standardize, SupportVectors
from tlkit.backbones.layers import (
    ChannelShuffle,
    GroupedConvolution,
    HalvingAverage,
    LocalResponseNormalization,
)
from tlkit.backbones.preprocessing import Preprocess
from tlkit.tasks.classification.classifier import Probabilities
from tlkit.tasks.classification.fit import ConfusionAccuracy
from tlkit.tasks.detection.retinanet import RetinaNetDetector
from tlkit.tasks.detection.retinanet_layers import FeaturePyramid, Tower
from tlkit.tasks.detection.sliding_window.detector import WindowDetector
from tlkit.tasks.detection.yolov8 import YoloDetector
from tlkit.tasks.synthesis.dcgan import DcganDiscriminator, DcganGenerator, PixelNorm, UpConvolution
from tlkit.tasks.synthesis.stylegan import Mapping, StyleDiscriminator, StyleGenerator, Synthesis
from tlkit.tasks.synthesis.stylegan_layers import (
    EqualisedConvolution,
    EqualisedDense,
    MinibatchDeviation,
    ModulatedConvolution,
    StyledLayer,
)

__all__ = [
    "ChannelShuffle",
    "ConfusionAccuracy",
    "DcganDiscriminator",
    "DcganGenerator",
    "EqualisedConvolution",
    "EqualisedDense",
    "FeaturePyramid",
    "GroupedConvolution",
    "HalvingAverage",
    "LocalResponseNormalization",
    "Mapping",
    "MinibatchDeviation",
    "ModulatedConvolution",
    "NearestNeighbours",
    "PixelNorm",
    "Preprocess",
    "Probabilities",
    "RetinaNetDetector",
    "Standardize",
    "StyleDiscriminator",
    "StyleGenerator",
    "StyledLayer",
    "SupportVectors",
    "Synthesis",
    "Tower",
    "UpConvolution",
    "WindowDetector",
    "YoloDetector",
]
