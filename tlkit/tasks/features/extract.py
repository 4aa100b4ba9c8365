"""Each image's features, computed once and cached by content.

What computes them is a `Featurizer`: a Keras network up to a layer, a hand-made family, an ONNX network. The key
of a row is the sha256 of the file's bytes (and of the random change, for augmented views); the cache file is named
by the featurizer's digest: network, weights, layer, image size and the version of decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.environment import DECODING
from tlkit.core.seeds import fold
from tlkit.data.images.augment import Augmentation, Augmenter
from tlkit.data.images.batches import pixel_batches
from tlkit.tasks.features.cache import FeatureCache, feature_folder

VERSION = (
    3  # raise it when preprocessing changes what a file's features are; decoding has a number of its own
)
BATCH = 32
ROWS = BATCH + 1  # of a network's step, whatever is asked
Change = Callable[
    [tf.Tensor, tf.Tensor], tf.Tensor
]  # (pixels uint8 [b, s, s, 3], number of the batch) -> pixels


class Featurizer(Protocol):
    """What turns pixels into features.

    Attributes:
        name: As typed by the user.
        image_size: Side s of the square input, pixels.
        width: Features an image, d.
        digest: Hexadecimal; two featurizers with the same digest give the same features.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def image_size(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [b, s, s, 3] -> float32 [b, d]."""
        ...


class NetworkFeatures:
    """A Keras network as a `Featurizer`.

    Args:
        model: uint8 [b, s, s, 3] -> float32 [b, d].
        name: As typed by the user.
        layer: Which of its layers the features are.
    """

    def __init__(self, model: keras.Model, name: str = "", layer: str = "pooled") -> None:
        self.name, self.layer = name or model.name, layer
        self.image_size, self.width = model.input_shape[1], model.output_shape[1]
        self.digest = network_digest(model, layer)
        signature = [tf.TensorSpec([None, self.image_size, self.image_size, 3], tf.uint8)]
        self.model = model
        self._run = tf.function(lambda images: model(images, training=False), input_signature=signature)

    def __call__(self, pixels: np.ndarray | tf.Tensor) -> np.ndarray:
        """uint8 [b, s, s, 3] -> float32 [b, d].

        A step has the same number of rows always, and the last of them is nobody's: kernels sum another length, and
        the end of an array, in another order. So an image's last bits depend neither on its company nor on what the
        cache knew before (but for networks with squeeze-and-excitation, whose kernels cut a batch elsewhere too).
        """
        count = len(pixels)
        if not count:
            return np.empty((0, self.width), np.float32)
        rows = np.zeros((max(ROWS, count + 1), *pixels.shape[1:]), np.uint8)
        rows[:count] = pixels
        return self._run(rows).numpy()[:count]


def network_digest(model: keras.Model, layer: str = "pooled") -> str:
    """sha256 over the names, shapes and values of a model's weights, its input size and the layer, in hex."""
    digest = hashlib.sha256(f"{model.input_shape} {model.dtype_policy.name} {layer}".encode())
    for variable in model.variables:
        digest.update(f"{variable.path.split('/', 1)[-1]} {variable.shape}".encode())
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def features_of_images(features: Featurizer, images: np.ndarray) -> np.ndarray:
    """Features float32 [n, d] of images float32 [n, s, s, c] in 0..1, grey or RGB, that are in no file."""
    rows = [np.empty((0, features.width), np.float32)]
    for start in range(0, len(images), BATCH):
        some = tf.constant(images[start : start + BATCH], tf.float32)
        some = some if some.shape[-1] == 3 else tf.image.grayscale_to_rgb(some)
        pixels = tf.image.resize(some, [features.image_size] * 2, antialias=True) * 255.0
        rows.append(features(tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8).numpy()))
    return np.concatenate(rows)


class Extractor:
    """Turns files into features, asking the cache first.

    Args:
        features: What computes them; a Keras model is taken as `NetworkFeatures`.
        cache: Folder of the cache; None is the person's own.
        say: Told in one line when the cache had to be made anew or cannot be used.
    """

    def __init__(
        self,
        features: Featurizer | keras.Model,
        cache: Path | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.features = NetworkFeatures(features) if isinstance(features, keras.Model) else features
        self.size, self.width = self.features.image_size, self.features.width
        facts = {
            "network": self.features.name,
            "layer": getattr(self.features, "layer", ""),
            "image_size": str(self.size),
            "width": str(self.width),
        }
        digest = hashlib.sha256(f"{VERSION}.{DECODING} {self.features.digest}".encode()).hexdigest()
        self.cache = FeatureCache((cache or feature_folder()) / f"{digest[:32]}.sqlite", facts, say)
        self.computed = 0  # images that went through the network since this was made

    def __call__(
        self, files: Sequence[str], sha256: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Features of files as they are.

        Args:
            files: [n] paths.
            sha256: [n] content hashes.
            progress: Called with the number of images done.

        Returns:
            float32 [n, d].
        """
        return self._extract(files, list(sha256), lambda pixels, _: pixels, progress)

    def views(
        self,
        files: Sequence[str],
        sha256: Sequence[str],
        count: int,
        augmentation: Augmentation,
        seed: int,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """`count` views of each file: the plain one, then randomly changed ones.

        Returns:
            float32 [count, n, d]. The change of an image depends on seed, view, place in the list and batch, so
            the key of a changed view holds the hash of the whole list.
        """
        found = [self(files, sha256, progress)]
        if count < 2:
            return np.stack(found)
        changer = Augmenter(augmentation.without_mixing, self.size)
        targets = tf.zeros([BATCH, 1])
        whole = hashlib.sha256("".join(sha256).encode()).hexdigest()
        for view in range(1, count):
            base = fold(tf.constant([seed % 2**31, view]), 0)
            salt = f"{whole} {augmentation} {seed} {view} {BATCH}"
            keys = [
                hashlib.sha256(f"{digest} {salt} {i}".encode()).hexdigest() for i, digest in enumerate(sha256)
            ]

            def change(pixels: tf.Tensor, step: tf.Tensor, base: tf.Tensor = base) -> tf.Tensor:
                return changer(pixels, targets[: tf.shape(pixels)[0]], fold(base, step))[0]

            found.append(self._extract(files, keys, change, progress, whole_batches=True))
        return np.stack(found)

    def _extract(
        self,
        files: Sequence[str],
        keys: Sequence[str],
        change: Change,
        progress: Callable[[int], None] | None = None,
        *,
        whole_batches: bool = False,
    ) -> np.ndarray:
        """Rows by key from the cache; what is missing goes through `change` and the network, batch by batch.

        A row's last bits can depend on the batch that it is computed in (of some engines, and of networks with
        squeeze-and-excitation). So an image that is there twice is computed once, and a batch is kept as a whole: what
        is left after a kill falls into the same batches as before.
        """
        rows = np.empty((len(files), self.width), np.float32)
        missing = np.flatnonzero(~self.cache.read(keys, rows))
        if not len(missing):
            return rows
        if whole_batches:  # a change depends on its batch: all or nothing
            missing = np.arange(len(files))
        firsts = {keys[i]: i for i in reversed(missing.tolist())}
        computed = sorted(firsts.values())
        done = len(files) - len(computed)
        batches = pixel_batches([str(files[i]) for i in computed], self.size, BATCH).enumerate()
        for number, pixels in enumerate(batches.map(lambda step, x: change(x, tf.cast(step, tf.int32)))):
            chosen = computed[number * BATCH : (number + 1) * BATCH]
            rows[chosen] = self.features(pixels.numpy())
            self.cache.write([keys[i] for i in chosen], rows[chosen])
            done += len(chosen)
            self.computed += len(chosen)
            if progress:
                progress(done)
        rows[missing] = rows[[firsts[keys[i]] for i in missing.tolist()]]
        return rows
