"""Sides of the comparison: a copy of the code of one version, and processes that run commands with it."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.before_and_after import sources as drawn
from tests.before_and_after.cases import CASES, Step
from tests.before_and_after.texts import Plain, written
from tests.old_runs.make import unpack

ROOT = Path(__file__).resolve().parents[2]


def code_of(side: str, folder: Path) -> Path:
    """A copy of the code of a checkout or revision, as it is installed; the folder is named by its hash."""
    new = Path(tempfile.mkdtemp(dir=folder))
    if Path(side).is_dir():
        for name in ("tlkit", "recipes"):
            shutil.copytree(
                Path(side) / name, new / name, ignore=shutil.ignore_patterns("__pycache__", "*.md")
            )
    else:
        packed = subprocess.run(
            ["git", "archive", side, "tlkit", "recipes"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            unpack(archive, new)
    for page in [*new.rglob("*.md")]:
        page.unlink()
    (new / "recipes").rename(new / "tlkit" / "recipes")
    digest = hashlib.sha256(os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").encode())
    for file in sorted(path for path in new.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(new)}\0".encode() + file.read_bytes())
    place = folder / digest.hexdigest()[:12]
    if place.exists():
        shutil.rmtree(new)
    else:
        place.mkdir()
        new.rename(place / "code")
    return place


BEGINNING = """
import atexit, gc, itertools, json, os, runpy, signal, sys
import tensorflow, keras
gc.freeze()
def begin(asked):
    os.chdir(asked["folder"])
    os.environ["XDG_CACHE_HOME"] = asked["folder"] + "/../cache-" + os.path.basename(asked["folder"])
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    if asked["stop"]:
        end, left = asked["stop"][0], itertools.count(asked["stop"][1], -1)
        def watch(event, arguments):
            where = {"os.rename": 1, "open": 0}.get(event)
            if where is not None and str(arguments[where]).endswith(end) and next(left) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
        sys.addaudithook(watch)
    sys.argv = ["tlkit", *asked["words"]]
    if asked["words"][0] == "python":
        sys.exit(runpy.run_path(asked["words"][1])["main"]())
    from tlkit.cli.main import main
    main(asked["words"])
while line := sys.stdin.readline():
    asked, child = json.loads(line), os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        try:
            code = begin(asked)
        except SystemExit as end:
            code = end.code
        except BaseException as fault:
            code = 99
            print("Traceback:", repr(fault), file=sys.stderr)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)  # to take TensorFlow down costs a second
    print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)
"""


def earlier_options(place: Path) -> dict[str, str]:
    """Present names of options and their earlier ones, as the code of a side lists them; none where it knows of none."""
    file = place / "code" / "tlkit" / "cli" / "options" / "earlier.py"
    for node in ast.walk(ast.parse(file.read_text("utf-8"))) if file.is_file() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EARLIER":
            return {f"--{new}": f"--{old}" for new, old in ast.literal_eval(node.value).items()}
    return {}


class Side:
    """The commands of one version: each in a process of its own, forked from one that has imported TensorFlow only.

    Args:
        place: What `code_of` made.
        options: Names of options that this version calls otherwise, and what it calls them.
    """

    def __init__(self, place: Path, options: Mapping[str, str]) -> None:
        self.place, self.work, self.options = place, place / "work", options
        below = [p for p in sys.path if Path(p).name in {"site-packages", "dist-packages"}]
        environment = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "TF_ENABLE_ONEDNN_OPTS")
            if name in os.environ
        }
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(place / "code"), *below]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": "tensorflow",
            "KERAS_HOME": str(place / "keras"),
            "MPLCONFIGDIR": str(place.parent / "matplotlib"),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        # -S: the checkout that this interpreter has installed must not be found beside the side's own code
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", BEGINNING],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def call(self, folder: Path, asked: Step) -> tuple[int, str, str]:
        """Run a command; its exit code, and what it said on stdout and stderr."""
        files = {name: str(self.place / f"{name}.txt") for name in ("out", "err")}
        words = [self.options.get(str(word), str(word)) for word in asked.words]
        if words[0] == "python":
            words[1] = str(Path(__file__).with_name(f"{words[1]}.py"))
        question = {"folder": str(folder), "words": words, "stop": asked.stop, **files}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        out, err = (
            Path(files[name]).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")
        )
        return code, out, err

    def close(self) -> None:
        self._process.communicate()


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def results(side: Side, name: str, sources: Path, *, afresh: bool = False) -> dict[str, Any]:
    """What a case came to on a side: from the store, or by running it."""
    steps = CASES[name]
    mark = hashlib.sha256(f"{drawn.VERSION}{steps}".encode()).hexdigest()[:12]
    kept = side.place / f"{name}-{mark}.json"
    if afresh or not kept.exists():
        folder, began = side.work / name, time.monotonic()
        for stale in (folder, side.work / f"cache-{name}"):
            shutil.rmtree(stale, ignore_errors=True)
        folder.mkdir(parents=True)
        if not (side.work / "sources").exists():
            shutil.copytree(sources, side.work / "sources", symlinks=True)
        answers: dict[str, str] = {}
        odd = []
        for number, asked in enumerate(steps, 1):
            code, out, err = side.call(folder, asked)
            answers[f"{number:02} tlkit {' '.join(map(str, asked.words))}"] = (
                f"exit code {code}\n{out}\n--- stderr\n{err}"
            )
            if code != asked.code:
                odd.append(
                    f"{' '.join(map(str, asked.words))}: {code}, not {asked.code}: {(err or out)[-600:]}"
                )
        places = {str(folder): "WORK", str(side.place): "SIDE", str(sources): "SOURCES"}
        content = {
            "answers": answers,
            "odd": odd,
            "places": places,
            "seconds": round(time.monotonic() - began, 1),
        }
        kept.write_text(json.dumps(content), encoding="utf-8")
    content = json.loads(kept.read_text(encoding="utf-8"))
    recipes = {
        digest_of(file): f"SHA256 of {file.name}" for file in (side.place / "code/tlkit/recipes").glob("*.py")
    }
    plain = Plain({**content["places"], **recipes}, spaces=name == "help")
    texts = {key: plain.answer(text) for key, text in content["answers"].items()}
    texts |= dict(written(side.work / name, plain))
    return {**content, "texts": texts}
