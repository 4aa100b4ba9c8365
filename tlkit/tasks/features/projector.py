"""Features for TensorBoard's embedding projector: points in space, each with its image.

Source: the projector's files as tensorboard.org describes them: tensors and metadata as tab-separated values,
one sprite for all images, and projector_config.pbtxt, which names the three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 48  # pixels of one image
MOST = 8192  # pixels of the sprite's side, more than which browsers refuse
POINTS = (MOST // SIDE) ** 2  # images that fit into it


def write_projector(
    folder: Path,
    features: np.ndarray,
    columns: Mapping[str, Sequence[str]],
    images: Sequence[np.ndarray],
) -> int:
    """Write the projector's files into a TensorBoard folder.

    Args:
        folder: `tensorboard/` of the run.
        features: float32 [n, d].
        columns: What is known of each image, [n] each, such as path, label, part.
        images: uint8 [s, s, 3] of each image, [n] or the first `POINTS`.

    Returns:
        How many points were written: all that fit into one sprite.
    """
    count = min(len(features), POINTS)
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "features.tsv", features[:count], fmt="%.5g", delimiter="\t")
    rows = ["\t".join(columns)]
    rows += ["\t".join(" ".join(str(values[i]).split()) for values in columns.values()) for i in range(count)]
    (folder / "metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    _sprite(images[:count]).save(folder / "sprite.png")
    (folder / "projector_config.pbtxt").write_text(
        'embeddings {\n  tensor_name: "features"\n  tensor_path: "features.tsv"\n  metadata_path: "metadata.tsv"\n'
        f'  sprite {{ image_path: "sprite.png" single_image_dim: {SIDE} single_image_dim: {SIDE} }}\n}}\n',
        encoding="utf-8",
    )
    return count


def _sprite(images: Sequence[np.ndarray]) -> Image.Image:
    """All images on one square, row by row."""
    side = max(1, int(np.ceil(np.sqrt(len(images)))))
    sprite = Image.new("RGB", (side * SIDE, side * SIDE))
    for number, pixels in enumerate(images):
        small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
        sprite.paste(small, (number % side * SIDE, number // side * SIDE))
    return sprite
