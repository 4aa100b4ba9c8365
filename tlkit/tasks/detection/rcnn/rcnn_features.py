"""Features of an image's regions, as R-CNN learns from them: warped, computed once, kept by content.

The rows lie in the same cache as features of whole images. Their key holds the file's content and the box, the file's
name all else that they depend on. An image whose rows are not all there is computed anew as a whole, in batches of the
same rows, so that what is left after a kill has the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tlkit.core.environment import DECODING
from tlkit.data.boxes.batches import read_letterboxed
from tlkit.data.images.decoding.decode import read_contents
from tlkit.tasks.detection.rcnn.rcnn import RcnnDetector
from tlkit.tasks.detection.rcnn.rcnn_warp import warp
from tlkit.tasks.features.cache import FeatureCache, feature_folder
from tlkit.tasks.features.extract import BATCH, NetworkFeatures

VERSION = 1  # raise it when warping changes what a region's features are


class RegionFeatures:
    """What turns regions of files into features.

    Attributes:
        size: Side of the square that regions are in, pixels.
        width: Features of a region, d.
        computed: Regions that went through the network since this was made.

    Args:
        detector: Whose network and crops.
        say: Told in one line when the cache had to be made anew or cannot be used.
    """

    def __init__(self, detector: RcnnDetector, say: Callable[[str], None] | None = None) -> None:
        backbone, side, size = str(detector.settings["backbone"]), detector.side, detector.size
        self.network = NetworkFeatures(detector.backbone, backbone)
        self.width, self.size = self.network.width, size
        about = f"regions {VERSION}.{DECODING} {size} {side} {detector.fill} {self.network.digest}"
        facts = {
            "network": backbone,
            "layer": f"regions of {size} pixels",
            "image_size": str(side),
            "width": str(self.width),
        }
        digest = hashlib.sha256(about.encode()).hexdigest()
        self.cache = FeatureCache(feature_folder() / f"{digest[:32]}.sqlite", facts, say)
        self.computed = 0
        string, boxes = tf.TensorSpec([], tf.string), tf.TensorSpec([None, 4], tf.float32)

        def cut(contents: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
            pixels = read_letterboxed(contents, size).pixels
            owners = tf.zeros(tf.shape(regions)[:1], tf.int32)
            return warp(pixels[None], regions, owners, side, detector.fill)

        self._cut = tf.function(cut, [string, boxes], autograph=False)

    def __call__(self, file: Path | str, regions: np.ndarray) -> np.ndarray:
        """Features float32 [p, d] of regions float32 [p, 4] of an image, in pixels of the detector's square."""
        contents = read_contents(Path(file))
        whole = hashlib.sha256(contents).hexdigest()
        keys = [hashlib.sha256(f"{whole} {box.tobytes().hex()}".encode()).hexdigest() for box in regions]
        rows = np.empty((len(regions), self.width), np.float32)
        if self.cache.read(keys, rows).all():
            return rows
        rows = self.compute(contents, regions)
        self.cache.write(keys, rows)
        return rows

    def compute(self, contents: bytes, regions: np.ndarray) -> np.ndarray:
        """The same from the bytes of a file, past the cache."""
        crops = self._cut(tf.constant(contents), tf.constant(regions, tf.float32)).numpy()
        found = [np.empty((0, self.width), np.float32)]
        found += [self.network(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        self.computed += len(crops)
        return np.concatenate(found)
