"""Random changes of images and their boxes: TensorFlow functions of a seed, without any state.

Flip, turn, scale, stretch, shift and the four places of a mosaic are one affine map an image, so that pixels are
read once and boxes follow by the same numbers. Keras's and KerasCV's layers are not used: their seeds have a state,
some return ragged tensors, and core Keras's RandomCrop puts boxes elsewhere.

Coordinates are continuous: the pixel in column 3 covers 3 to 4, its middle is 3.5.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.sizes import LEAST_SIDE

GREY = 114  # what fills the frame around an image (Redmon's and Jocher's detectors)
IGNORED, PADDING = -2, -1  # labels: neither object nor background; no box
PROPOSAL = -3  # while an image is changed: a region that may hold an object, moved as boxes are
MOST_BOXES = 128  # a mosaic's, or as many as a single image has
CENTRE = (0.3, 0.7)  # where the four images of a mosaic meet, as a share of the side
MIXUP_SPREAD = 32.0  # Beta(32, 32): nearly half and half
SEEK = 0.75  # share of crops that are laid around an object, of images that have one


class Batch(NamedTuple):
    """Images and their boxes.

    Attributes:
        pixels: uint8 [b, s, s, 3].
        xyxy: float32 [b, m, 4]: left, top, right, bottom; -1 where there is no box.
        labels: int32 [b, m]: class, -1 padding, -2 ignored.
    """

    pixels: tf.Tensor
    xyxy: tf.Tensor
    labels: tf.Tensor


def augment_boxes(
    pixels: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, augmentation: BoxAugmentation
) -> Batch:
    """Change a batch; the same seed gives the same change.

    Args:
        pixels: uint8 [b, s, s, 3].
        xyxy: float32 [b, m, 4], pixels of the frame.
        labels: int32 [b, m].
        seed: int32 [2].
        augmentation: What may happen.

    Returns:
        The batch, boxes clipped to the frame, which a crop makes smaller. With mosaic or mixup it has more places for
        boxes.
    """
    batch = _changed(Batch(pixels, xyxy, labels), seed, augmentation)
    return _compact(batch, max(labels.shape[1], MOST_BOXES))


def augment_with_proposals(
    pixels: tf.Tensor,
    xyxy: tf.Tensor,
    labels: tf.Tensor,
    proposals: tf.Tensor,
    seed: tf.Tensor,
    augmentation: BoxAugmentation,
) -> tuple[Batch, tf.Tensor]:
    """The same with regions that may hold an object, each of which moves exactly as a box in its place would.

    Args:
        pixels: As for `augment_boxes`, and so are the others.
        xyxy: Likewise.
        labels: Likewise.
        proposals: float32 [b, p, 4], pixels of the frame; -1 where there is none.
        seed: Likewise.
        augmentation: Likewise.

    Returns:
        The batch, and proposals float32 [b, p, 4] cut at the frame, those that are left first; four times as many places
        with mosaic, twice with mixup.
    """
    kinds = tf.where(real_boxes(proposals), PROPOSAL, PADDING)
    together = Batch(pixels, tf.concat([xyxy, proposals], 1), tf.concat([labels, kinds], 1))
    batch = _changed(together, seed, augmentation)
    own = batch.labels == PROPOSAL
    left = tf.where(own[..., None], batch.xyxy, float(PADDING))
    order = tf.argsort(tf.cast(~own, tf.int32), axis=1, stable=True)
    times = batch.labels.shape[1] // together.labels.shape[1]
    rest = Batch(
        batch.pixels,
        tf.where(own[..., None], float(PADDING), batch.xyxy),
        tf.where(own, PADDING, batch.labels),
    )
    known = labels.shape[1]
    return (
        _compact(rest, min(max(known, MOST_BOXES), known * times)),
        tf.gather(left, order[:, : proposals.shape[1] * times], batch_dims=1),
    )


def real_boxes(xyxy: tf.Tensor) -> tf.Tensor:
    """Which boxes float32 [..., 4] have an area, bool [...]; padding has none."""
    return tf.reduce_all(xyxy[..., 2:] > xyxy[..., :2], -1)


def _changed(batch: Batch, seed: tf.Tensor, augmentation: BoxAugmentation) -> Batch:
    """All that may happen, one thing after the other."""
    if augmentation.crop and augmentation.moves and not (augmentation.mosaic or augmentation.mixup):
        batch = _moved_and_cropped(batch, seed, augmentation)
    else:
        if augmentation.mosaic:
            batch = _mosaic(batch, fold(seed, 0), augmentation)
        elif augmentation.moves:
            batch = moved(batch, _placements_of(batch, seed, augmentation), augmentation.least_visible)
        if augmentation.mixup:
            batch = _mixup(batch, fold(seed, 1), augmentation.mixup)
        if augmentation.crop:
            maps = crop_maps(batch, fold(seed, 3), augmentation.crop)
            batch = moved(batch, maps, augmentation.least_visible, augmentation.crop)
    if augmentation.gamma or augmentation.brightness or augmentation.contrast:
        batch = batch._replace(pixels=_toned(batch.pixels, fold(seed, 2), augmentation))
    return batch


# --- places -----------------------------------------------------------------------------------------


def _placements_of(batch: Batch, seed: tf.Tensor, augmentation: BoxAugmentation) -> tf.Tensor:
    return placements(fold(seed, 0), tf.shape(batch.pixels)[0], batch.pixels.shape[1], augmentation)


def placements(seed: tf.Tensor, count: tf.Tensor, size: int, augmentation: BoxAugmentation) -> tf.Tensor:
    """One random map an image: float32 [b, 2, 3], new (x, y) = map @ (x, y, 1), in pixels."""
    draw = _drawer(seed, count)
    factors = _factors(draw, augmentation)
    spread = tf.abs(1 - factors) / 2 + augmentation.shift  # [b, 2], as a share of the side
    away = (draw(3, 2) * 2 - 1) * spread if augmentation.resizes else tf.zeros([count, 2])
    return centred_map(_orientation(draw, augmentation), factors, away * size, size)


def _drawer(seed: tf.Tensor, count: tf.Tensor):
    """(number, columns) -> float32 [b, columns], uniform 0..1."""
    return lambda number, columns: tf.random.stateless_uniform([count, columns], fold(seed, number))


def _factors(draw, augmentation: BoxAugmentation) -> tf.Tensor:
    """float32 [b, 2]: by how much width and height grow; small and large are equally likely (log-uniform)."""
    low, high = (tf.math.log(float(value)) for value in augmentation.scale)
    scale = tf.exp(low + draw(0, 1) * (high - low))
    bend = tf.exp((draw(1, 1) * 2 - 1) * tf.math.log(1.0 + augmentation.stretch) / 2)
    return tf.concat([scale * bend, scale / bend], 1)


def _orientation(draw, augmentation: BoxAugmentation) -> tf.Tensor:
    """float32 [b, 2, 2]: a random one of the wanted flips and quarter turns."""
    chance = draw(2, 3)
    across = augmentation.flip in {"horizontal", "both"}
    down = augmentation.flip in {"vertical", "both"}
    signs = [tf.where((chance[:, i] < 0.5) & wanted, -1.0, 1.0) for i, wanted in ((0, across), (1, down))]
    mirror = tf.linalg.diag(tf.stack(signs, 1))
    quarters = tf.cast(chance[:, 2] * 4, tf.int32) * int(augmentation.turn)
    turns = tf.constant(
        [[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]], tf.float32
    )
    return tf.linalg.matmul(tf.gather(turns, quarters), mirror)


def centred_map(orientation: tf.Tensor, factors: tf.Tensor, away: tf.Tensor, size: int) -> tf.Tensor:
    """Turn about the middle of the frame, scale, and put the middle `away` from where it was.

    Args:
        orientation: float32 [b, 2, 2].
        factors: float32 [b, 2], of width and height after the turn.
        away: float32 [b, 2], pixels.
        size: Side of the frame.

    Returns:
        float32 [b, 2, 3].
    """
    linear = factors[..., None] * orientation
    middle = tf.constant([size / 2, size / 2], tf.float32)
    shift = middle + away - tf.linalg.matvec(linear, middle)
    return tf.concat([linear, shift[..., None]], 2)


def moved(batch: Batch, maps: tf.Tensor, least_visible: float, size: int | None = None) -> Batch:
    """Images and boxes under affine maps float32 [b, 2, 3], whose linear part turns by quarters only.

    Args:
        batch: Of images [b, s, s, 3].
        maps: Old pixels to new ones.
        least_visible: See `BoxAugmentation`.
        size: Side of the new frame; s if None.
    """
    size = size or batch.pixels.shape[1]
    frame = tf.constant([0, 0, size, size], tf.float32)
    xyxy, labels = move_boxes(batch.xyxy, batch.labels, maps, frame, least_visible)
    return Batch(move_pixels(batch.pixels, maps, size), xyxy, labels)


def move_pixels(pixels: tf.Tensor, maps: tf.Tensor, size: int | None = None) -> tf.Tensor:
    """uint8 [b, s, s, 3] -> [b, size, size, 3] under maps float32 [b, 2, 3], interpolated linearly; grey fills it up."""
    size = size or pixels.shape[1]
    linear = tf.linalg.inv(maps[..., :2])
    half = tf.constant([0.5, 0.5], tf.float32)
    # the operation wants: old index = A new index + c, and a pixel's index is its middle less a half
    shift = tf.linalg.matvec(linear, half - maps[..., 2]) - half
    rows = tf.concat([linear, shift[..., None]], 2)
    transforms = tf.concat([tf.reshape(rows, [-1, 6]), tf.zeros([tf.shape(rows)[0], 2])], 1)
    found = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=transforms,
        output_shape=[size, size],
        fill_value=float(GREY),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(tf.cast(found + 0.5, tf.uint8), [pixels.shape[0], size, size, 3])


def move_boxes(
    xyxy: tf.Tensor, labels: tf.Tensor, maps: tf.Tensor, frame: tf.Tensor, least_visible: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes float32 [b, m, 4] and labels [b, m] under maps float32 [b, 2, 3], clipped to a frame."""
    corners = tf.reshape(xyxy, [tf.shape(xyxy)[0], -1, 2])
    corners = tf.einsum("bij,bmj->bmi", maps[..., :2], corners) + maps[:, None, :, 2]
    pairs = tf.reshape(corners, [tf.shape(xyxy)[0], tf.shape(xyxy)[1], 2, 2])
    whole = tf.concat([tf.reduce_min(pairs, 2), tf.reduce_max(pairs, 2)], 2)
    return clipped(tf.ensure_shape(whole, xyxy.shape), labels, frame, least_visible)


def clipped(
    whole: tf.Tensor, labels: tf.Tensor, frame: tf.Tensor, least_visible: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cut boxes at a frame: what is too small is dropped, what is mostly outside is ignored.

    Args:
        whole: float32 [b, m, 4].
        labels: int32 [b, m].
        frame: float32, broadcast to [b, m, 4].
        least_visible: Share of the area that must be left.

    Returns:
        Boxes (-1 where dropped) and labels (-1 where dropped, -2 where ignored).
    """
    frame = tf.broadcast_to(frame, tf.shape(whole))
    low, high = frame[..., :2], frame[..., 2:]
    cut = tf.concat([tf.clip_by_value(whole[..., i : i + 2], low, high) for i in (0, 2)], -1)
    sides, old = cut[..., 2:] - cut[..., :2], whole[..., 2:] - whole[..., :2]
    share = tf.reduce_prod(sides, -1) / tf.maximum(tf.reduce_prod(old, -1), 1e-6)
    kept = (labels != PADDING) & tf.reduce_all(sides >= LEAST_SIDE, -1)
    hidden = (share < least_visible) & (labels != PROPOSAL)  # a proposal is a region, whatever it shows
    labels = tf.where(kept, tf.where(hidden, IGNORED, labels), PADDING)
    return tf.where(kept[..., None], cut, float(PADDING)), labels


# --- crops ------------------------------------------------------------------------------------------


def _moved_and_cropped(batch: Batch, seed: tf.Tensor, augmentation: BoxAugmentation) -> Batch:
    """What moving whole images and cutting squares out of them gives, of which only the squares are computed."""
    maps = _placements_of(batch, seed, augmentation)
    size, least = batch.pixels.shape[1], augmentation.least_visible
    frame = tf.constant([0, 0, size, size], tf.float32)
    there = Batch(batch.pixels, *move_boxes(batch.xyxy, batch.labels, maps, frame, least))
    cuts = crop_maps(there, fold(seed, 3), augmentation.crop)
    frame = tf.constant([0, 0, augmentation.crop, augmentation.crop], tf.float32)
    xyxy, labels = move_boxes(there.xyxy, there.labels, cuts, frame, least)
    both = tf.concat([maps[..., :2], maps[..., 2:] + cuts[..., 2:]], 2)  # a cut only shifts
    return Batch(move_pixels(batch.pixels, both, augmentation.crop), xyxy, labels)


def crop_maps(batch: Batch, seed: tf.Tensor, crop: int) -> tf.Tensor:
    """Maps float32 [b, 2, 3] that put random squares (`crop_corners`) where the image begins: whole pixels."""
    low = crop_corners(batch, seed, crop)
    return tf.concat([tf.eye(2, batch_shape=[tf.shape(low)[0]]), -low[..., None]], 2)


def crop_corners(batch: Batch, seed: tf.Tensor, crop: int) -> tf.Tensor:
    """Left and top of a random square of side `crop` in each image: float32 [b, 2], whole numbers.

    `SEEK` of the images with an object show one of theirs, any as likely as another, whole where it fits; the
    others are cut anywhere.
    """
    count, room = tf.shape(batch.pixels)[0], float(batch.pixels.shape[1] - crop)
    draw = _drawer(seed, count)
    real = tf.cast(batch.labels >= 0, tf.float32)
    chosen = tf.argmax(real * (0.5 + draw(0, tf.shape(real)[1])), 1)
    box = tf.gather(batch.xyxy, chosen, batch_dims=1)
    sought = (tf.reduce_max(real, 1) > 0) & (draw(1, 1)[:, 0] < SEEK)
    ends = tf.clip_by_value(tf.stack([box[:, 2:] - crop, box[:, :2]], 1), 0.0, room)  # [b, 2 ends, x and y]
    ends = tf.where(sought[:, None, None], ends, tf.constant([[0.0, 0.0], [room, room]]))
    low, high = tf.reduce_min(ends, 1), tf.reduce_max(ends, 1)
    return tf.floor(low + draw(2, 2) * (high - low) + 0.5)


# --- several images --------------------------------------------------------------------------------


def _mosaic(batch: Batch, seed: tf.Tensor, augmentation: BoxAugmentation) -> Batch:
    """Some images of four, the others moved as ever. The other three come from the same batch."""
    count, size = tf.shape(batch.pixels)[0], batch.pixels.shape[1]
    draw = _drawer(fold(seed, 100), count)
    four = draw(0, 1)[:, 0] < augmentation.mosaic
    centre = tf.round((CENTRE[0] + draw(1, 2) * (CENTRE[1] - CENTRE[0])) * size)  # [b, 2]
    parts = []
    for quarter in range(4):
        chosen = _partners(fold(seed, 101, quarter), count) if quarter else tf.range(count)
        source = Batch(*(tf.gather(values, chosen) for values in batch))
        own = placements(fold(seed, quarter), count, size, augmentation)
        parts.append(_quarter(source, own, quarter, four, centre, augmentation.least_visible))
    pixels = parts[0][0].pixels
    for part, mask in parts[1:]:
        pixels = tf.where(mask[..., None], part.pixels, pixels)
    xyxy = tf.concat([part.xyxy for part, _ in parts], 1)
    return Batch(pixels, xyxy, tf.concat([part.labels for part, _ in parts], 1))


def _quarter(
    source: Batch, own: tf.Tensor, quarter: int, four: tf.Tensor, centre: tf.Tensor, least_visible: float
) -> tuple[Batch, tf.Tensor]:
    """Image number `quarter` of a mosaic (half as large, one corner at the centre), and the pixels it owns.

    Where no mosaic is wanted, number 0 is the moved image and owns everything, the others own nothing.
    """
    size = source.pixels.shape[1]
    right, below = quarter % 2, quarter // 2
    corner = centre + tf.constant([right - 1, below - 1], tf.float32) * (size / 2)
    halved = tf.concat([own[..., :2] / 2, (own[..., 2] / 2 + corner)[..., None]], 2)
    maps = tf.where(four[:, None, None], halved, own)
    low = tf.where(tf.constant([right, below]) == 1, centre, 0.0)
    high = tf.where(tf.constant([right, below]) == 1, float(size), centre)
    low = tf.where(four[:, None], low, 0.0)
    high = tf.where(four[:, None], high, 0.0 if quarter else float(size))
    frame = tf.concat([low, high], 1)[:, None, :]
    xyxy, labels = move_boxes(source.xyxy, source.labels, maps, frame, least_visible)
    steps = tf.range(size, dtype=tf.float32)[None] + 0.5
    inside = [(steps > low[:, i, None]) & (steps < high[:, i, None]) for i in (0, 1)]
    mask = inside[1][:, :, None] & inside[0][:, None, :]  # [b, y, x]
    return Batch(move_pixels(source.pixels, maps), xyxy, labels), mask


def _mixup(batch: Batch, seed: tf.Tensor, share: float) -> Batch:
    """Blend some images with another of the batch; the boxes of both stay."""
    count = tf.shape(batch.pixels)[0]
    blended = _drawer(fold(seed, 0), count)(0, 1)[:, 0] < share
    gammas = tf.random.stateless_gamma([2, count], fold(seed, 1), alpha=MIXUP_SPREAD)
    weight = tf.where(blended, gammas[0] / (gammas[0] + gammas[1]), 1.0)[:, None, None, None]
    chosen = _partners(fold(seed, 2), count)
    first, second = (tf.cast(p, tf.float32) for p in (batch.pixels, tf.gather(batch.pixels, chosen)))
    pixels = tf.cast(first * weight + second * (1 - weight) + 0.5, tf.uint8)
    theirs = blended[:, None] & (chosen != tf.range(count))[:, None]
    labels = tf.where(theirs, tf.gather(batch.labels, chosen), PADDING)
    xyxy = tf.where((labels == PADDING)[..., None], float(PADDING), tf.gather(batch.xyxy, chosen))
    return Batch(pixels, tf.concat([batch.xyxy, xyxy], 1), tf.concat([batch.labels, labels], 1))


def _partners(seed: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """int32 [b]: for each image another one of the batch, at the same random distance for all."""
    distance = tf.random.stateless_uniform([], seed, 1, tf.maximum(count, 2), tf.int32)
    return (tf.range(count) + distance) % count


def _compact(batch: Batch, capacity: int) -> Batch:
    """Boxes first, padding last; where there are more than `capacity`, the largest stay."""
    if batch.labels.shape[1] is not None and batch.labels.shape[1] <= 1:
        return batch
    sides = batch.xyxy[..., 2:] - batch.xyxy[..., :2]
    areas = tf.where(batch.labels == PADDING, -1.0, tf.reduce_prod(sides, -1))
    order = tf.argsort(areas, axis=1, direction="DESCENDING", stable=True)[:, :capacity]
    xyxy, labels = (tf.gather(values, order, batch_dims=1) for values in batch[1:])
    return Batch(batch.pixels, xyxy, labels)


def _toned(pixels: tf.Tensor, seed: tf.Tensor, augmentation: BoxAugmentation) -> tf.Tensor:
    """uint8 [b, s, s, 3] with another exponent, brightness (a factor) and contrast (about the image's mean)."""
    draw = _drawer(seed, tf.shape(pixels)[0])
    values = tf.cast(pixels, tf.float32)
    gain, bend, power = (
        tf.exp((draw(number, 1) * 2 - 1) * tf.math.log(1.0 + most))[..., None, None]
        for number, most in enumerate((augmentation.brightness, augmentation.contrast, augmentation.gamma))
    )
    if augmentation.gamma:  # costs a logarithm a value
        values = 255 * tf.pow(values / 255, power)
    mean = tf.reduce_mean(values, [1, 2, 3], keepdims=True)
    changed = ((values - mean) * bend + mean) * gain
    return tf.cast(tf.clip_by_value(changed + 0.5, 0, 255), tf.uint8)
