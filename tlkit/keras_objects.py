"""Custom Keras objects: importing this module registers every layer, model and metric of tlkit.

    import keras
    import tlkit.keras_objects

    model = keras.saving.load_model("saved_models/fine-tune-crops/1/model.keras")

Without it Keras stops at the first of them ("Could not locate class 'Preprocess'"). It takes TensorFlow and KerasCV
along, so `import tlkit` leaves it out; nothing in tlkit imports it. Keras must run on TensorFlow.
"""

from __future__ import annotations

from tlkit.models.classic_layers import (
    ChannelShuffle,
    GroupedConvolution,
    HalvingAverage,
    LocalResponseNormalization,
)
from tlkit.models.classifier import Probabilities
from tlkit.models.dcgan import DcganCritic, DcganGenerator, PixelNorm, UpConvolution
from tlkit.models.detector_layers import FeaturePyramid, Tower
from tlkit.models.fitted_layers import NearestNeighbours, Standardize, SupportVectors
from tlkit.models.preprocessing import Preprocess
from tlkit.models.retinanet import RetinaNetDetector
from tlkit.models.stylegan import Mapping, StyleCritic, StyleGenerator, Synthesis
from tlkit.models.stylegan_layers import (
    EqualisedConvolution,
    EqualisedDense,
    MinibatchDeviation,
    ModulatedConvolution,
    StyledLayer,
)
from tlkit.models.training import ConfusionAccuracy
from tlkit.models.windows import WindowDetector
from tlkit.models.yolov8 import YoloDetector

__all__ = [
    "ChannelShuffle",
    "ConfusionAccuracy",
    "DcganCritic",
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
    "StyleCritic",
    "StyleGenerator",
    "StyledLayer",
    "SupportVectors",
    "Synthesis",
    "Tower",
    "UpConvolution",
    "WindowDetector",
    "YoloDetector",
]
