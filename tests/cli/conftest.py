"""A folder with a recipe of one's own, and a way to run the command in it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import tlkit
from tlkit.cli.main import main
from tlkit.data.xray.bags import write_bags

TOY = '''"""Count to a number, slowly.

    tlkit run toy photos/ --epochs 3
"""

import time
from pathlib import Path

import click

import tlkit


@tlkit.recipe(split=True)
@click.argument("source")
@click.option("--epochs", type=click.IntRange(min=1), default=3, help="How far to count.")
@click.option("--rates", nargs=2, type=float, default=(0.1, 0.2), help="Two rates.")
@click.option("--batch", type=int, default=32, help="Images a step.")
@click.option("--ending", default="good", help="How to end.")
def toy(run, source, epochs, rates, batch, ending):
    assert isinstance(rates, tuple)
    run.say(f"Counting {source} with {rates}, group {run.split.group}")
    run.record(seen=Path(source).is_dir(), classes=["a", "b"], measures={"test": {"n": 4, "accuracy": 0.75, "auc": float("nan")}})
    run.stop_if_dry({"images": 4})
    if ending == "early":
        raise tlkit.DataFault("photos/ has images but no class folders.", "Put each class in its own folder.")
    done = len(run.folder.metrics())
    run.table.start("head", epochs, 2)
    for epoch in range(done + 1, epochs + 1):
        run.table.step(1)
        run.folder.append_metrics({"phase": "head", "epoch": epoch, "seconds": 10.0})
        run.table.epoch("head", epoch, epochs, {"loss": 1 / epoch, "val_loss": 0.5}, epoch == 1, 0.25)
        if ending == "late" and not run.resumed:
            raise tlkit.RunFailed("The loss became NaN at step 3.", "Try a smaller --rates.")
        if ending == "bug" and not run.resumed:
            1 / 0
        if ending == "memory":
            raise MemoryError
        if ending == "interrupt" and not run.resumed:
            raise KeyboardInterrupt
        if ending == "sleep":
            (run.folder.path / "asleep").touch()
            time.sleep(60)
        if ending == "stuck":  # inside one C call, where Python cannot answer a signal
            import hashlib

            from tlkit.cli import signals as interruption

            interruption.GRACE = 0.3
            (run.folder.path / "asleep").touch()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    (run.folder.path / "report.html").write_text("A report.")
    run.result({"accuracy": 0.75, "interval": [0.2, 1 / 3]})
'''


class Said(NamedTuple):
    """What a command line answered."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


SCHEMA = json.loads((Path(tlkit.__file__).parent / "cli" / "answers.schema.json").read_text(encoding="utf-8"))


def check_answer(arguments: Sequence[str], said: Said) -> None:
    """What holds of every command line: see "What tlkit promises" in saved_models/README.md."""
    assert "\x1b" not in said.out + said.err, "no colour and no bar where nobody watches"
    if "--json" not in arguments or {"-h", "--help"} & set(arguments):
        return
    answer = said.json
    name = "error" if said.code else arguments[0]
    jsonschema.validate(answer, {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
    assert answer.get("error", {"code": 0})["code"] == said.code


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """The current folder, with the toy recipe in ./recipes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toy.py").write_text(TOY)
    return tmp_path


@pytest.fixture
def tlkit_command():
    """Run a command line in this process: tlkit_command("run", "toy", "photos") -> Said."""

    def call(*arguments: object) -> Said:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        said = Said(result.exit_code, result.stdout, result.stderr)
        check_answer([str(argument) for argument in arguments], said)
        return said

    return call


def modules_after(*arguments: str) -> tuple[str, set[str]]:
    """What a command line prints in a process of its own, and the modules that it has imported by then."""
    program = (
        "import sys; from tlkit.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout, set(done.stderr.split())


def grey_bag(number: int, height: int, width: int, frame: int) -> np.ndarray:
    """A bag of smooth matter in a bright frame, uint16 [height, width]."""
    generator = np.random.default_rng(number)
    image, inner = np.full((height, width), 0.9), (height - 2 * frame, width - 2 * frame)
    matter = generator.uniform(0.6, 0.8) + generator.uniform(-0.04, 0.04, inner)
    image[frame:-frame, frame:-frame] *= matter
    return (image * 65535).astype(np.uint16)


# --- a detector ---

SMALL = ("--image-size", 64, "--batch", 4, "--backbone", "mobilenet-v2-0.35", "--weights", "none")


def run_recipe(*arguments: object, code: int = 0) -> dict:
    """`tlkit run ... --json` in this process: what it printed."""
    result = CliRunner().invoke(main, ["run", *map(str, arguments), "--json"])
    assert result.exit_code == code, result.stderr + result.stdout
    check_answer(["run", "--json"], Said(result.exit_code, result.stdout, result.stderr))
    return json.loads(result.stdout)


@pytest.fixture(scope="session")
def bags(tmp_path_factory):
    """Dark rectangles on bright noise; every third image is empty."""
    root = tmp_path_factory.mktemp("detection") / "bags"
    root.mkdir()
    rows = []
    generator = np.random.default_rng(0)
    for number in range(30):
        pixels = generator.integers(150, 250, (72, 96, 3))
        name = f"{number:02}.png"
        if number % 3:
            left, top = generator.integers(2, 40, 2)
            right, bottom = left + 24, top + 20
            kind = ("gun", "knife")[number % 2]
            pixels[top:bottom, left:right] = (20, 20, 120) if number % 2 else (120, 20, 20)
            rows.append([name, left, top, right, bottom, kind])
        else:
            rows.append([name, "", "", "", "", ""])
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
    with (root / "boxes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "left", "top", "right", "bottom", "class"])
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def masked_bags(tmp_path_factory):
    """Simulated bags of 96 pixels with boxes and masks."""
    root = tmp_path_factory.mktemp("masked") / "bags"
    write_bags(root, 40, seed=3, size=96, masks=True)
    return root


def tiny_backbone(patch: pytest.MonkeyPatch) -> None:
    """Six convolutions wherever a backbone is built, for most of the time goes into building and tracing one."""
    from tests.tasks.detection.detecting import use_tiny_pyramid

    use_tiny_pyramid(patch)


@pytest.fixture(scope="session")
def finished_detector(bags, tmp_path_factory):
    """What `tlkit run detect-retinanet` printed: one epoch, and so unsure that it answers with low scores too."""
    runs = tmp_path_factory.mktemp("detector")
    unsure = ("--threshold", 0.004, "--max-detections", 5, "--propose-anchors")
    with pytest.MonkeyPatch.context() as patch:
        tiny_backbone(patch)
        return run_recipe("detect-retinanet", bags, "--runs", runs, "--epochs", 0, 1, *SMALL, *unsure)
