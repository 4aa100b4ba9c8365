"""Darknet's `.weights` files: a header, then the numbers of each convolution in the order of the cfg.

    int32 major, minor, revision; uint64 or int32 images seen; then little-endian float32, of each convolution
    with batch normalisation:  bias, scale, mean, variance [out], kernel [out, in, h, w]
    without:                   bias [out], kernel [out, in, h, w]

There are no names and no shapes, so a file fits by its length alone. One that ends where a layer ends, from the
backbone's last on, gives what it has: a backbone's file (darknet53.conv.74) or a detector's. Every other length is
refused, and so are numbers that no network can have learned.
"""

from __future__ import annotations

import math
import shlex
import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlkit.backbones.weight_files import StoredLayer
from tlkit.errors import ModelFault

if TYPE_CHECKING:
    import keras

    from tlkit.backbones.darknet import Convolution

SUFFIX = ".weights"
CLASSES = 1000  # of ImageNet, in the last layer of a classifier's file
# Of the backbones without a classifier's last layer, by which a file for another one is known.
NUMBERS = {"darknet-19": 19_831_776, "darknet-53": 40_620_640, "darknet-small": 6_298_480}
_BYTES = 4  # of a number
_VERSION = struct.Struct("<3i")
_LATEST = 1000  # Darknet's own bound of a version number
_OTHERS = {".h5", ".hdf5", ".keras", ".onnx"}  # suffixes by which other kinds are known
_SIGNATURES = (b"\x89HDF", b"PK\x03\x04")  # of HDF5 and of a .keras file, whatever their names end with


class Header(NamedTuple):
    """What a file begins with.

    Attributes:
        version: Major, minor and revision of the format.
        seen: Images that the network had learned from.
        size: Of the header, bytes: 20, in the first version 16.
    """

    version: tuple[int, int, int]
    seen: int
    size: int


def read_header(start: bytes) -> Header | None:
    """The header of a file that begins so; None where it ends inside its header.

    Args:
        start: At least its first 20 bytes, or all that it has.
    """
    if len(start) < _VERSION.size:
        return None
    major, minor, revision = _VERSION.unpack_from(start)
    wide = 10 * major + minor >= 2 and major < _LATEST and minor < _LATEST
    seen = struct.Struct("<Q" if wide else "<i")
    if len(start) < _VERSION.size + seen.size:
        return None
    (images,) = seen.unpack_from(start, _VERSION.size)
    return Header((major, minor, revision), images, _VERSION.size + seen.size)


def is_darknet_file(weights: str | Path) -> bool:
    """Whether this names a file of Darknet's, by its suffix or, without one that is known, by how it begins.

    Args:
        weights: As typed; "imagenet", "none" and what is no file are none.
    """
    path = Path(weights).expanduser()
    if weights in {"imagenet", "none"} or path.suffix in _OTHERS or not path.is_file():
        return False
    start = _start(path)
    if start.startswith(_SIGNATURES):
        return False
    header = read_header(start)
    return path.suffix == SUFFIX or (header is not None and all(0 <= n < _LATEST for n in header.version))


def _start(path: Path) -> bytes:
    """As many bytes as the longest header has.

    Raises:
        ModelFault: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_VERSION.size + 8)
    except OSError as error:
        raise ModelFault(
            f"{path} cannot be read as weights: {error.strerror}.", "Name a file that may be read."
        ) from error


def network_layers(path: Path, network: keras.Model, backbone: str) -> list[StoredLayer]:
    """What a file holds for a backbone, as `weight_files.fit_layers` takes it.

    Args:
        path: The file.
        network: The backbone.
        backbone: Its name, for faults.

    Returns:
        Each convolution, and each normalisation, in the network's order.

    Raises:
        ModelFault: The backbone is none of Darknet's, or the file does not fit it.
    """
    return read_convolutions(path, backbone_convolutions(path, network, backbone), backbone)


def backbone_convolutions(path: Path, network: keras.Model, backbone: str) -> list[Convolution]:
    """The convolutions of a backbone that a file of Darknet's can be for.

    Raises:
        ModelFault: It is no network of Darknet.
    """
    from tlkit.backbones.darknet import body_convolutions

    found = body_convolutions(network)
    if not found:
        raise ModelFault(
            f"{path} is a file of Darknet's weights, and {backbone} is no network of Darknet.",
            "Train a detector with --backbone darknet-19, darknet-53 or darknet-small, or leave --weights out.",
        )
    return found


def read_convolutions(
    path: Path, body: Sequence[Convolution], network: str, heads: Sequence[Convolution] = ()
) -> list[StoredLayer]:
    """What a file holds for a backbone's convolutions and, as far as it goes on, for a detector's.

    Args:
        path: The file.
        body: The backbone's convolutions, at least one, built.
        network: The name of the whole, for faults.
        heads: The detector's own, in the order of the cfg. The file may end after any of them.

    Returns:
        Of each convolution that the file holds its kernel (and bias), then its normalisation, if it has one: arrays in
        Keras's order and axes, on the mapped file. The last layer of an ImageNet classifier is left out.

    Raises:
        ModelFault: The file ends inside a layer or before the backbone's last, goes on after the last layer, or
            holds numbers that are not finite or variances below zero.
    """
    header = read_header(_start(path))
    if header is None:
        raise ModelFault(
            f"{path} cannot be read as weights: it ends inside its header, after {path.stat().st_size} bytes.",
            "Copy or fetch the file again, or take --weights none.",
        )
    held = _held(path, header, body, heads, network)
    return _mapped(path, header, [*body, *heads][:held], network)


def _mapped(
    path: Path, header: Header, convolutions: Sequence[Convolution], network: str
) -> list[StoredLayer]:
    """The layers of a file that is long enough for these convolutions.

    Raises:
        ModelFault: Its numbers cannot be those of a network.
    """
    ends = list(accumulate(map(_numbers, convolutions)))
    numbers = np.memmap(path, "<f4", "r", header.size, (ends[-1],))
    pairs = zip(convolutions, np.split(numbers, ends[:-1]), strict=True)
    return [layer for one, part in pairs for layer in _stored(path, one, part, network)]


def _numbers(one: Convolution) -> int:
    """How many numbers a convolution has in a file: as many as Keras has weights."""
    layers = [layer for layer in one if layer is not None]
    return sum(math.prod(weight.shape) for layer in layers for weight in layer.weights)


def _held(
    path: Path, header: Header, body: Sequence[Convolution], heads: Sequence[Convolution], network: str
) -> int:
    """How many of the convolutions the file holds; it ends where one of them ends.

    Raises:
        ModelFault: It does not, or ends before the backbone's last.
    """
    convolutions = [*body, *heads]
    names = [one.convolution.name for one in convolutions]
    sizes = [_numbers(one) for one in convolutions]
    ends = list(accumulate(sizes))
    length = path.stat().st_size - header.size
    count, odd = divmod(length, _BYTES)
    whole = bisect_right(ends, count)  # convolutions that are complete
    at_an_end = not odd and count == (ends[whole - 1] if whole else 0)
    if at_an_end and whole >= len(body):
        return whole
    channels = body[-1].convolution.weights[0].shape[-1]
    if not odd and count == ends[len(body) - 1] + (channels + 1) * CLASSES:
        return len(body)
    if at_an_end:
        after = f"after layer {names[whole - 1]}" if whole else "after its header"
        problem = f"it ends {after}, and the backbone goes on to layer {names[len(body) - 1]}"
    elif whole == len(ends):
        beyond = length - _BYTES * ends[-1]
        problem = f"it goes on for {beyond:,} bytes after layer {names[-1]}, the last"
    else:
        inside, size = length - _BYTES * (ends[whole] - sizes[whole]), _BYTES * sizes[whole]
        problem = f"it ends inside layer {names[whole]}, after {inside:,} of {size:,} bytes"
    raise ModelFault(f"{path} does not fit {network}: {problem}.", _remedy(path, header, body))


def _remedy(path: Path, header: Header, body: Sequence[Convolution]) -> str:
    """What to do with a file that ends at a wrong place: take the backbone of its length, or cut it where that helps."""
    length = path.stat().st_size - header.size
    for name, numbers in NUMBERS.items():
        if length == _BYTES * numbers:
            return f"It is as long as the file of {name}: take --backbone {name}, or --weights none."
    size = header.size + _BYTES * sum(map(_numbers, body))
    if length > size - header.size and _begins_with(path, header, body):
        return (
            "If it is of a larger network on this backbone, its beginning is the backbone's file:"
            f" head -c {size} {shlex.quote(str(path))} > backbone{SUFFIX}; or take --weights none."
        )
    return (
        f"Copy or fetch the file again (the backbone alone has {size:,} bytes),"
        " take the backbone that it is for, or --weights none."
    )


def _begins_with(path: Path, header: Header, body: Sequence[Convolution]) -> bool:
    """Whether a file that is long enough begins with numbers that a backbone can have."""
    try:
        _mapped(path, header, body, "")
    except ModelFault:
        return False
    return True


def _stored(path: Path, one: Convolution, numbers: np.ndarray, network: str) -> list[StoredLayer]:
    """A convolution's part of a file as layers of Keras.

    Raises:
        ModelFault: The numbers cannot be those of a network.
    """
    convolution, normalisation = one
    height, width, channels, filters = convolution.weights[0].shape
    rows = 1 if normalisation is None else 4
    vectors = np.asarray(numbers[: rows * filters]).reshape(rows, filters)
    kernel = np.asarray(numbers[rows * filters :]).reshape(filters, channels, height, width)
    with np.errstate(invalid="ignore"):
        finite = bool(np.isfinite([numbers.min(), numbers.max()]).all())
    if not finite or (rows == 4 and vectors[3].min() < 0):
        what = "a variance below zero" if finite else "numbers that are not finite"
        raise ModelFault(
            f"{path} does not fit {network}: layer {convolution.name} would have {what}.",
            "Take the backbone that the file is for, copy or fetch the file again, or take --weights none.",
        )
    turned = kernel.transpose(2, 3, 1, 0)  # out, in, h, w -> h, w, in, out
    if normalisation is None:
        return [StoredLayer(convolution.name, [turned, vectors[0]])]
    bias, scale, mean, variance = vectors
    return [
        StoredLayer(convolution.name, [turned]),
        StoredLayer(normalisation.name, [scale, bias, mean, variance]),
    ]
