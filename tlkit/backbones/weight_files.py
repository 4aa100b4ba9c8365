"""Weights files as lists of layers, and the one way in which they get into a network.

Keras has two layouts in HDF5: the old one (`x.h5`, as keras.applications publishes) lists layers in order;
the new one (`x.weights.h5`) names them by class and place. Keras loads either, but assigns while it checks
and often names no layer. Here every shape is compared first, so a misfit names its layer and a network
changes whole or not.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from tlkit.errors import ModelFault

if TYPE_CHECKING:
    import keras


def sha256_of(path: Path) -> str:
    """Of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class StoredLayer(NamedTuple):
    """A layer's name and its arrays, in the order of keras.layers.Layer.weights."""

    name: str
    arrays: list[np.ndarray]


def is_old_layout(file: h5py.File) -> bool:
    """Whether the file, open for reading, has Keras's old layout."""
    return "layer_names" in file.get("model_weights", file).attrs


def read_old_layout(file: h5py.File) -> list[StoredLayer]:
    """Layers that have weights, in the file's order.

    Args:
        file: An open file of weights, or of a whole model, in Keras's old layout.

    Returns:
        The layers.
    """
    root = file.get("model_weights", file)
    groups = [(_text(name), root[_text(name)]) for name in root.attrs["layer_names"]]
    layers = [
        StoredLayer(name, [np.asarray(group[_text(weight)]) for weight in group.attrs["weight_names"]])
        for name, group in groups
    ]
    return [layer for layer in layers if layer.arrays]


def _text(name: str | bytes) -> str:
    """A name as text; the oldest files have bytes."""
    return name.decode() if isinstance(name, bytes) else name


def read_new_layout(file: h5py.File, network: keras.Model) -> list[StoredLayer]:
    """The arrays that the file holds at the places of the network's layers.

    Args:
        file: An open .weights.h5 file.
        network: The network that says where to look.

    Returns:
        One entry per layer of the network that has weights; without arrays where the file has none.
    """
    places = [(layer, place) for layer, place in _places(network.layers, "") if layer.weights]
    return [StoredLayer(place, _arrays_at(file, layer, place)) for layer, place in places]


def _places(layers: Iterable[keras.layers.Layer], above: str) -> Iterator[tuple[keras.layers.Layer, str]]:
    """Each layer with its path in a .weights.h5: the class in snake_case, numbered from the second on."""
    seen: Counter[str] = Counter()
    for layer in layers:
        words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
        yield layer, f"{above}layers/{kind}" + (f"_{seen[kind]}" if seen[kind] else "")
        seen[kind] += 1


def _arrays_at(file: h5py.File, layer: keras.layers.Layer, place: str) -> list[np.ndarray]:
    """The arrays of a layer, or of all layers of a nested network."""
    if hasattr(layer, "layers"):
        inner = _places(layer.layers, f"{place}/")
        return [array for below, path in inner for array in _arrays_at(file, below, path)]
    group = file.get(f"{place}/vars", {})
    return [np.asarray(group[str(index)]) for index in range(len(group))]


def layers_of(network: keras.Model) -> list[StoredLayer]:
    """The layers of a network in memory that have weights."""
    return [
        StoredLayer(layer.name, [weight.numpy() for weight in layer.weights])
        for layer in network.layers
        if layer.weights
    ]


def fit_layers(network: keras.Model, stored: Sequence[StoredLayer], source: str, backbone: str) -> None:
    """Give the network the stored weights, in order, all or none.

    What the file has beyond the network's last layer is taken for a classification head and left out.

    Args:
        network: Changed in place.
        stored: Layers in the network's order.
        source: The file, as the user knows it.
        backbone: The network's name, as the user knows it.

    Raises:
        ModelFault: A layer is missing or has other shapes; the first one is named.
    """
    layers = [layer for layer in network.layers if layer.weights]
    for layer, found in itertools.zip_longest(layers, stored[: len(layers)]):
        wanted_shapes = [tuple(weight.shape) for weight in layer.weights]
        found_shapes = [array.shape for array in found.arrays] if found else []
        if wanted_shapes != found_shapes:
            raise ModelFault(
                f"{source} does not fit {backbone}: layer {layer.name} wants {_shapes(wanted_shapes)},"
                f" the file has {_shapes(found_shapes)}.",
                f"Give a file of {backbone}, take the backbone that the file is for, or --weights none.",
            )
    assign_layers(layers, stored[: len(layers)])


def assign_layers(layers: Sequence[keras.layers.Layer], stored: Sequence[StoredLayer]) -> None:
    """Give layers the arrays that were found to fit them, each its own."""
    for layer, found in zip(layers, stored, strict=True):
        for weight, array in zip(layer.weights, found.arrays, strict=True):
            weight.assign(array)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # keras.layers.Normalization keeps copies of its mean and variance


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    """Shapes for people: "3x3x3x32, 32"."""
    return ", ".join("x".join(map(str, shape)) or "one number" for shape in shapes) or "nothing"
