"""Reads tensors from an old PyTorch file without PyTorch and without letting the file run anything.

The old kind (before torch 1.6) is no zip but pickles in a row: a magic number, the protocol, the system, the
tensors (which only name their storage), the storage keys. Then, for each key, an int64 count and the raw
little-endian numbers. A pickle may name any function to be called; the unpickler here knows four names and
refuses every other.
Source: torch/serialization.py, _legacy_load.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class _Tensor(NamedTuple):
    """A tensor before its numbers are known; its fields are what torch._utils._rebuild_tensor_v2 takes."""

    storage: tuple
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that admits what a state of float and integer tensors needs."""

    def find_class(self, module: str, name: str) -> Any:
        """Our stand-in for a global that the pickle names."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"the file wants {module}.{name}, which weights do not need")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """A storage, ("storage", type, key, device, count, view), stays as the tuple it is."""
        return pid


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read every tensor of the file.

    Args:
        path: A state dict written by torch.save in the old format.

    Returns:
        Name -> array, float32 or int64, in the shape that PyTorch shows.

    Raises:
        pickle.UnpicklingError: The file is of another kind or names something foreign.
    """
    with path.open("rb") as file:
        if (_load(file), _load(file)) != (MAGIC_NUMBER, PROTOCOL):
            raise pickle.UnpicklingError("the file is not of PyTorch's old format")
        _load(file)  # the writer's byte order and integer sizes; the numbers are little-endian in any case
        tensors: dict[str, _Tensor] = _load(file)
        types = {tensor.storage[2]: tensor.storage[1] for tensor in tensors.values()}
        storages: dict[str, np.ndarray] = {}
        for key in _load(file):  # each storage is its count, and that many numbers
            count, dtype = int.from_bytes(file.read(8), "little"), np.dtype(types[key])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    arrays: dict[str, np.ndarray] = {}
    for name, (named, offset, shape, strides, *_) in tensors.items():
        storage = storages[named[2]]
        size = storage.itemsize  # NumPy checks that shape and strides stay inside the storage
        steps = [step * size for step in strides]
        arrays[name] = np.ndarray(shape, storage.dtype, storage, offset * size, steps)
    return arrays


def _load(file: BinaryIO) -> Any:
    """The next pickle."""
    return _Unpickler(file).load()
