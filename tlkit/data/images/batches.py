"""Batches of images: tf.data pipelines whose order is a function of (seed, phase, epoch).

Training reads one long stream over all epochs, each element of which follows from its epoch and step: nothing
has to be remembered to go on after an interruption, and the files of any step can be named.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.images.augment import Augmentation, Augmenter
from tlkit.data.images.dataset import Images
from tlkit.data.images.decoding.decode import decode_and_resize, read_file
from tlkit.data.images.decoding.pixel_limit import most_pixels
from tlkit.errors import DataFault

Reader = Callable[[tf.Tensor], tf.Tensor]
MEMORY = 512 * 1024 * 1024  # bytes; decoded images of a part up to this size stay in memory


@dataclass(frozen=True)
class Order:
    """In which order the images are learned.

    Attributes:
        labels: int32 [n].
        batch: Images a step.
        seed: The run's seed.
        phase: Name of the training phase; each has its own order.
        balance: "none" or "weights": every image once an epoch; "resample": n draws, classes equally likely.
        draws: Images an epoch; None: n. With another number the images still come in turn, each once before any
            comes again, and an epoch begins where the last one ended.
    """

    labels: np.ndarray
    batch: int
    seed: int
    phase: str
    balance: str = "none"
    draws: int | None = None

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-self._drawn // self.batch)

    @property
    def _drawn(self) -> int:
        return len(self.labels) if self.draws is None else self.draws

    def step_seed(self, epoch: tf.Tensor | int, step: tf.Tensor | int) -> tf.Tensor:
        """int32 [2]: the seed of everything random in this step."""
        return fold(self.base_seed(), epoch, step)

    def base_seed(self) -> tf.Tensor:
        """int32 [2]: the seed of the phase."""
        return tf.constant([self.seed % 2**31, zlib.crc32(self.phase.encode()) % 2**31], tf.int32)

    def indices(self, epoch: tf.Tensor | int) -> tf.Tensor:
        """int32 [n], or [draws]: the images of an epoch, in the order of their use."""
        if self.balance != "resample":
            return self._shuffled(epoch) if self.draws is None else self._in_turn(epoch)
        share = 1.0 / np.bincount(self.labels)[self.labels]
        logits = tf.math.log(tf.constant(share[None], tf.float32))
        seed = fold(self.base_seed(), epoch, -1)
        return tf.random.stateless_categorical(logits, self._drawn, seed, dtype=tf.int32)[0]

    def _shuffled(self, turn: tf.Tensor | int) -> tf.Tensor:
        """int32 [n]: all images once."""
        seed = fold(self.base_seed(), turn, -1)
        return tf.random.experimental.stateless_shuffle(tf.range(len(self.labels)), seed)

    def _in_turn(self, epoch: tf.Tensor | int) -> tf.Tensor:
        """int32 [draws]: an epoch's piece of one turn after the other."""
        count, drawn = len(self.labels), self._drawn
        start = tf.cast(epoch, tf.int32) * drawn
        turn = start // count
        several = tf.concat([self._shuffled(turn + k) for k in range(-(-drawn // count) + 1)], 0)
        return several[start - turn * count :][:drawn]

    def of_step(self, epoch: int, step: int) -> np.ndarray:
        """int32 [b]: which images were in this batch."""
        return self.indices(epoch).numpy()[step * self.batch : (step + 1) * self.batch]

    def stream(self, first_epoch: int, epochs: int) -> tf.data.Dataset:
        """(epoch, step, indices [b]) for every step of the epochs from `first_epoch` on."""

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            order = tf.data.Dataset.from_tensor_slices(self.indices(epoch)).batch(self.batch)
            return order.enumerate().map(lambda step, chosen: (epoch, tf.cast(step, tf.int32), chosen))

        return tf.data.Dataset.range(first_epoch, epochs, output_type=tf.int32).flat_map(one_epoch)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """float32 [k]: n / (k * n_class), so that every class weighs the same in the loss."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)


def training_batches(
    images: Images,
    order: Order,
    image_size: int,
    epochs: int,
    *,
    first_epoch: int = 0,
    augmentation: Augmentation | None = None,
    memory: int = MEMORY,
) -> tf.data.Dataset:
    """uint8 [b, s, s, 3], one-hot float32 [b, k] (and weights float32 [b]) for all steps of all epochs.

    Images that fit into `memory` bytes are decoded once; others are read anew in every epoch.
    """
    labels, classes = tf.constant(images.labels), len(images.class_names)
    augmenter = Augmenter(augmentation, image_size) if augmentation and augmentation.active else None
    pixels_of = pixels_by_index(images.files(), _read_one(image_size), image_size, memory)

    def read(epoch: tf.Tensor, step: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, ...]:
        targets = tf.one_hot(tf.gather(labels, chosen), classes)
        return pixels_of(chosen), targets, order.step_seed(epoch, step)

    def change(pixels: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augmenter(pixels, targets, seed) if augmenter else (pixels, targets)

    data = order.stream(first_epoch, epochs).map(read, num_parallel_calls=2, deterministic=True)
    return weighted(data.map(change), images.labels, classes, order.balance).prefetch(2)


def pixels_by_index(files: list[str], read: Reader, size: int, memory: int) -> Reader:
    """From indices [b] to pixels uint8 [b, s, s, 3]: of files decoded once, or of files of a batch read in turn.

    Args:
        files: [n].
        read: From one file to uint8 [s, s, 3].
        size: s.
        memory: Bytes; images that fit into so many are decoded once.
    """
    if _bytes(files, size) <= memory:
        pixels = tf.constant(_decoded(files, read, size))
        return lambda chosen: tf.gather(pixels, chosen)
    every, spec = tf.constant(files), tf.TensorSpec([size, size, 3], tf.uint8)
    return lambda chosen: tf.map_fn(
        read, tf.gather(every, chosen), fn_output_signature=spec, parallel_iterations=8
    )


def _bytes(files: list[str], size: int) -> int:
    return len(files) * size**2 * 3


def decoded(images: Images, image_size: int) -> np.ndarray:
    """uint8 [n, s, s, 3]: all images, in the order of the paths.

    Raises:
        DataFault: A file that passed the look does not decode after all; it is named.
    """
    return _decoded(images.files(), _read_one(image_size), image_size)


def _decoded(files: list[str], read: Reader, size: int) -> np.ndarray:
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    done = 0
    try:
        for batch in _in_order(files, read):
            pixels[done : done + len(batch)] = batch.numpy()
            done += len(batch)
    except tf.errors.InvalidArgumentError:
        raise _undecodable(files, read) from None
    return pixels


def _undecodable(files: list[str], read: Reader) -> DataFault:
    """The first file that the decoder refuses, as a fault that names it."""
    for file in files:
        try:
            read(tf.constant(file))
        except tf.errors.InvalidArgumentError:
            break
    return DataFault(f"{file} cannot be decoded.", "Save it again as PNG or JPEG, or take it out.")


def weighted(data: tf.data.Dataset, labels: np.ndarray, classes: int, balance: str) -> tf.data.Dataset:
    """Add a weight to each example of (x, one-hot) where `balance` is "weights"."""
    if balance != "weights":
        return data
    weights = tf.constant(class_weights(labels, classes))
    return data.map(lambda x, target: (x, target, tf.linalg.matvec(target, weights)))


def plain_batches(images: Images, image_size: int, batch: int = 32, memory: int = MEMORY) -> tf.data.Dataset:
    """uint8 [b, s, s, 3] and one-hot float32 [b, k] in the order of the paths, nothing changed."""
    targets = tf.data.Dataset.from_tensor_slices(tf.one_hot(images.labels, len(images.class_names)))
    if _bytes(images.files(), image_size) <= memory:
        pixels = tf.data.Dataset.from_tensor_slices(decoded(images, image_size)).batch(batch)
    else:
        pixels = pixel_batches(images.files(), image_size, batch)
    return tf.data.Dataset.zip(pixels, targets.batch(batch)).prefetch(2)


def pixel_batches(files: list[str], image_size: int, batch: int = 32) -> tf.data.Dataset:
    """uint8 [b, s, s, 3] of files, in order."""
    return _in_order(files, _read_one(image_size), batch)


def _in_order(files: list[str], read: Reader, batch: int = 32) -> tf.data.Dataset:
    data = tf.data.Dataset.from_tensor_slices(
        tf.constant(files, tf.string)
    )  # strings, even if there are none
    data = data.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.batch(batch).prefetch(2)


def _read_one(image_size: int) -> Reader:
    return file_reader(decode_and_resize, image_size)


def file_reader(
    decode: Callable[[tf.Tensor, int], tf.Tensor], size: int, *, autograph: bool = True
) -> Reader:
    """File -> uint8 [s, s, 3]; one function for all pipelines, because tracing the decoder takes half a second.

    Args:
        decode: From the bytes of a file and s.
        size: s.
        autograph: Whether `decode` has statements that TensorFlow is to rewrite.
    """
    return _traced(decode, size, autograph, most_pixels())


@functools.cache
def _traced(decode: Callable, size: int, autograph: bool, _most: int) -> Reader:
    """`file_reader` under a limit in pixels, which stands in the graph."""
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(
        lambda file: decode(read_file(file), size), input_signature=signature, autograph=autograph
    )
