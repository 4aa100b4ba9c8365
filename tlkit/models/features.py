"""Each picture's pooled features, computed once and cached by content.

The key of a row is the sha256 of the file's bytes (and of the random change, for augmented views); the cache file
is named by the network, its weights and the image size. SQLite makes it safe to share between processes and to
interrupt: what was written stays, what was not is computed the next time.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.augment import Augmentation, Augmenter
from tlkit.data.cache import cache_folder
from tlkit.data.images import fold, pixel_batches

VERSION = 1  # raise it when decoding or preprocessing changes what a file's features are
BATCH = 32
Change = Callable[
    [tf.Tensor, tf.Tensor], tf.Tensor
]  # (pixels uint8 [b, s, s, 3], number of the batch) -> pixels


class FeatureCache:
    """Rows of float32 features by key, in one SQLite file.

    Args:
        file: Where it lies; made where it is missing, and made anew where it is damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            self._prepare()

    def _prepare(self) -> None:
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS features (key TEXT PRIMARY KEY, row BLOB NOT NULL)")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.file, timeout=60)) as database, database:
            yield database

    def read(self, keys: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Fill float32 [n, d] `rows` in place; returns bool [n], which were there."""
        found = np.zeros(len(keys), bool)
        with self._open() as database:
            for index, key in enumerate(keys):
                hit = database.execute("SELECT row FROM features WHERE key = ?", (key,)).fetchone()
                if hit and len(hit[0]) == rows.shape[1] * 4:
                    rows[index] = np.frombuffer(hit[0], np.float32)
                    found[index] = True
        return found

    def write(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Store float32 [n, d] rows in one transaction."""
        values = [(key, row.tobytes()) for key, row in zip(keys, rows, strict=True)]
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", values)


def network_digest(model: keras.Model) -> str:
    """sha256 over the names, shapes and values of a model's weights and its input size, in hex."""
    digest = hashlib.sha256(f"{VERSION} {model.input_shape} {model.dtype_policy.name}".encode())
    for variable in model.variables:
        digest.update(f"{variable.path.split('/', 1)[-1]} {variable.shape}".encode())
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


class Extractor:
    """Turns files into features, asking the cache first.

    Args:
        model: uint8 [b, s, s, 3] -> float32 [b, d].
        cache: Folder of the cache; None keeps nothing.
    """

    def __init__(self, model: keras.Model, cache: Path | None = None) -> None:
        self.model = model
        self.size, self.width = model.input_shape[1], model.output_shape[1]
        folder = cache or cache_folder() / "features"
        self.cache = FeatureCache(folder / f"{network_digest(model)[:32]}.sqlite")
        signature = [tf.TensorSpec([None, self.size, self.size, 3], tf.uint8)]
        self._run = tf.function(lambda images: model(images, training=False), input_signature=signature)
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
        """Rows by key from the cache; what is missing goes through `change` and the network, batch by batch."""
        rows = np.empty((len(files), self.width), np.float32)
        missing = np.flatnonzero(~self.cache.read(keys, rows))
        if not len(missing):
            return rows
        if whole_batches:  # a change depends on its batch: all or nothing
            missing = np.arange(len(files))
        done = len(files) - len(missing)
        batches = pixel_batches([str(files[i]) for i in missing.tolist()], self.size, BATCH).enumerate()
        for number, pixels in enumerate(batches.map(lambda step, x: change(x, tf.cast(step, tf.int32)))):
            chosen = missing[number * BATCH : (number + 1) * BATCH]
            rows[chosen] = self._run(pixels).numpy()
            self.cache.write([keys[i] for i in chosen.tolist()], rows[chosen])
            done += len(chosen)
            self.computed += len(chosen)
            if progress:
                progress(done)
        return rows
