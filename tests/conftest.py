"""Fixtures that draw their own pictures, and a cache of their own, so that no test depends on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Keep the cache of the person who runs the tests out of them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images that lies beside the repository on the developers' machines."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real images (../shared/data) are not on this machine")
    return SHARED / "data"


def draw(label: int, number: int, size: int = 40) -> Image.Image:
    """A picture that is easy to learn: a bright disc (0), bar (1) or frame (2) on noise of its own."""
    generator = np.random.default_rng([label, number])
    pixels = generator.integers(0, 90, (size, size, 3))
    y, x = np.mgrid[:size, :size] - size // 2 + generator.integers(-4, 5, (2, 1, 1))
    inside = (
        x**2 + y**2 < (size / 4) ** 2,
        abs(x) < size / 10,
        (np.maximum(abs(x), abs(y)) < size / 3) & (np.maximum(abs(x), abs(y)) > size / 5),
    )[label]
    pixels[inside] += 150
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def make_folder(tmp_path):
    """Write class folders: make_folder(disc=6, bar=6) -> folder; kinds are drawn in the order given."""

    def make(name: str = "photos", size: int = 40, **counts: int) -> Path:
        root = tmp_path / name
        for label, (kind, count) in enumerate((counts or {"bar": 6, "disc": 6}).items()):
            (root / kind).mkdir(parents=True)
            for number in range(count):
                draw(label, number, size).save(root / kind / f"{number}.png")
        return root

    return make


class Finished(NamedTuple):
    """A finished run of fine-tune, small and quick, that many tests look at."""

    run: Path
    source: Path
    output: dict
    said: str


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """Run `tlkit run fine-tune` once, all three phases, on pictures drawn here."""
    from click.testing import CliRunner

    from tlkit.cli.main import main

    root = tmp_path_factory.mktemp("finished")
    source = root / "shapes"
    for label, kind in enumerate(("bar", "disc", "frame")):
        (source / kind).mkdir(parents=True)
        for number in range(10):
            draw(label, number, 64).save(source / kind / f"{number}.png")
    options = [
        "--image-size",
        "64",
        "--epochs",
        "6",
        "1",
        "1",
        "--batch",
        "10",
        "--runs",
        str(root / "runs"),
        "--json",
    ]
    result = CliRunner().invoke(main, ["run", "fine-tune", str(source), *options])
    assert result.exit_code == 0, result.stderr
    output = json.loads(result.stdout)
    return Finished(Path(output["run"]), source, output, result.stderr)
