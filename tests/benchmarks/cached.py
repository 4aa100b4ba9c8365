"""Claim: a second extraction, from the cache, takes at most a thirtieth of the first.

    python -m tests.benchmarks.cached

2,000 images (those of the source, each with a few bytes of its own behind it until there are as many), MobileNet
224, an empty cache; the same call twice in one process that has traced the network before. Hashing counts on neither
side: a run has the hashes from its look at the files.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from tests.benchmarks.measuring import Comparison, default_weights, main, seconds

IMAGES = 2000


def measure(source: str, pairs: int = 5, *, images: int = IMAGES, image_size: int = 224) -> list[Comparison]:
    """One row."""
    from tlkit.backbones.feature_model import feature_model
    from tlkit.data.images.sources import read_images
    from tlkit.tasks.classification.classifier import build_classifier
    from tlkit.tasks.features.extract import Extractor

    found = read_images(source)
    names = found.class_names
    model = feature_model(build_classifier("mobilenet", names, image_size, weights=default_weights())[0])
    first, second = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = draw_copies(found.files(), Path(folder) / "images", images)
        hashes = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]
        for pair in range(pairs):
            extractor = Extractor(model, Path(folder) / f"cache{pair}")
            extractor(files[:32], [f"{pair} {i}" for i in range(32)])  # traced
            first.append(seconds(lambda e=extractor: e(files, hashes)))
            second.append(seconds(lambda e=extractor: e(files, hashes)))
            assert extractor.computed == 32 + len(files)
    note = f"n = {images}, MobileNet {image_size}."
    row = ("cached extraction / first", "s", tuple(first), tuple(second), 30)
    return [Comparison(*row, least=True, inverse=True, note=note)]


def draw_copies(files: list[str], folder: Path, count: int) -> list[str]:
    """`count` files of different content: images over and over, with their number behind them."""
    folder.mkdir()
    copies = []
    for number in range(count):
        file = Path(files[number % len(files)])
        path = folder / f"{number}{file.suffix}"
        path.write_bytes(file.read_bytes() + number.to_bytes(4, "big"))  # decoders stop before it
        copies.append(str(path))
    return copies


if __name__ == "__main__":
    main(measure, __doc__ or "")
