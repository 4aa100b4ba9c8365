"""Random changes inside the GAN: real and fake images are changed alike before the discriminator sees them.

The discriminator cannot learn a hundred images by heart when it never sees the same one twice, and the generator learns
through the changes because each is differentiable with respect to the pixels. Moves are products with selection
matrices (one 1 in each row), which a CPU does faster than a gather and whose gradient is again a product.

Sources: Zhao 2020 (DiffAugment), sections 3 and 4; Karras 2020 (ADA), section 2.2 for the probability p.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.settings import AUGMENTATIONS

SHIFT = 1 / 8  # of the side, to each side (DiffAugment)
HOLE = 1 / 2  # of the side (DiffAugment)


def check_policy(policy: Sequence[str]) -> None:
    """Raise UsageFault where a word of the policy is none of AUGMENTATIONS."""
    for word in policy:
        if word not in AUGMENTATIONS:
            raise UsageFault(
                f"--augmentation {word} is not known.", f"Choose from {', '.join(AUGMENTATIONS)}."
            )


def augment(
    images: tf.Tensor,
    seed: tf.Tensor,
    p: tf.Tensor | float = 1.0,
    policy: Sequence[str] = AUGMENTATIONS[:2],
) -> tf.Tensor:
    """Change each image by its own draw; each named operation is applied with probability p.

    A translated image continues its edge pixels. The paper pads zeros, which on the bright background of a
    radiograph is a grey band: an edge that is in no real image and the strongest thing in sight.
    The hole of a cutout stays at zero, as in the paper: it has to be seen as a hole.
    Drawing "no turn" or a shift of zero is part of an operation, so at p = 1 a quarter is still not turned.

    Args:
        images: float [b, s, s, c], -1..1.
        seed: int32 [2]; the same seed gives the same changes.
        p: Probability, 0..1.
        policy: Words of AUGMENTATIONS, in any order; they are applied in the order of AUGMENTATIONS, moves first.

    Returns:
        Images of the same shape and dtype.
    """
    p = tf.cast(p, tf.float32)
    if {"translation", "flip", "turn"} & set(policy):
        images = _move(images, fold(seed, 0), p, policy)
    if "colour" in policy:
        images = _recolour(images, fold(seed, 1), p)
    if "cutout" in policy:
        images = _cut(images, fold(seed, 2), p)
    return images


def _gate(count: tf.Tensor, seed: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """Bool [count]: to which images an operation is applied."""
    return tf.random.stateless_uniform([count], fold(seed, 99)) < p


def _draw(gate: tf.Tensor, seed: tf.Tensor, least: float, most: float, rest: float = 0.0) -> tf.Tensor:
    """float32 [count]: uniform between least and most where the gate is open, else `rest`."""
    return tf.where(gate, tf.random.stateless_uniform(tf.shape(gate), seed, least, most), rest)


def _move(images: tf.Tensor, seed: tf.Tensor, p: tf.Tensor, policy: Sequence[str]) -> tf.Tensor:
    """Right angles, left-right flips and whole-pixel shifts, as one choice of rows and one of columns."""
    count, side = tf.shape(images)[0], images.shape[1]
    rows = columns = tf.tile(tf.range(side)[None], [count, 1])  # [b, s]: which row or column comes here
    if "translation" in policy:
        reach, own = int(side * SHIFT + 0.5), fold(seed, 0)
        gate = _gate(count, own, p)
        # the whole part of a draw from -reach to reach + 1: each shift is equally likely
        shifts = [_whole(_draw(gate, fold(own, axis), -reach, reach + 1)) for axis in (0, 1)]
        rows, columns = (tf.clip_by_value(rows + shift, 0, side - 1) for shift in shifts)
    if "flip" in policy:
        own = fold(seed, 1)
        flipped = _whole(_draw(_gate(count, own, p), own, 0, 2)) == 1
        columns = tf.where(flipped, side - 1 - columns, columns)
    if "turn" in policy:
        own = fold(seed, 2)
        quarters = _whole(_draw(_gate(count, own, p), own, 0, 4))
        # A quarter turn is a transposition and a flip; see numpy.rot90.
        rows = tf.where((quarters == 1) | (quarters == 2), side - 1 - rows, rows)
        columns = tf.where(quarters >= 2, side - 1 - columns, columns)
        odd = tf.reshape(quarters % 2 == 1, [-1, 1, 1, 1])
        images = tf.where(odd, tf.transpose(images, [0, 2, 1, 3]), images)
    chosen_rows = tf.one_hot(rows, side, dtype=images.dtype)
    chosen_columns = tf.one_hot(columns, side, dtype=images.dtype)
    # rows x image x columns': differentiable in the pixels, not in the moves
    return tf.einsum("bri,bijc,bkj->brkc", chosen_rows, images, chosen_columns)


def _whole(values: tf.Tensor) -> tf.Tensor:
    """Float [b] -> whole numbers int32 [b, 1], to go with lines of pixels [b, s]."""
    return tf.cast(tf.floor(values), tf.int32)[:, None]


def _recolour(images: tf.Tensor, seed: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """Brightness +-0.5, saturation times 0..2 (colour images), contrast times 0.5..1.5 (DiffAugment)."""
    gate = _gate(tf.shape(images)[0], seed, p)

    def drawn(number: int, reach: float) -> tf.Tensor:
        values = _draw(gate, fold(seed, number), -reach, reach)
        return tf.cast(tf.reshape(values, [-1, 1, 1, 1]), images.dtype)

    images += drawn(0, 0.5)
    if images.shape[-1] > 1:
        # saturation: away from the pixel's own grey
        images += (images - tf.reduce_mean(images, -1, keepdims=True)) * drawn(1, 1.0)
    # contrast: away from the image's mean
    return images + (images - tf.reduce_mean(images, [1, 2, 3], keepdims=True)) * drawn(2, 0.5)


def _cut(images: tf.Tensor, seed: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """Set a square of half the side to zero; its centre may lie anywhere in the image."""
    count, side = tf.shape(images)[0], images.shape[1]
    hole = int(side * HOLE + 0.5)
    within = []
    for axis in (0, 1):
        centre = tf.floor(tf.random.stateless_uniform([count, 1], fold(seed, axis), 0, side))
        offset = tf.range(side, dtype=tf.float32) - centre + hole // 2  # 0 .. hole - 1 inside
        within.append((offset >= 0) & (offset < hole))
    holes = within[0][:, :, None] & within[1][:, None, :] & _gate(count, seed, p)[:, None, None]
    return images * tf.cast(~holes, images.dtype)[..., None]
