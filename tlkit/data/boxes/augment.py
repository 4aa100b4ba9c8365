"""Random changes of images and their boxes: TensorFlow functions of a seed, without any state.

Flip, turn, scale, stretch, shift and the four places of a mosaic are one affine map an image (`boxes.affine`).
"""

from __future__ import annotations

import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.boxes.affine import (
    PADDING,
    PROPOSAL,
    Batch,
    centred_map,
    move_objects,
    move_pixels,
    moved,
    real_boxes,
)
from tlkit.data.boxes.augment_settings import BoxAugmentation

MOST_BOXES = 128  # a mosaic's, or as many as a single image has
CENTRE = (0.3, 0.7)  # where the four images of a mosaic meet, as a share of the side
MIXUP_SPREAD = 32.0  # Beta(32, 32): nearly half and half
SEEK = 0.75  # share of crops that are laid around an object, of images that have one


def augment_boxes(
    pixels: tf.Tensor,
    xyxy: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    augmentation: BoxAugmentation,
    masks: tf.Tensor | None = None,
) -> Batch:
    """Change a batch; the same seed gives the same change.

    Args:
        pixels: uint8 [b, s, s, 3].
        xyxy: float32 [b, m, 4], pixels of the frame.
        labels: int32 [b, m].
        seed: int32 [2].
        augmentation: What may happen.
        masks: float32 [b, m, 11]: where the masks lie (`masks.moving`); they move as the boxes do.

    Returns:
        The batch, boxes clipped to the frame, which a crop makes smaller. With mosaic or mixup it has more places for
        boxes.
    """
    batch = _changed(Batch(pixels, xyxy, labels, masks), seed, augmentation)
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


# --- crops ------------------------------------------------------------------------------------------


def _moved_and_cropped(batch: Batch, seed: tf.Tensor, augmentation: BoxAugmentation) -> Batch:
    """What moving whole images and cutting squares out of them gives, of which only the squares are computed."""
    maps = _placements_of(batch, seed, augmentation)
    size, least = batch.pixels.shape[1], augmentation.least_visible
    frame = tf.constant([0, 0, size, size], tf.float32)
    there = move_objects(batch, maps, frame, least)
    cuts = crop_maps(there, fold(seed, 3), augmentation.crop)
    frame = tf.constant([0, 0, augmentation.crop, augmentation.crop], tf.float32)
    both = tf.concat([maps[..., :2], maps[..., 2:] + cuts[..., 2:]], 2)  # a cut only shifts
    pixels = move_pixels(batch.pixels, both, augmentation.crop)
    return move_objects(there, cuts, frame, least)._replace(pixels=pixels)


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
        source = Batch(*(tf.gather(values, chosen) for values in batch.parts))
        own = placements(fold(seed, quarter), count, size, augmentation)
        parts.append(_quarter(source, own, quarter, four, centre, augmentation.least_visible))
    pixels = parts[0][0].pixels
    for part, mask in parts[1:]:
        pixels = tf.where(mask[..., None], part.pixels, pixels)
    every = zip(*(part.parts[1:] for part, _ in parts), strict=True)
    return Batch(pixels, *(tf.concat(values, 1) for values in every))


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
    there = move_objects(source, maps, frame, least_visible)
    steps = tf.range(size, dtype=tf.float32)[None] + 0.5
    inside = [(steps > low[:, i, None]) & (steps < high[:, i, None]) for i in (0, 1)]
    mask = inside[1][:, :, None] & inside[0][:, None, :]  # [b, y, x]
    return there._replace(pixels=move_pixels(source.pixels, maps)), mask


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
    more = (xyxy, labels, *(tf.gather(values, chosen) for values in batch.parts[3:]))
    return Batch(pixels, *(tf.concat(pair, 1) for pair in zip(batch.parts[1:], more, strict=True)))


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
    return Batch(batch.pixels, *(tf.gather(values, order, batch_dims=1) for values in batch.parts[1:]))


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
