"""Runs of an earlier version, made by its own code and kept: what test_old_runs.py predicts, evaluates and resumes.

    python -m tests.old_runs.make

takes the code of COMMIT out of the git history (the checkout stays as it is), puts it into an environment of its own
in a temporary folder, over the packages of this interpreter, draws pictures, makes the runs of RUNS with them and
without oneDNN, and writes two files beside this one: COMMIT.tar.xz, which holds the pictures and the runs, and
COMMIT.json, which holds what that code answered when it was asked about them. It takes some minutes and no network.

Every run has a relative source and lies in `runs` beside it, so that all of it works wherever it is unpacked. Of each
recipe that learns there is a finished run, `runs/NAME/1`, and one that SIGTERM stopped, `runs/NAME/unfinished-2`.
The detectors' runs are too large to be kept: test_old_runs.py makes them with the functions below.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tests.conftest import draw

COMMIT = "1c9d721f029389ef74d12aa87397ef97822343e3"
HERE = Path(__file__).resolve().parent
ARCHIVE, ANSWERS = HERE / f"{COMMIT[:7]}.tar.xz", HERE / f"{COMMIT[:7]}.json"
KINDS = ("bar", "disc", "frame")
PICTURES = 20  # of each kind: of 20 a game is given 4 to be judged by, the fewest that it takes

# Sends itself SIGTERM just before it renames or opens, for the nth time, a file whose path ends like this.
STOPPING = """
import itertools, os, signal, sys
end, left = sys.argv[1], itertools.count(int(sys.argv[2]), -1)
def watch(event, arguments):
    where = {"os.rename": 1, "open": 0}.get(event)
    if where is not None and str(arguments[where]).endswith(end) and next(left) == 1:
        os.kill(os.getpid(), signal.SIGTERM)
sys.addaudithook(watch)
from tlkit.cli.main import main
main(sys.argv[3:])
"""
PLAIN = "import sys; from tlkit.cli.main import main; main(sys.argv[1:])"


class Made(NamedTuple):
    """How a run is made.

    Attributes:
        words: After `tlkit run`.
        stop: Before which file, for the nth time, the unfinished run is stopped; None where there is none.
        further: Words of the unfinished run alone.
    """

    words: Sequence[object]
    stop: tuple[str, int] | None = None
    further: Sequence[object] = ()


NETWORK = ("--backbone", "mobilenet-0.25", "--weights", "none", "--image-size", 32)
GAME = ("shapes", "--class", "disc", "--size", 32, "--steps", 6, "--every", 2, "--batch", 8,
        "--width", 8, "--latent", 8, "--samples", 9, "--judge", "pixels")  # fmt: skip
RUNS = {
    "fine-tune": Made(
        ("fine-tune", "shapes", *NETWORK, "--epochs", 1, 1, 90, "--learning-rates", 0.01, 0.002, 0.002, "--batch", 4,
         "--no-augment", "--patience", 99, "--schedule", "constant", "--label-smoothing", 0.1),
        ("/top/last.npz", 2),
        ("--epochs", 1, 2, 1, "--augment"),
    ),
    "small-cnn": Made(
        ("small-cnn", "shapes", "--epochs", 12, "--augment", "--batch", 12), ("/last.npz", 11)
    ),
    "fit-head": Made(("fit-head", "shapes", *NETWORK, "--heads", "svm-rbf", "--folds", 3), ("/confusion.png", 1)),
    "synthesize-dcgan": Made(("synthesize-dcgan", *GAME, "--ada"), ("/last.npz", 3)),
    "synthesize-stylegan": Made(("synthesize-stylegan", *GAME), ("/last.npz", 3)),
    "does-it-help": Made(
        ("does-it-help", "shapes", "--class", "disc", "--backbone", "pixels", "--image-size", 16,
         "--numbers", "4,8", "--arms", "flips", "--repeats", 2),
        (".npy", 9),
    ),
    # Not resumed, but served: the other heads' own layers, a detector that learned nothing, and a generator's pictures
    **{
        f"head-{head}": Made(("fit-head", "shapes", *NETWORK, "--heads", head, "--folds", 3))
        for head in ("knn3", "lda", "mlp")
    },
    "slide-window": Made(
        ("slide-window", "scenes", "--classifier", "small-cnn", "--negative", "frame")
    ),
    "generate-dcgan": Made(("generate", "synthesize-dcgan", "--samples", 3, "--seed", 5)),
    "generate-stylegan": Made(("generate", "synthesize-stylegan", "--samples", 3, "--seed", 5)),
}  # fmt: skip

NAMING = ("fine-tune", "small-cnn", "fit-head", "head-knn3", "head-lda", "head-mlp")
FINDING = ("slide-window",)


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack an archive of our own; Python 3.11 knows filters from 3.11.4 on."""
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    archive.extractall(folder, **safely)  # noqa: S202


def install_old_code(folder: Path) -> Path:
    """Make an environment with the code of COMMIT beside this interpreter's packages; the path of its Python."""
    import venv

    repository = HERE.parents[1]
    command = ["git", "archive", COMMIT, "tlkit", "recipes", "pyproject.toml"]
    packed = subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        unpack(archive, folder / "code")
    (folder / "code" / "recipes").rename(folder / "code" / "tlkit" / "recipes")
    project = tomllib.loads((folder / "code" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = folder / "code" / f"tlkit-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tlkit\nVersion: {project['version']}\n")
    venv.create(folder / "environment", symlinks=True)
    packages = next((folder / "environment").rglob("site-packages"))
    below = [place for place in sys.path if Path(place).name in {"site-packages", "dist-packages"}]
    (packages / "old.pth").write_text("\n".join([str(folder / "code"), *below]) + "\n")
    return packages.parents[2] / "bin" / "python"


class OldCode:
    """The command line of COMMIT, in a process of its own for each call, with relative paths below one folder.

    Args:
        folder: Empty; the environment and its cache lie in it, and `work`, where the calls are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._python = install_old_code(folder)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._environment = {**kept, "TF_ENABLE_ONEDNN_OPTS": "0", "XDG_CACHE_HOME": str(folder / "cache")}

    def call(self, *words: object, stop: tuple[str, int] | None = None, code: int = 0) -> dict:
        """What `tlkit WORDS --json` prints; with `stop`, see STOPPING."""
        program = [STOPPING, *stop] if stop else [PLAIN]
        command = [self._python, "-P", "-c", *program, *words, "--json"]
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != code:
            raise RuntimeError(
                f"tlkit {' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return json.loads(done.stdout)

    def run(self, name: str, made: Made) -> None:
        """Make runs/NAME/1 and, where it says how, runs/NAME/unfinished-2."""
        words = ("run", *made.words, "--name", name, "--runs", "runs", "--device", "cpu")
        self.call(*words)
        if made.stop:
            self.call(*words, *made.further, stop=made.stop, code=143)


def draw_shapes(folder: Path) -> None:
    """Pictures of one shape each, a folder a kind."""
    for label, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True)
        for number in range(PICTURES):
            draw(label, number, 32).save(folder / kind / f"{number:02}.png")


def draw_scenes(folder: Path, count: int = 24) -> None:
    """Grey pictures with a bar or a disc somewhere, every third one without, and boxes.csv."""
    folder.mkdir()
    rows = []
    for number in range(count):
        scene, name, label = Image.new("RGB", (96, 64), (45, 45, 45)), f"{number:02}.png", number % 3
        if label < 2:
            left, top = number * 7 % 60, number * 5 % 30
            scene.paste(draw(label, 100 + number, 32), (left, top))
            rows.append([name, left, top, left + 32, top + 32, KINDS[label]])
        else:
            scene.putpixel((number, number), (90, 90, 90))  # no two are the same
            rows.append([name, "", "", "", "", ""])
        scene.save(folder / name)
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["image", "left", "top", "right", "bottom", "class"], *rows])


def ask(old: OldCode, names: Sequence[str]) -> dict[str, dict]:
    """What the old code answers about its own finished runs: by run, `predict` and `evaluate`."""
    return {
        name: {kind: old.call(*question(kind, name)) for kind in ("predict", "evaluate")} for name in names
    }


def question(kind: str, name: str) -> list[str]:
    """The words of `tlkit predict` or `tlkit evaluate` of a finished run."""
    run, finds = f"runs/{name}/1", name in FINDING
    if kind == "evaluate":
        return ["evaluate", run, "scenes" if finds else "shapes"]
    if finds:  # scores of flat places are equal, and low: which of them are kept hangs on the last bit
        return ["predict", run, *(f"scenes/{number:02}.png" for number in range(6)), "--threshold", "0.5"]
    return ["predict", run, *(f"shapes/{kind}/{number:02}.png" for kind in KINDS for number in (0, 1, 2))]


def pack(folder: Path, archive: Path) -> None:
    """The files below a folder that are needed, as one file."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder)
            if name.parts[0] != "runs" or is_needed(Path(*name.parts[2:])):
                packed.add(path, name.as_posix())


def is_needed(name: Path) -> bool:
    """Whether a file of a run, such as 1/card.json, is asked of it later: what people look at is not."""
    finished, *below = name.parts[0].isdigit(), *name.parts[1:]
    if below[0] in {"report.html", "last.keras"}:
        return False
    return below[0] not in ({"pictures", "tensorboard"} if finished else {"pictures"})


def main() -> None:
    """Make all of it anew."""
    with tempfile.TemporaryDirectory(prefix="old-runs-") as place:
        old = OldCode(Path(place))
        draw_shapes(old.folder / "shapes")
        draw_scenes(old.folder / "scenes")
        for name, made in RUNS.items():
            old.run(name, made)
        ANSWERS.write_text(json.dumps(ask(old, NAMING + FINDING), indent=1) + "\n", encoding="utf-8")
        pack(old.folder, ARCHIVE)


if __name__ == "__main__":
    main()
