"""Threat image projection while a detector learns: other threats in other images at every step.

A change of `training_box_batches`. What it lays in follows from the step's seed and the place in the batch, so that a
training that was stopped goes on with the same threats; how it is pasted in is told by `compositing` and
`superimposition`. Boxes are those of the threat's own mask in the pixels that the network sees.

Source: Bhowmik et al. 2019, section 3.1, done anew for each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from tlkit.core.text import place_of
from tlkit.data.boxes.affine import PADDING
from tlkit.data.boxes.batches import Images
from tlkit.data.boxes.masks.moving import as_grid
from tlkit.data.images.decoding.depth import LUMA
from tlkit.data.xray.transmittance import background_level
from tlkit.tasks.compositing.colour import laid_into
from tlkit.tasks.compositing.composites import ThreatCrop, lay_threats
from tlkit.tasks.compositing.settings import CompositeSettings


class ThreatProjection:
    """Pastes threats into a share of the images of a batch.

    Args:
        crops: By class, the threats.
        settings: How many of them, their poses, the share of the images into which they are laid, and `i0`.
        class_names: [k] of the images; a threat's class is one of them, upper and lower case aside.
        colours: Float32 [3] of `palette`, for images in colour; None: threats are grey.
    """

    def __init__(
        self,
        crops: Mapping[str, Sequence[ThreatCrop]],
        settings: CompositeSettings,
        class_names: Sequence[str],
        colours: np.ndarray | None = None,
    ) -> None:
        self.crops, self.settings, self.colours = crops, settings, colours
        self.places: Mapping[str, int] = {name: place_of(name, class_names) for name in crops}

    def __call__(
        self,
        pixels: tf.Tensor,
        xyxy: tf.Tensor,
        labels: tf.Tensor,
        frames: tf.Tensor,
        seed: tf.Tensor,
        grid: int = 0,
    ) -> Images:
        """See `training_box_batches`; there are `per_bag` more places for boxes."""
        count, room = pixels.shape[0], self.settings.per_bag[1]
        most = labels.shape[1] + room
        shapes = (pixels.shape, [count, most, 4], [count, most], [count, room, grid, grid])
        new = tf.numpy_function(
            partial(self.lay, grid=grid),
            [pixels, xyxy, labels, frames, seed],
            [tf.uint8, tf.float32, tf.int32, tf.uint8],
            stateful=False,
        )
        found = tuple(tf.ensure_shape(one, shape) for one, shape in zip(new, shapes, strict=True))
        return found if grid else found[:3]

    def lay(
        self,
        pixels: np.ndarray,
        xyxy: np.ndarray,
        labels: np.ndarray,
        frames: np.ndarray,
        seed: np.ndarray,
        grid: int = 0,
    ) -> tuple[np.ndarray, ...]:
        """The same with arrays: uint8 [b, s, s, 3], float32 [b, m, 4], int32 [b, m], int32 [b, 4], int32 [2].

        The masks of the new boxes, uint8 [b, per_bag, grid, grid], are the last of four.
        """
        count, room = len(pixels), self.settings.per_bag[1]
        pixels = pixels.copy()
        boxes = np.full((count, room, 4), PADDING, np.float32)
        kinds = np.full((count, room), PADDING, np.int32)
        grids = np.zeros((count, room, grid, grid), np.uint8)
        for i in range(count):
            rng = np.random.default_rng([*(seed.astype(np.int64) % 2**32).tolist(), i])
            if rng.random() >= self.settings.share:
                continue
            left, top, right, bottom = frames[i].tolist()
            window, corner = pixels[i, top:bottom, left:right], np.array([left, top, left, top])
            image = (window @ LUMA / 255).astype(np.float32)
            level = background_level(image) if self.settings.i0 is None else self.settings.i0
            there = xyxy[i][labels[i] != PADDING] - corner
            one = lay_threats(rng, self.crops, self.settings, image, level, there)
            # the image times what the threats let through, in their colours where it has colours
            colours = None if (window == window[..., :1]).all() else self.colours
            window[...] = laid_into(window.astype(np.float32), one.through, colours) + 0.5
            boxes[i, : len(one.labels)] = one.boxes + corner
            kinds[i, : len(one.labels)] = [self.places[name] for name in one.labels]
            for place, mask in enumerate(one.masks if grid else ()):
                grids[i, place] = as_grid(mask, grid)
        return pixels, np.concatenate([xyxy, boxes], 1), np.concatenate([labels, kinds], 1), grids
