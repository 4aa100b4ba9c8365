"""Claims: a folder becomes features at 0.9 of what model and decoder allow one after the other, or faster.

    python -m tests.benchmarks.features

Timed from a cold feature cache: listing, hashing, tracing the network, decoding, the network, writing the cache.
The bound is 1 / (1 / model-only + 1 / decode-only), both warm, in the same round. The second rival is the Keras idiom,
`image_dataset_from_directory` and `predict` with the network's own preprocessing, which keeps nothing. Large
photographs, where decoding dominates, are measured beside the folder given.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from tests.benchmarks.measuring import PHOTOS, Comparison, default_weights, in_turn, main, seconds

if TYPE_CHECKING:
    import keras

BATCH = 32
LARGE = (4000, 3000)  # pixels


def measure(
    source: str,
    pairs: int = 5,
    *,
    image_size: int = 224,
    photographs: int = 48,
    large: tuple[int, int] = LARGE,
) -> list[Comparison]:
    """Rows for the folder of SOURCE and for a folder of large photographs."""
    from tlkit.data.images.sources import read_images

    root = read_images(source).root
    rows = compare(root, pairs, image_size, "crops", bound_target=0.9)
    with tempfile.TemporaryDirectory() as folder:
        draw_photographs(Path(folder), photographs, large)
        rows += compare(Path(folder), pairs, image_size, f"{large[0]}x{large[1]} JPEG")
    return rows


def compare(
    root: Path, pairs: int, image_size: int, what: str, bound_target: float | None = None
) -> list[Comparison]:
    """Both claims on one folder of class folders.

    The bound has no target for the large photographs: they are few, and tracing weighs on them.
    """
    ways, count = make_ways(root, image_size)
    in_turn({name: ways[name] for name in ("model", "decode")}, 1)  # traced once before
    took = in_turn(ways, pairs)
    rate = {name: tuple(count / value for value in values) for name, values in took.items()}
    bound = tuple(count / (m + d) for m, d in zip(took["model"], took["decode"], strict=True))
    alone = ", ".join(f"{name}-only {np.median(rate[name]):.4g} images/s" for name in ("model", "decode"))
    note = f"{what}: n = {count}, MobileNet {image_size}; {alone}."
    return [
        Comparison(
            f"features of {what} / bound",
            "images/s",
            bound,
            rate["ours"],
            bound_target,
            least=True,
            note=note,
        ),
        Comparison(f"features of {what} / Keras", "images/s", rate["keras"], rate["ours"], 1.0, least=True),
    ]


def make_ways(root: Path, image_size: int) -> tuple[dict[str, Callable[[], float]], int]:
    """Four things to time on a folder, and how many images it has."""
    import tensorflow as tf

    from tlkit.backbones.feature_model import feature_model
    from tlkit.data.images.batches import pixel_batches
    from tlkit.data.images.sources import read_images
    from tlkit.tasks.classification.classifier import build_classifier
    from tlkit.tasks.features.extract import Extractor

    images = read_images(str(root))
    model = feature_model(
        build_classifier("mobilenet", images.class_names, image_size, weights=default_weights())[0]
    )
    idiom = keras_model(model, image_size)
    pixels = list(pixel_batches(images.files(), image_size, BATCH))
    traced = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.uint8)],
    )

    def ours() -> None:
        found = read_images(str(root))
        files = found.files()
        hashes = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]
        with tempfile.TemporaryDirectory() as cache:
            Extractor(model, Path(cache))(files, hashes)

    ways = {
        "model": lambda: [traced(batch).numpy() for batch in pixels],
        "decode": lambda: [None for _ in pixel_batches(images.files(), image_size, BATCH)],
        "ours": ours,
        "keras": lambda: keras_features(idiom, root, image_size),
    }
    return {name: lambda way=way: seconds(way) for name, way in ways.items()}, len(images)


def keras_model(model: keras.Model, image_size: int) -> keras.Model:
    """The same network as a Keras user writes it: float pixels, a Rescaling layer, global average pooling."""
    import keras

    images = keras.Input((image_size, image_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = keras.layers.GlobalAveragePooling2D()(model.get_layer("backbone")(x))
    return keras.Model(images, x)


def keras_features(model: keras.Model, root: Path, image_size: int) -> np.ndarray:
    """float32 [n, d]: the idiom, with a `predict` that is traced anew, as ours is."""
    import keras

    data = keras.utils.image_dataset_from_directory(
        root,
        label_mode=None,
        image_size=(image_size, image_size),
        batch_size=BATCH,
        shuffle=False,
        verbose=False,
    )
    return keras.Model(model.input, model.output).predict(data, verbose=0)


def draw_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Two class folders of large JPEGs, no two alike: enlarged photographs, or noise where there are none."""
    found = sorted(PHOTOS.glob("*.*")) if PHOTOS.is_dir() else []
    generator = np.random.default_rng(0)
    for number in range(count):
        if found:
            image = Image.open(found[number % len(found)]).convert("RGB")
        else:
            image = Image.fromarray(generator.integers(0, 256, (96, 128, 3), np.uint8))
        image = image.resize(size, Image.Resampling.BICUBIC)
        image = ImageOps.mirror(image) if number // max(1, len(found)) % 2 else image
        path = folder / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        image.rotate(number / 7, resample=Image.Resampling.BILINEAR).save(path, quality=90)


if __name__ == "__main__":
    main(measure, __doc__ or "")
