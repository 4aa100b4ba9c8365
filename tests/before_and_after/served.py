"""SavedModels below the current folder: what each says that it takes and gives, and what it answers; needs no tlkit."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image


def image(number: int) -> bytes:
    pixels = np.random.default_rng([7, number]).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def questions(name: str, specs: dict[str, Any]) -> dict[str, Any] | None:
    """What a signature is asked; None where this module does not know what to ask."""
    if not specs:
        return {}
    asked = {}
    for key, spec in specs.items():
        if (
            name in {"serving_default", "instances", "features"}
            and spec.dtype == tf.string
            and not specs.keys() - {key, "proposals"}
        ):
            asked[key] = tf.constant([image(0), image(1)])
        elif name == "pixels" and spec.dtype == tf.uint8:
            asked[key] = tf.random.stateless_uniform([1, 48, 40, 3], (1, 2), 0, 256, tf.int32)
            asked[key] = tf.cast(asked[key], tf.uint8)
        elif key == "proposals":  # of as many images as the others
            boxes = [[3, 4, 30, 30], [10, 2, 40, 38], [-1, -1, -1, -1]]
            asked[key] = tf.constant([boxes] * (1 if name == "pixels" else 2), tf.float32)
        else:
            return None
    return asked


def told(value: Any) -> str:
    array = value.numpy()
    flat = array.ravel().tolist()
    content = (
        repr(flat).encode() if array.dtype == object else array.tobytes()
    )  # of objects: not their addresses
    shown = flat if len(flat) <= 40 else hashlib.sha256(content).hexdigest()[:16]
    return f"{array.dtype} {list(array.shape)} {shown}"


def main() -> int:
    for folder in sorted(file.parent for file in Path().rglob("saved_model.pb")):
        model = tf.saved_model.load(str(folder))
        for name, signature in sorted(model.signatures.items()):
            specs = signature.structured_input_signature[1]
            print(folder.as_posix(), name, {k: (v.dtype.name, v.shape) for k, v in sorted(specs.items())})
            print(
                "   gives",
                {k: (v.dtype.name, v.shape) for k, v in sorted(signature.structured_outputs.items())},
            )
            asked = questions(name, specs)
            if asked is not None:
                for key, value in sorted(signature(**asked).items()):
                    print("  ", key, told(value))
    return 0


if __name__ == "__main__":
    sys.exit(main())
