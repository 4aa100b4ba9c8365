"""Fixtures that draw their own images, and a cache of their own, so that no test depends on this machine."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED = Path(__file__).resolve().parents[2] / "shared"
# Files that take a processor 20 seconds or more, the longest first: begun late, one would leave the other processes idle.
LONG = (
    "tests/test_every_recipe.py",
    "tests/cli/recipes/test_features.py",
    "tests/tasks/detection/test_fit.py",
    "tests/cli/recipes/test_detection.py",
    "tests/backbones/test_networks.py",
)


def pytest_collection_modifyitems(items):
    """Put the tests of long files first, in the order of `LONG`; all others stay in theirs."""
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(LONG)))


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
    """An image that is easy to learn: a bright disc (0), bar (1) or frame (2) on noise of its own."""
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
    """Run `tlkit run fine-tune` once, all three phases, on images drawn here.

    Once for all processes of pytest-xdist: the first that asks makes it, the others wait. Nobody may change it.
    """
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "finished"
    try:
        root.mkdir()
    except FileExistsError:
        output, said = wait_for(root / "answer.json")
    else:
        output, said = None, "It failed in another process."
        try:
            output, said = fine_tune(root)
        finally:
            (root / "answer.part").write_text(json.dumps([output, said]))
            (root / "answer.part").rename(root / "answer.json")
    assert output, said
    return Finished(Path(output["run"]), root / "shapes", output, said)


def fine_tune(root: Path) -> tuple[dict, str]:
    """What the recipe prints as JSON and what it says, with its source and runs in `root`."""
    from click.testing import CliRunner

    from tlkit.cli.main import main

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
    return json.loads(result.stdout), result.stderr


def wait_for(file: Path) -> list:
    """What another process writes there as JSON, at most 15 minutes from now."""
    for _ in range(9000):
        if file.exists():
            return json.loads(file.read_text())
        time.sleep(0.1)
    pytest.fail(f"{file} is not there after 15 minutes")
