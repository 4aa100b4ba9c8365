"""ROIAlign and ROI max pooling: boxes of any size cut out of a map, or of a pyramid, as grids of one size.

    maps float [b, h, w, c], boxes float32 [b, r, 4] in pixels -> float [b, r, side, side, c]

Gradients reach the maps and never the boxes. What of a box lies outside of the image is cut off first; a box without an
area is the point that it lies on. Heights and widths of maps are known when a graph is built.

Sources: Girshick 2015 (Fast R-CNN, section 2.1); He 2017 (Mask R-CNN, section 3, "RoIAlign"); Lin 2017 (Feature pyramid
networks, section 4.2, equation 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

SIDE = 7  # of the grid (Girshick 2015, section 2.1: H = W = 7 for VGG16)
SAMPLES = 2  # a cell and axis, so four a cell (He 2017, section 3)
CANONICAL, CANONICAL_LEVEL = (
    224,
    4,
)  # pixels, and k0 of equation 1: a box of ImageNet's size belongs to stride 16


def levels_of(boxes: tf.Tensor, strides: Sequence[int]) -> tf.Tensor:
    """Which map of a pyramid each box is cut out of: k = floor(4 + log2(sqrt(w h) / 224)) (Lin 2017, equation 1).

    Args:
        boxes: float32 [..., 4], pixels.
        strides: Of the maps, each twice the one before, powers of two; stride 2^k is level k.

    Returns:
        int32 [...]: 0 for the first map; boxes that are too small or too large for all belong to the first or last.
    """
    area = tf.reduce_prod(tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), -1)
    # where k goes up by one: exact, where a logarithm is rounded
    bounds = [(CANONICAL * stride / 2**CANONICAL_LEVEL) ** 2 for stride in strides[1:]]
    return tf.reduce_sum(tf.cast(area[..., None] >= tf.constant(bounds, tf.float32), tf.int32), -1)


def roi_align(
    maps: Sequence[tf.Tensor], boxes: tf.Tensor, strides: Sequence[int], side: int = SIDE
) -> tf.Tensor:
    """ROIAlign: each cell is the mean of four bilinear samples of the map, nothing is rounded.

    The middle of the map's first cell lies half a stride from the edge of the image, and a box is not widened however
    small it is ("aligned").

    Args:
        maps: float [b, h, w, c] each, finest first; one, or a pyramid, in which `levels_of` says whose a box is.
        boxes: float32 [b, r, 4], pixels.
        strides: Pixels a cell of each map.
        side: Cells of the grid, a side.

    Returns:
        float [b, r, side, side, c], of the maps' dtype.
    """
    boxes = tf.stop_gradient(_clipped(boxes, maps[0], strides[0]))
    levels = levels_of(boxes, strides)

    @tf.custom_gradient
    def align(*values: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            return _spread(upstream, values, boxes, levels, strides)

        return _sampled(values, boxes, levels, strides, side), gradient

    return tf.cast(align(*(tf.cast(x, tf.float32) for x in maps)), maps[0].dtype)


def _clipped(boxes: tf.Tensor, x: tf.Tensor, stride: int) -> tf.Tensor:
    """Boxes within the image of a map."""
    edges = tf.constant([x.shape[2], x.shape[1]] * 2, tf.float32) * stride
    return tf.clip_by_value(tf.cast(boxes, tf.float32), 0.0, edges)


def _samples(boxes: tf.Tensor, stride: tf.Tensor | int, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The first and the last sample of each axis, float32 [b, r, 2] (x, y) each, in cells of a map: 0 is a middle."""
    low, high = boxes[..., :2] / stride, boxes[..., 2:] / stride
    margin = (high - low) / (2 * side * SAMPLES)  # samples lie in the middle of their share of a cell
    return low + margin - 0.5, high - margin - 0.5


def _sampled(
    maps: Sequence[tf.Tensor], boxes: tf.Tensor, levels: tf.Tensor, strides: Sequence[int], side: int
) -> tf.Tensor:
    """The grids, by samples at equal distances from a canvas that holds all maps."""
    canvas, corners = _canvas(maps)
    height, width, count = canvas.shape[1], canvas.shape[2], side * SAMPLES
    stride = tf.gather(tf.constant(strides, tf.float32), levels)[..., None]
    corner = tf.gather(tf.constant(corners, tf.float32), levels)
    first, last = (found + corner for found in _samples(boxes, stride, side))
    # that operation takes places as shares of the way from the first cell's middle to the last one's
    places = tf.stack([first[..., 1], first[..., 0], last[..., 1], last[..., 0]], -1)
    places /= tf.constant([height - 1, width - 1] * 2, tf.float32)
    batch, each = tf.shape(boxes)[0], tf.shape(boxes)[1]
    whose = tf.repeat(tf.range(batch), each)
    found = tf.image.crop_and_resize(canvas, tf.reshape(places, [-1, 4]), whose, [count, count])
    found = tf.nn.avg_pool2d(found, SAMPLES, SAMPLES, "VALID")
    return tf.reshape(found, [batch, each, side, side, canvas.shape[3]])


def _canvas(maps: Sequence[tf.Tensor]) -> tuple[tf.Tensor, list[tuple[int, int]]]:
    """All maps on one, each with its outermost cells repeated once; and x, y of each map's first cell on it.

    The finest is on the left, the others one below another on its right.
    """
    framed = [tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC") for x in maps]
    corners, left, top = [(1, 1)], framed[0].shape[2], 0
    for x in framed[1:]:
        corners.append((left + 1, top + 1))
        top += x.shape[1]
    height = max(framed[0].shape[1], top)
    columns = [framed[0]]
    if len(framed) > 1:
        width = max(x.shape[2] for x in framed[1:])
        columns.append(tf.concat([_padded(x, x.shape[1], width) for x in framed[1:]], 1))
    return tf.concat([_padded(x, height, x.shape[2]) for x in columns], 2), corners


def _padded(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """With zeros on the right and below."""
    return tf.pad(x, [[0, 0], [0, height - x.shape[1]], [0, width - x.shape[2]], [0, 0]])


def _spread(
    upstream: tf.Tensor,
    maps: Sequence[tf.Tensor],
    boxes: tf.Tensor,
    levels: tf.Tensor,
    strides: Sequence[int],
) -> list[tf.Tensor]:
    """Gradients of the maps, of that of the grids [b, r, side, side, c], as products of matrices.

    Sampling is linear and its axes are apart: grid = Y map X', so the map's gradient is Y' grid X, added up over the
    boxes. Scattering samples one by one (the gradient of `crop_and_resize`) adds them in another order in each run.
    """
    shape = tf.shape(upstream)
    batch, each, side, channels = shape[0], shape[1], upstream.shape[2], upstream.shape[4]
    found = []
    for level, (x, stride) in enumerate(zip(maps, strides, strict=True)):
        height, width = x.shape[1], x.shape[2]
        first, last = _samples(boxes, stride, side)
        own = tf.cast(levels == level, tf.float32)[..., None, None]
        rows = _weights(first[..., 1], last[..., 1], height, side) * own
        columns = _weights(first[..., 0], last[..., 0], width, side)
        wide = tf.matmul(columns[:, :, None], upstream, transpose_a=True)  # [b, r, side, w, c]
        wide = tf.reshape(wide, [batch, each * side, width * channels])
        spread = tf.matmul(tf.reshape(rows, [batch, each * side, height]), wide, transpose_a=True)
        found.append(tf.reshape(spread, [batch, height, width, channels]))
    return found


def _weights(first: tf.Tensor, last: tf.Tensor, cells: int, side: int) -> tf.Tensor:
    """float32 [b, r, side, cells]: how much of each cell of the map is in each of the grid, along one axis."""
    count = side * SAMPLES
    steps = tf.range(count, dtype=tf.float32) / (count - 1)
    places = first[..., None] + (last - first)[..., None] * steps
    places = tf.clip_by_value(places, 0.0, cells - 1.0)[..., None]
    share = tf.maximum(1 - tf.abs(places - tf.range(cells, dtype=tf.float32)), 0.0)  # bilinear
    return (share[:, :, 0::SAMPLES] + share[:, :, 1::SAMPLES]) / SAMPLES


def roi_max_pool(x: tf.Tensor, boxes: tf.Tensor, stride: int, side: int = SIDE) -> tf.Tensor:
    """ROI max pooling: edges rounded to cells of the map, the largest value of each of side x side parts.

    As Girshick 2015 and its released code quantise: the box is made of whole cells, of at least one, its first and last
    the rounded ones of its first and last pixel (halves away from zero); part i of h cells goes from floor(i h / side)
    to ceil((i + 1) h / side), so parts may share cells.

    Args:
        x: float [b, h, w, c].
        boxes: float32 [b, r, 4], pixels, right and bottom exclusive.
        stride: Pixels a cell.
        side: Parts a side.

    Returns:
        float [b, r, side, side, c], of the map's dtype.
    """
    boxes = tf.stop_gradient(_clipped(boxes, x, stride))
    top, bottom = _parts(boxes[..., 1], boxes[..., 3], x.shape[1], stride, side)
    left, right = _parts(boxes[..., 0], boxes[..., 2], x.shape[2], stride, side)
    tables, deepest = _tables(x, (x.shape[1] + side - 1) // side + 1, (x.shape[2] + side - 1) // side + 1)
    tall, wide = _power(bottom - top)[..., :, None], _power(right - left)[..., None, :]
    rows, columns = (top[..., :, None], left[..., None, :])
    lowest = bottom[..., :, None] - tf.bitwise.left_shift(1, tall)
    farthest = right[..., None, :] - tf.bitwise.left_shift(1, wide)
    table = (tall * deepest + wide) * (x.shape[1] * x.shape[2])
    # any rectangle is covered by four of the largest squares of a power of two that fit into it
    found = None
    for row in (rows, lowest):
        for column in (columns, farthest):
            value = tf.gather(tables, table + row * x.shape[2] + column, axis=1, batch_dims=1)
            found = value if found is None else tf.maximum(found, value)
    return found


def _parts(
    low: tf.Tensor, high: tf.Tensor, cells: int, stride: int, side: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """First cell and the one after the last of each part along one axis, int32 [b, r, side] each."""
    start = tf.floor(low / stride + 0.5)
    end = tf.maximum(tf.floor((high - 1) / stride + 0.5), start)  # of the last pixel
    start, length = tf.cast(start, tf.int32)[..., None], tf.cast(end - start, tf.int32)[..., None] + 1
    part = tf.range(side)
    first = start + part * length // side
    after = start - (-(part + 1) * length // side)  # rounded up
    first = tf.clip_by_value(first, 0, cells - 1)
    return first, tf.maximum(tf.clip_by_value(after, 0, cells), first + 1)


def _power(length: tf.Tensor) -> tf.Tensor:
    """The largest i with 2^i <= length, int32 of at least 1."""
    return tf.reduce_sum(tf.cast(length[..., None] >= [2**i for i in range(1, 16)], tf.int32), -1)


def _tables(x: tf.Tensor, tallest: int, widest: int) -> tuple[tf.Tensor, int]:
    """Largest values of every rectangle of 2^i x 2^j cells by its first cell: [b, i x j x h x w, c], and how many j."""
    found = []
    height, width = x.shape[1], x.shape[2]
    deepest = widest.bit_length()
    for i in range(tallest.bit_length()):
        if i:
            x = tf.maximum(x, _moved(x, 2 ** (i - 1), 1))
        y = x
        for j in range(deepest):
            if j:
                y = tf.maximum(y, _moved(y, 2 ** (j - 1), 2))
            found.append(y)
    batch = tf.shape(x)[0]
    return tf.reshape(tf.stack(found, 1), [batch, len(found) * height * width, x.shape[3]]), deepest


def _moved(x: tf.Tensor, by: int, axis: int) -> tf.Tensor:
    """The values that lie so many cells further along an axis; past the edge the last ones."""
    by = min(by, x.shape[axis])
    places = tf.minimum(tf.range(x.shape[axis]) + by, x.shape[axis] - 1)
    return tf.gather(x, places, axis=axis)
