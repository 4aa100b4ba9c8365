"""Claims: `tlkit check` takes at most 60 s for 5,000 images, in memory that grows by at most 30 % from 1,000.

    python -m tests.benchmarks.check

Images are drawn for it: 640 x 480 JPEGs and 320 x 240 PNGs with shapes and noise, a tenth of them mirrored copies of
others. Each check is a process of its own on two cores; it reports its seconds and its `ru_maxrss`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.measuring import ROOT, Comparison, in_turn, main, seconds

FEW, MANY = 1_000, 5_000
LIMIT = 60.0  # seconds
CORES = 2


def measure(_source: str, pairs: int = 3, *, few: int = FEW, many: int = MANY) -> list[Comparison]:
    """Two rows; the "rival" is the limit of the one, and ourselves on few images for the other."""
    with tempfile.TemporaryDirectory() as text:
        folders = {many: draw(Path(text) / "many", many), few: Path(text) / "few"}
        link_first(folders[many], folders[few], few)
        runs: dict[str, list[dict[str, float]]] = {"few": [], "many": []}

        def run(name: str, count: int) -> float:
            runs[name].append(measured(folders[count], count))
            return 0.0

        in_turn({"few": lambda: run("few", few), "many": lambda: run("many", many)}, pairs)
    took = tuple(one["seconds"] for one in runs["many"])
    peaks = {name: tuple(one["MiB"] for one in found) for name, found in runs.items()}
    note = "The rival is the limit of the first row, and ours on the few of the second."
    return [
        Comparison(f"check {many:,} images / {LIMIT:g} s", "s", (LIMIT,) * pairs, took, 1.0, note=note),
        Comparison(f"peak memory, {many:,} images / {few:,}", "MiB", peaks["few"], peaks["many"], 1.3),
    ]


def draw(folder: Path, count: int) -> Path:
    """`count` images in two classes, each tenth a mirrored copy of the one before it."""
    generator = np.random.default_rng(0)
    for kind in ("bar", "disc"):
        (folder / kind).mkdir(parents=True)
    noise = Image.fromarray(
        generator.integers(0, 256, (480, 640, 3), np.uint8)
    )  # one for all: drawing takes longest
    image = Image.new("RGB", (1, 1))
    for number in range(count):
        size, suffix = ((640, 480), "jpg") if number % 2 else ((320, 240), "png")
        if number % 10:
            shapes = Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).resize(size)
            image = Image.blend(shapes, noise.crop((0, 0, *size)), 0.1)
        else:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.save(folder / ("bar", "disc")[number // 2 % 2] / f"{number:05}.{suffix}", compress_level=1)
    return folder


def link_first(source: Path, folder: Path, count: int) -> None:
    """The first `count` images of a folder, as hard links in another."""
    for file in sorted(source.rglob("*.*"), key=lambda file: file.name)[:count]:
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / file.parent.name / file.name).hardlink_to(file)


def measured(folder: Path, count: int) -> dict[str, float]:
    """Seconds and MiB at the peak of a process that checks a folder."""
    command = [sys.executable, "-m", "tests.benchmarks.check", "check", str(folder), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def check(folder: Path, count: int) -> dict[str, float]:
    """What the process does."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    from tlkit.data.checks.check import Check, check_source

    found: list[Check] = []
    took = seconds(lambda: found.append(check_source(str(folder))))
    copies = sum(one.kind.startswith(("near", "turned")) for one in found[0].findings)
    if len(found[0].paths) != count or found[0].errors or "tensorflow" in sys.modules:
        raise RuntimeError("not the check that was meant")
    if copies < count // 11:
        raise RuntimeError(f"{copies} families of copies found")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": took, "MiB": peak / (1024**2 if sys.platform == "darwin" else 1024)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        print(json.dumps(check(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(measure, __doc__ or "", pairs=3)
