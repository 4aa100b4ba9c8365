"""Masks that move with their boxes: a grid over each mask's own window, and the affine map that lays it onto the image.

Whatever moves an image moves the map alone; the grid is read where it is asked for. So masks cost nothing on the way,
none loses an edge by being resampled again and again, and any augmentation that is an affine map moves them.

    masks float32 [b, m, 11]: row of the grid (-1: no mask), map [2, 3] of the grid's unit square into pixels of the
    image, and the frame in which it is seen, left, top, right, bottom
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.masks import rle
from tlkit.data.boxes.masks.faults import MaskRow
from tlkit.data.boxes.masks.resampling import coverage, cut
from tlkit.data.boxes.sizes import LEAST_SIDE, placement

NUMBERS = 11  # of a mask on its way
FULL = 255  # a cell of a grid that lies on the mask as a whole
CELLS = 28  # grids have a multiple of it: the side of what a network learns of a mask (He 2017)
MOST_CELLS = 224
BYTES = 2**30  # that all grids may take
HIDDEN = 1e-3  # pixels: what rounding may push over an edge


# --- from data to grids ---


def grid_side(largest: float, number: int) -> int:
    """Cells a side, so that one is a pixel of the largest mask where that has room: 28 to 224.

    Args:
        largest: Longest side of a mask's window, pixels of the network's square.
        number: Of masks.
    """
    room = (BYTES / max(number, 1)) ** 0.5
    wanted = min(max(largest, CELLS), MOST_CELLS, max(room, CELLS))
    return CELLS * (int(np.ceil(wanted / CELLS)) if wanted < room else int(wanted // CELLS))


def grids_of(
    masks: tuple[MaskRow, ...], sizes: tuple[tuple[int, int], ...], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """All masks as grids, and where each lies in the network's square.

    Args:
        masks: [n] of [m] masks, None where a box has none.
        sizes: [n] (width, height) of the images, pixels.
        size: Side of the square.

    Returns:
        grids: uint8 [t, g, g], the share of each cell that the mask covers, 255 for all of it; t is 1 at least.
        masks: float32 [n, m, 11], m the most of an image and 1 at least.
    """
    most = max([1, *map(len, masks)])
    found = np.tile(blank(size), (len(masks), most, 1))
    windows: list[tuple[rle.Mask, tuple[int, int, int, int]]] = []
    largest = 0.0
    for i, (row, sides) in enumerate(zip(masks, sizes, strict=True)):
        scale, offset = placement(np.array(sides), size)
        for j, mask in enumerate(row):
            window = rle.box(mask) if mask is not None else None
            if mask is None or window is None:
                continue
            low, high = np.array(window[:2]) * scale + offset, np.array(window[2:]) * scale + offset
            largest = max(largest, *(high - low))
            found[i, j, :7] = (len(windows), high[0] - low[0], 0, low[0], 0, high[1] - low[1], low[1])
            windows.append((mask, window))
    side = grid_side(largest, len(windows))
    grids = np.zeros((max(len(windows), 1), side, side), np.uint8)
    for grid, (mask, window) in zip(grids, windows):
        shown = cut(rle.decode(mask), window)
        grid[:] = as_grid(shown, side)
    return grids, found


def as_grid(shown: np.ndarray, side: int) -> np.ndarray:
    """A mask, bool [h, w], that fills its window, as a grid uint8 [side, side]; a cell that is touched is not 0."""
    share = coverage(shown, np.array([0, 0, shown.shape[1], shown.shape[0]]), side, side)
    return np.ceil(np.clip(FULL * share - 1e-3, 0, FULL)).astype(np.uint8)


def blank(size: int) -> np.ndarray:
    """What stands where there is no mask: float32 [11]."""
    return np.array([-1, 1, 0, 0, 0, 1, 0, 0, 0, size, size], np.float32)


# --- on the way ---


def of_batch(masks: tf.Tensor, grids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Masks [b, m, 11] with rows of all grids uint8 [t, g, g] -> with rows of their own, and these [b x m, g, g]."""
    rows = tf.cast(masks[..., 0], tf.int32)
    own = tf.gather(grids, tf.reshape(tf.maximum(rows, 0), [-1]))
    places = tf.reshape(tf.range(tf.size(rows)), tf.shape(rows))
    return _with_rows(masks, tf.where(rows < 0, -1, places)), own


def over_boxes(xyxy: tf.Tensor, rows: tf.Tensor, size: int) -> tf.Tensor:
    """Masks [b, m, 11] whose windows are boxes float32 [b, m, 4] in a square of `size` pixels; rows int32, -1: none."""
    laid = tf.tile(tf.constant(blank(size))[None, None], [tf.shape(xyxy)[0], xyxy.shape[1], 1])
    sides = xyxy[..., 2:] - xyxy[..., :2]
    none = tf.zeros_like(sides[..., 0])
    maps = tf.stack([sides[..., 0], none, xyxy[..., 0], none, sides[..., 1], xyxy[..., 1]], -1)
    there = tf.concat([laid[..., :1], maps, laid[..., 7:]], -1)
    return _with_rows(tf.where((rows >= 0)[..., None], there, laid), rows)


def _with_rows(masks: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.cast(rows, tf.float32)[..., None], masks[..., 1:]], -1)


def moved_corners(xyxy: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Boxes float32 [b, m, 4] under maps float32 [b, 2, 3] that turn by quarters only."""
    corners = tf.reshape(xyxy, [tf.shape(xyxy)[0], -1, 2])
    corners = tf.einsum("bij,bmj->bmi", maps[..., :2], corners) + maps[:, None, :, 2]
    pairs = tf.reshape(corners, [tf.shape(xyxy)[0], tf.shape(xyxy)[1], 2, 2])
    return tf.ensure_shape(tf.concat([tf.reduce_min(pairs, 2), tf.reduce_max(pairs, 2)], 2), xyxy.shape)


def moved(masks: tf.Tensor | None, maps: tf.Tensor, frame: tf.Tensor) -> tf.Tensor | None:
    """Masks [b, m, 11] under maps float32 [b, 2, 3], seen in a frame, which is broadcast to [b, m, 4]; None stays."""
    if masks is None:
        return None
    own = _maps(masks)
    linear = tf.einsum("bij,bmjk->bmik", maps[..., :2], own)  # what is behind, then what is in front of it
    linear += tf.concat([tf.zeros_like(own[..., :2]), tf.ones_like(own[..., 2:])], -1) * maps[:, None, :, 2:]
    seen = moved_corners(masks[..., 7:], maps)
    low = tf.maximum(seen[..., :2], frame[..., :2])
    high = tf.maximum(tf.minimum(seen[..., 2:], frame[..., 2:]), low)
    flat = tf.reshape(linear, [tf.shape(masks)[0], -1, 6])
    return tf.ensure_shape(tf.concat([masks[..., :1], flat, low, high], -1), masks.shape)


def _maps(masks: tf.Tensor) -> tf.Tensor:
    return tf.reshape(masks[..., 1:7], [tf.shape(masks)[0], -1, 2, 3])


def maps_of(masks: tf.Tensor) -> tf.Tensor:
    """The map of each of masks [b, m, 11]: float32 [b, m, 2, 3]; 0 where there is no mask."""
    return tf.where((masks[..., 0] >= 0)[..., None, None], _maps(masks), 0.0)


# --- what is left of them ---


def shown(
    grids: tf.Tensor, masks: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor, none: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What is seen of each mask; the box of one that was cut off becomes that of what is left of its mask.

    Args:
        grids: uint8 [t, g, g].
        masks: float32 [b, m, 11].
        xyxy: float32 [b, m, 4], pixels.
        labels: int32 [b, m].
        none: The label of what is not there.

    Returns:
        Grids uint8 [b, m, g, g], 0 where they are hidden; boxes and labels, -1 and `none` where nothing of a mask is
        left, or less than a box needs.
    """
    maps, frames = _maps(masks), masks[..., 7:]
    known = masks[..., 0] >= 0
    side = grids.shape[1]
    own = tf.gather(grids, tf.maximum(tf.cast(masks[..., 0], tf.int32), 0))
    middles = (tf.range(side, dtype=tf.float32) + 0.5) / side
    # columns run along x, or along y after a quarter turn, and rows along the other
    turned = tf.abs(maps[..., 0, 1]) > tf.abs(maps[..., 0, 0])
    inside = []
    for axis in (0, 1):
        along_y = tf.not_equal(turned, axis == 1)
        step = tf.where(along_y, maps[..., 1, axis], maps[..., 0, axis])[..., None]
        start = tf.where(along_y, maps[..., 1, 2], maps[..., 0, 2])[..., None]
        low = tf.where(along_y, frames[..., 1], frames[..., 0])[..., None]
        high = tf.where(along_y, frames[..., 3], frames[..., 2])[..., None]
        place = start + step * middles
        inside.append((place > low) & (place < high))
    visible = inside[1][..., None] & inside[0][..., None, :] & known[..., None, None]
    own = tf.where(visible, own, tf.zeros([], tf.uint8))
    tight = _boxes_of(own, maps, frames)
    whole = moved_units(maps, tf.constant([0.0, 0.0, 1.0, 1.0]))
    cut_off = tf.reduce_any(
        (whole[..., :2] < frames[..., :2] - HIDDEN) | (whole[..., 2:] > frames[..., 2:] + HIDDEN), -1
    )
    changed = known & cut_off & (labels != none)
    gone = changed & tf.reduce_any(tight[..., 2:] - tight[..., :2] < LEAST_SIDE, -1)
    boxes = tf.where(changed[..., None], tight, xyxy)
    return own, tf.where(gone[..., None], -1.0, boxes), tf.where(gone, none, labels)


def moved_units(maps: tf.Tensor, units: tf.Tensor) -> tf.Tensor:
    """Boxes float32 [..., 4] of unit squares, laid by maps float32 [..., 2, 3] that turn by quarters only."""
    shape = tf.concat([tf.shape(maps)[:-2], [4]], 0)
    each = tf.reshape(tf.broadcast_to(units, shape), [-1, 1, 4])
    return tf.reshape(moved_corners(each, tf.reshape(maps, [-1, 2, 3])), shape)


def _boxes_of(grids: tf.Tensor, maps: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """The smallest box around what is not 0 of grids [b, m, g, g], within frames: float32 [b, m, 4]; none is flat."""
    side = grids.shape[-1]
    ends = []
    for axis in (-2, -1):
        there = tf.reduce_any(grids > 0, axis)
        first = tf.argmax(there, -1, tf.int32)
        last = side - tf.argmax(tf.reverse(there, [-1]), -1, tf.int32)
        any_ = tf.reduce_any(there, -1)
        ends.append((tf.where(any_, first, 0), tf.where(any_, last, 0)))
    units = tf.cast(tf.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], -1), tf.float32) / side
    found = moved_units(maps, units)
    low = tf.clip_by_value(found[..., :2], frames[..., :2], frames[..., 2:])
    return tf.concat([low, tf.clip_by_value(found[..., 2:], frames[..., :2], frames[..., 2:])], -1)


def cut_by_regions(
    grids: tf.Tensor, maps: tf.Tensor, regions: tf.Tensor, objects: tf.Tensor, side: int
) -> tf.Tensor:
    """Masks cut and resampled by regions: what of each cell of a region lies on the mask of an object.

    Args:
        grids: uint8 [b, m, g, g].
        maps: float32 [b, m, 2, 3], of their unit squares into pixels.
        regions: float32 [b, r, 4], pixels.
        objects: int32 [b, r]: place in m.
        side: Cells of a region.

    Returns:
        float32 [b, r, side, side], 0..1, linear between the middles of the grid's cells; 0 outside of its window.
    """
    each = grids.shape[-1]
    maps = tf.gather(maps, objects, batch_dims=1)
    back = tf.linalg.inv(
        tf.where(tf.abs(tf.linalg.det(maps[..., :2]))[..., None, None] > 0, maps[..., :2], tf.eye(2))
    )
    middles = (tf.range(side, dtype=tf.float32) + 0.5) / side
    sides = regions[..., 2:] - regions[..., :2]
    x = regions[..., :1] + sides[..., :1] * middles
    y = regions[..., 1:2] + sides[..., 1:] * middles
    shape = [tf.shape(regions)[0], tf.shape(regions)[1], side, side]
    points = tf.stack([tf.broadcast_to(x[:, :, None], shape), tf.broadcast_to(y[..., None], shape)], -1)
    units = tf.einsum("brij,brhwj->brhwi", back, points - maps[:, :, None, None, :, 2])
    inside = tf.reduce_all((units >= 0) & (units <= 1), -1)
    places = tf.clip_by_value(units * each - 0.5, 0.0, each - 1.0)
    first = tf.floor(places)
    share = places - first
    flat = tf.reshape(grids, [tf.shape(grids)[0], -1])
    start = objects[..., None, None] * (each * each)
    found = 0.0
    for across in (0, 1):
        for down in (0, 1):
            column = tf.minimum(tf.cast(first[..., 0], tf.int32) + across, each - 1)
            row = tf.minimum(tf.cast(first[..., 1], tf.int32) + down, each - 1)
            value = tf.gather(flat, start + row * each + column, batch_dims=1)
            weight = tf.abs(1 - across - share[..., 0]) * tf.abs(1 - down - share[..., 1])
            found += tf.cast(value, tf.float32) * weight
    return tf.where(inside, found / FULL, 0.0)
