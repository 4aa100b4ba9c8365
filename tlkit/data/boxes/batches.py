"""Batches of images with boxes: letterboxed to a square, in an order that follows from (seed, phase, epoch).

An image keeps its aspect; grey fills what is left of the square. Where it was put is written down exactly, so that
boxes go to the network's square and back. Training and the exported model decode and place by the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.boxes.affine import GREY, IGNORED, PADDING, real_boxes
from tlkit.data.boxes.augment import augment_boxes, augment_with_proposals
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.masks import moving
from tlkit.data.boxes.sizes import LEAST_SIDE, new_sides, placement
from tlkit.data.images.batches import MEMORY, Order, file_reader, pixels_by_index
from tlkit.data.images.decoding.decode import JPEG_START, decode
from tlkit.data.images.decoding.headers import equal, first_numbers, orientation

Images = tuple[tf.Tensor, ...]  # pixels, boxes, labels, and grids of new masks where they are asked for
Change = Callable[..., Images]  # of pixels, boxes, labels, frames and a seed; see `training_box_batches`


class Letterboxed(NamedTuple):
    """An image in the network's square, and how it got there.

    Attributes:
        pixels: uint8 [s, s, 3].
        scale: float32 [2]: network pixels per original pixel, x and y.
        offset: float32 [2]: where the image begins in the square, x and y.
        sides: float32 [2]: width and height of the original, upright, pixels.
    """

    pixels: tf.Tensor
    scale: tf.Tensor
    offset: tf.Tensor
    sides: tf.Tensor


def to_network(xyxy: np.ndarray, sides: tuple[int, int], size: int) -> np.ndarray:
    """Boxes float32 [m, 4] of an image of (width, height) in the pixels of the network's square."""
    scale, offset = placement(np.array(sides), size)
    return (np.asarray(xyxy, np.float32) * np.tile(scale, 2) + np.tile(offset, 2)).astype(np.float32)


def to_original(xyxy: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """Boxes float32 [..., m, 4] of the square in the pixels of the original, cut at its edges.

    Args:
        xyxy: In the pixels of the square.
        scale: float32 [..., 2].
        offset: float32 [..., 2].
        sides: float32 [..., 2], width and height.
    """
    twice = [tf.concat([value, value], -1)[..., None, :] for value in (scale, offset, sides)]
    return tf.clip_by_value((xyxy - twice[1]) / twice[0], 0.0, twice[2])


def letterbox(pixels: tf.Tensor, size: int, sides: tf.Tensor | None = None) -> Letterboxed:
    """Put an image into the middle of a grey square.

    Args:
        pixels: uint8 [h, w, 3].
        size: Side of the square.
        sides: float32 [2]: width and height of the original where `pixels` were decoded at a fraction of it.
    """
    sides = tf.cast(tf.shape(pixels)[1::-1], tf.float32) if sides is None else sides
    factor = tf.cast(size, tf.float64) / tf.cast(tf.reduce_max(sides), tf.float64)
    new = tf.maximum(tf.floor(tf.cast(sides, tf.float64) * factor + 0.5), 1)
    width, height = tf.unstack(tf.cast(new, tf.int32))
    resized = _resized(pixels, height, width)
    left, top = (size - width) // 2, (size - height) // 2
    below, right = size - height - top, size - width - left
    framed = tf.pad(resized, [[top, below], [left, right], [0, 0]], constant_values=GREY)
    return Letterboxed(
        tf.ensure_shape(framed, [size, size, 3]),
        tf.cast(new / tf.cast(sides, tf.float64), tf.float32),
        tf.cast(tf.stack([left, top]), tf.float32),
        sides,
    )


def _resized(pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """uint8 [height, width, 3]: averaged over areas where it shrinks, linear where it grows."""
    target = tf.stack([height, width])
    now = tf.shape(pixels)[:2]
    changed = tf.switch_case(
        tf.cast(tf.reduce_any(target != now), tf.int32) + tf.cast(tf.reduce_any(target > now), tf.int32),
        [
            lambda: tf.cast(pixels, tf.float32),
            lambda: tf.image.resize(pixels, target, "area"),
            lambda: tf.image.resize(pixels, target),
        ],
    )
    return tf.cast(changed + 0.5, tf.uint8)


def read_letterboxed(contents: tf.Tensor, size: int) -> Letterboxed:
    """From the bytes of a file, string scalar, to the network's square: the one way in training and in service."""
    pixels = decode(contents, size)
    return letterbox(pixels, size, _upright_sides(contents, pixels))


def _upright_sides(contents: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """float32 [2]: width and height of an image that may have been decoded at a fraction of them."""
    decoded = tf.shape(pixels)[1::-1]
    head = first_numbers(contents, 34)

    def of_jpeg() -> tf.Tensor:
        stored = tf.io.extract_jpeg_shape(contents)[1::-1]
        return tf.where(orientation(contents, head) >= 5, stored[::-1], stored)

    sides = tf.cond(equal(head[:3], JPEG_START), of_jpeg, lambda: decoded)
    return tf.cast(tf.ensure_shape(sides, [2]), tf.float32)


# --- data sets --------------------------------------------------------------------------------------


def network_boxes(boxes: Boxes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All boxes in the pixels of the square, padded to the same number.

    Args:
        boxes: [n] images.
        size: Side of the square.

    Returns:
        xyxy: float32 [n, m, 4]; -1 where there is no box.
        labels: int32 [n, m]: class; -1 padding; -2 ignored (difficult, a crowd, or below two pixels).
    """
    most = max([1, *(len(some) for some in boxes.xyxy)])
    xyxy = np.full((len(boxes), most, 4), PADDING, np.float32)
    labels = np.full((len(boxes), most), PADDING, np.int32)
    for i, (some, kinds, hard, sides) in enumerate(
        zip(boxes.xyxy, boxes.labels, boxes.ignored, boxes.sizes, strict=True)
    ):
        placed = to_network(some, sides, size).reshape(-1, 4)
        small = (placed[:, 2:] - placed[:, :2] < LEAST_SIDE).any(1)
        xyxy[i, : len(some)] = placed
        labels[i, : len(some)] = np.where(np.asarray(hard, bool) | small, IGNORED, kinds)
    return xyxy, labels


def network_proposals(boxes: Boxes, size: int) -> np.ndarray:
    """All proposals in the pixels of the square: float32 [n, p, 4], -1 where there is none; p is 1 at least."""
    every = boxes.proposals or ()
    return padded([to_network(one, sides, size) for one, sides in zip(every, boxes.sizes, strict=True)])


def padded(every: Sequence[np.ndarray]) -> np.ndarray:
    """Proposals [n] float32 [p, 4] of images as one array [n, p, 4], -1 where there is none; p is 1 at least."""
    found = np.full((len(every), max([1, *map(len, every)]), 4), PADDING, np.float32)
    for row, some in zip(found, every, strict=True):
        row[: len(some)] = some
    return found


def proposals_to_network(xyxy: tf.Tensor, read: Letterboxed) -> tf.Tensor:
    """Proposals of images as they are in the pixels of their squares, as `network_proposals` places them.

    Args:
        xyxy: float32 [b, p, 4], pixels of the upright images; what lies over an edge is cut there.
        read: Of the images, stacked.

    Returns:
        float32 [b, p, 4]; -1 where nothing with an area is left.
    """
    scale, offset, sides = (tf.tile(one, [1, 2])[:, None] for one in (read.scale, read.offset, read.sides))
    cut = tf.clip_by_value(xyxy, 0.0, sides)
    return tf.where(real_boxes(cut)[..., None], cut * scale + offset, float(PADDING))


def network_frames(boxes: Boxes, size: int) -> np.ndarray:
    """Where each image lies in its square: int32 [n, 4], left, top, right, bottom."""
    sides = np.array(boxes.sizes, np.int64).reshape(-1, 2)
    offset = placement(sides, size)[1].astype(np.int32)
    return np.concatenate([offset, offset + new_sides(sides.astype(np.float64), size).astype(np.int32)], 1)


def training_box_batches(
    boxes: Boxes,
    order: Order,
    size: int,
    epochs: int,
    *,
    first_epoch: int = 0,
    augmentation: BoxAugmentation | None = None,
    change: Change | None = None,
    memory: int = MEMORY,
) -> tf.data.Dataset:
    """Batches for all steps of all epochs.

    Args:
        boxes: [n] images.
        order: Of the same n.
        size: Side of the network's square.
        epochs: The last epoch, exclusive.
        first_epoch: Where to begin.
        augmentation: Random changes.
        change: (pixels uint8 [b, s, s, 3], boxes float32 [b, m, 4], labels int32 [b, m], frames int32 [b, 4], seed
            int32 [2]) -> pixels, boxes and labels: what happens before augmentation, such as threats pasted into the
            images. A frame is where the image lies in the square: left, top, right, bottom. Where the boxes have masks
            it is asked with `grid`, cells a side, and gives uint8 [b, new, grid, grid] too: the masks of the boxes that
            it adds, over these boxes.
        memory: Images that fit into so many bytes are decoded once.

    Returns:
        uint8 [b, s, s, 3] (smaller where the augmentation crops) and {"boxes": float32 [b, m, 4], "classes": int32
        [b, m]}. Where the boxes have proposals, the former is {"images": that, "proposals": float32 [b, p, 4]}, pixels
        of the square, -1 where there is none; the box of a threat that was pasted in is a proposal too. Where they have
        masks, the latter has "masks" uint8 [b, m, g, g], what is seen of each over its own window (255 for a cell as a
        whole), and "mask_maps" float32 [b, m, 2, 3], from the window's unit square to pixels of the square, 0 for a box
        without a mask; the box of a mask that was cut off is that of what is left of it.

    Raises:
        UsageFault: The augmentation does not suit the size.
    """
    if augmentation:
        augmentation.check(size)
    pixels_of = _pixels_of(boxes, size, memory)
    known = _Known(boxes, size)
    every_frame = tf.constant(network_frames(boxes, size))

    def read(epoch: tf.Tensor, step: tf.Tensor, chosen: tf.Tensor) -> tuple:
        frames = tf.gather(every_frame, chosen)
        return pixels_of(chosen), known.of(chosen), frames, order.step_seed(epoch, step)

    data = _map(order.stream(first_epoch, epochs), read)
    return _map(data, _finisher(change, augmentation)).prefetch(2)


def _finisher(change: Change | None, augmentation: BoxAugmentation | None) -> Callable[..., tuple]:
    """From pixels, what is known, frames and seed of a batch to what is learned of it."""
    changes = augmentation if augmentation and augmentation.active else None

    def finish(pixels: tf.Tensor, of: dict[str, tf.Tensor], frames: tf.Tensor, seed: tf.Tensor) -> tuple:
        if change is not None:
            pixels, of = _changed(change, pixels, of, frames, fold(seed, 1))
        if changes is None:
            return _example(pixels, of)
        given, drawn = (pixels, of["boxes"], of["classes"]), fold(seed, 2)
        if "proposals" in of:
            batch, moved = augment_with_proposals(*given, of["proposals"], drawn, changes)
            of = {**of, "proposals": moved}
        else:
            batch = augment_boxes(*given, drawn, changes, of.get("masks"))
        masks = {} if batch.masks is None else {"masks": batch.masks}
        return _example(batch.pixels, {**of, "boxes": batch.xyxy, "classes": batch.labels, **masks})

    return finish


def _changed(
    change: Change, pixels: tf.Tensor, of: dict[str, tf.Tensor], frames: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """A batch after a change: the boxes that it adds are proposals too, and bring their masks."""
    before, grids = of["classes"].shape[1], of.get("grids")
    asked = {} if grids is None else {"grid": grids.shape[-1]}
    pixels, xyxy, labels, *more = change(pixels, of["boxes"], of["classes"], frames, seed, **asked)
    new = xyxy[:, before:]
    of = {**of, "boxes": xyxy, "classes": labels}
    if "proposals" in of:
        of["proposals"] = tf.concat([of["proposals"], new], 1)
    if grids is not None:
        number, first = tf.shape(grids)[0], tf.reshape(more[0], [-1, *grids.shape[1:]])
        rows = tf.reshape(number + tf.range(tf.shape(first)[0]), tf.shape(labels[:, before:]))
        laid = moving.over_boxes(new, tf.where(labels[:, before:] == PADDING, -1, rows), pixels.shape[1])
        of["grids"], of["masks"] = tf.concat([grids, first], 0), tf.concat([of["masks"], laid], 1)
    return pixels, of


def plain_box_batches(boxes: Boxes, size: int, batch: int = 8) -> tf.data.Dataset:
    """The same in the order of the paths, nothing changed, once."""
    pixels_of = _pixels_of(boxes, size, MEMORY)
    known = _Known(boxes, size)

    def read(chosen: tf.Tensor) -> tuple:
        return _example(pixels_of(chosen), known.of(chosen))

    data = tf.data.Dataset.range(len(boxes), output_type=tf.int32).batch(batch)
    return _map(data, read).prefetch(2)


class _Known:
    """What is known of images in the network's square, to be asked by their numbers."""

    def __init__(self, boxes: Boxes, size: int) -> None:
        xyxy, labels = network_boxes(boxes, size)
        every = {"boxes": xyxy, "classes": labels}
        if boxes.proposals is not None:
            every["proposals"] = network_proposals(boxes, size)
        self.grids = None
        if boxes.masks is not None:
            grids, every["masks"] = moving.grids_of(boxes.masks, boxes.sizes, size)
            self.grids = tf.constant(grids)
        self.every = {name: tf.constant(values) for name, values in every.items()}

    def of(self, chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        """By name: boxes [b, m, 4], classes [b, m], perhaps proposals [b, p, 4], or masks [b, m, 11] and their grids."""
        found = {name: tf.gather(values, chosen) for name, values in self.every.items()}
        if self.grids is not None:
            found["masks"], found["grids"] = moving.of_batch(found["masks"], self.grids)
        return found


def images_of(x: Any) -> tf.Tensor:
    """The pixels of what a detector takes: of x of a batch, with proposals or without."""
    return x["images"] if isinstance(x, dict) else x


def _example(pixels: tf.Tensor, of: dict[str, tf.Tensor]) -> tuple:
    """What a detector takes and what it is taught; see `training_box_batches`."""
    x = {"images": pixels, "proposals": of["proposals"]} if "proposals" in of else pixels
    if "masks" not in of:
        return x, {"boxes": of["boxes"], "classes": of["classes"]}
    grids, xyxy, labels = moving.shown(of["grids"], of["masks"], of["boxes"], of["classes"], PADDING)
    return x, {"boxes": xyxy, "classes": labels, "masks": grids, "mask_maps": moving.maps_of(of["masks"])}


def _map(data: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """In order, two steps side by side; not rewritten by autograph, which takes longer than all the rest."""
    plain = tf.autograph.experimental.do_not_convert(function)
    return data.map(plain, num_parallel_calls=2, deterministic=True)


def _pixels_of(boxes: Boxes, size: int, memory: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return pixels_by_index(
        boxes.files(), file_reader(_letterboxed_pixels, size, autograph=False), size, memory
    )


def _letterboxed_pixels(contents: tf.Tensor, size: int) -> tf.Tensor:
    return read_letterboxed(contents, size).pixels
