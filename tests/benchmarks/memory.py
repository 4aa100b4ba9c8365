"""Claim: the greatest resident memory of feature extraction grows by less than a fifth from 1,000 to 20,000 images.

    python -m tests.benchmarks.memory

Each extraction is a process of its own (MobileNet, 32 px, random weights, 1,024 features) on small PNGs drawn for it,
with a cold cache in a temporary folder; what it reports is `ru_maxrss`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.measuring import ROOT, Comparison, in_turn, main

FEW, MANY = 1_000, 20_000
PIXELS = 32


def measure(_source: str, pairs: int = 5, *, few: int = FEW, many: int = MANY) -> list[Comparison]:
    """One row; the "rival" is ourselves on few images."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        draw(folder, many)
        found = in_turn({"few": lambda: peak(folder, few), "many": lambda: peak(folder, many)}, pairs)
    claim = f"peak memory, {many:,} images / {few:,}"
    return [
        Comparison(claim, "MiB", found["few"], found["many"], 1.2, note="Here the rival is ours on the few.")
    ]


def draw(folder: Path, count: int) -> None:
    """`count` PNGs of noise, no two alike, in the order of their numbers."""
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (PIXELS, PIXELS, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06}.png", compress_level=1)


def peak(folder: Path, count: int) -> float:
    """MiB at the peak of a process that extracts the features of the first `count` images."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", "extract", str(folder), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(json.loads(done.stdout.splitlines()[-1]))


def extract(folder: Path, count: int) -> float:
    """What the process does."""
    from tlkit.backbones.feature_model import feature_model
    from tlkit.tasks.classification.classifier import build_classifier
    from tlkit.tasks.features.extract import Extractor

    model, _ = build_classifier("mobilenet", ("a", "b"), PIXELS, weights="none")
    files = [str(file) for file in sorted(folder.glob("*.png"))[:count]]
    with tempfile.TemporaryDirectory() as cache:
        rows = Extractor(feature_model(model), Path(cache))(files, [Path(file).stem for file in files])
    if rows.shape != (count, 1024):
        raise RuntimeError(f"features of {count} images, not {rows.shape}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform == "darwin" else 1024
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["extract"]:
        print(json.dumps(extract(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(measure, __doc__ or "")
