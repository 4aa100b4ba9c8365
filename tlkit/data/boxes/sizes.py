"""Small objects: how large boxes are once an image is letterboxed into a network's square, and which are too small.

A box with a side below two pixels there is neither learned nor evaluated: it is ignored.
"""

from __future__ import annotations

import numpy as np

from tlkit.data.boxes.dataset import Boxes

LEAST_SIDE = 2.0  # pixels of the network's square; smaller boxes are ignored
USUAL_SIZE = 320  # pixels: --image-size of the detectors where none is given
MULTIPLE = 32  # of which a detector's side is one
LARGEST = 1280  # pixels: beyond it squares cut out of the images (--crop) learn at a bearable price


def placement(sides: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where images come to lie in a square: scale and offset, each float32 [..., 2] (x, y).

    Args:
        sides: [..., 2]: width and height, pixels.
        size: Side of the square.
    """
    sides = np.asarray(sides, np.float64)
    new = new_sides(sides, size)
    return (new / sides).astype(np.float32), ((size - new) // 2).astype(np.float32)


def new_sides(sides: np.ndarray, size: int) -> np.ndarray:
    """Width and height of images of `sides`, float64 [..., 2], once they fit a square: float64 [..., 2]."""
    return np.maximum(np.floor(sides * (size / sides.max(-1, keepdims=True)) + 0.5), 1)


def least_sides(boxes: Boxes, size: int) -> np.ndarray:
    """float32 [m]: the shorter side of every box that counts (difficult ones do not), pixels of the square."""
    found = [np.zeros(0, np.float32)]
    for some, hard, sides in zip(boxes.xyxy, boxes.ignored, boxes.sizes, strict=True):
        placed = (some[:, 2:] - some[:, :2]) * placement(np.array(sides), size)[0]
        found.append(placed[~np.asarray(hard, bool)].min(1, initial=np.inf).astype(np.float32))
    return np.concatenate(found)


def tiny_boxes(boxes: Boxes, size: int) -> str:
    """A sentence if boxes are too small to be learned in a square of `size` pixels, with the size to take; else empty.

    Args:
        boxes: The images.
        size: Side of the network's square.
    """
    sides = least_sides(boxes, size)
    tiny = int((sides < LEAST_SIDE).sum())
    if not tiny:
        return ""
    needed = size * LEAST_SIDE / max(float(sides.min()), 1e-3)
    wanted = int(np.ceil(needed / MULTIPLE)) * MULTIPLE
    if (least_sides(boxes, wanted) < LEAST_SIDE).any():
        wanted += MULTIPLE  # sides are rounded to whole pixels of the square
    crop = " with --crop, which learns squares cut out of so large images" if wanted > LARGEST else ""
    way = f"take --image-size {wanted}{crop}" + ("" if crop else ", or a larger one with --crop")
    return f"{tiny} of {len(sides)} boxes are below {LEAST_SIDE:g} pixels at --image-size {size} and are ignored: {way}."
