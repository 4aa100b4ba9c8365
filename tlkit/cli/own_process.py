"""Commands in processes of their own: a detector's recipe run, resumed and asked through the command line.

Each begins with the memory and the state of TensorFlow that a person's own command has, and what ends it, an error or a
lack of memory, ends no other. Run as a module this is the command itself, which ends by SIGTERM when the process that
started it is gone, even by a kill: it hears so from its standard input.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tlkit.cli.keywords import changed_words
from tlkit.cli.recipe_files import choose_recipe, find_recipes, load_recipe
from tlkit.cli.signals import GRACE
from tlkit.core.run import Run
from tlkit.core.run_folder import RunFolder, is_unfinished
from tlkit.errors import TlkitError, UsageFault
from tlkit.tasks.studies.comparison import Comparison, Outcome

PREFIX, WINDOW = "detect-", "slide-window"  # names of recipes that make a detector
OTHERWISE = {"image_size": "size"}  # option -> what a recipe calls it that has none of that name
PATIENCE = 60.0  # seconds in which a process that lost its parent lets go of its run


def detector_recipes() -> dict[str, str]:
    """By detector, the recipe that makes it: `detect-yolov8` makes yolov8, and slide-window itself."""
    return {
        name.removeprefix(PREFIX): name
        for name in find_recipes()
        if name.startswith(PREFIX) or name == WINDOW
    }


class OwnProcesses:
    """The `Commands` of a comparison, each in a process of its own.

    Args:
        run: Of the comparison; a detector's recipe gets its options, as far as it has them.
        comparison: Own options of each detector.
        call: Runs a command; `call_command`.
    """

    def __init__(self, run: Run, comparison: Comparison, call: Callable[..., Outcome] | None = None) -> None:
        self.run, self.comparison, self.call = run, comparison, call or call_command

    def refused(self, detector: str) -> str:
        """Why a detector's recipe cannot be trained for so long, in a sentence; "" where it can."""
        try:
            command = self._recipe(detector)
        except TlkitError as fault:
            return str(fault)
        if any(parameter.name == "minutes" for parameter in command.params):
            return ""
        return f"{command.name} has no --minutes: it learns nothing by itself. Run it, and name that run with --add."

    def words(self, detector: str) -> list[str]:
        """The command line of a detector's recipe: the comparison's options, as far as it has them, then its own."""
        command, options = self._recipe(detector), self.run.options
        known = {str(parameter.name) for parameter in command.params}
        given = {name: value for name, value in options.items() if name in known - {"name"}}
        given |= {
            other: options[name]
            for name, other in OTHERWISE.items()
            if name in options and name not in known and other in known
        }
        words = changed_words(command, command.read(given))
        return ["run", str(command.name), *words, *self.comparison.own.get(detector, ())]

    def check(self, detector: str) -> Outcome:
        """A dry run of its recipe."""
        return self.call([*self.words(detector), "--dry-run"])

    def start(self, detector: str, name: str) -> Outcome:
        """Train it as a run of this name; what it says is said, and stands in the log."""
        words = [*self.words(detector), "--name", name]
        self.run.say(f"{detector}: tlkit {shlex.join(words)}")
        return self.call(words, lambda line: self.run.say(f"  {line}"))

    def resume(self, path: Path) -> Outcome:
        """Go on with its unfinished run, once nothing writes there any more."""
        self.run.say(f"tlkit resume {path}")
        wait_until_free(path)
        if not path.is_dir():  # it came to its end meanwhile
            return Outcome({"run": str(path.with_name(path.name.removeprefix("unfinished-")))})
        return self.call(["resume", str(path)], lambda line: self.run.say(f"  {line}"))

    def time(self, run: Path, files: Sequence[Path]) -> Outcome:
        """Ask a finished run about images, one at a time, with an empty cache: nothing of it was computed before."""
        with tempfile.TemporaryDirectory() as cache:
            words = ["predict", str(run), *map(str, files), "--batch", "1"]
            return self.call(words, environment={"XDG_CACHE_HOME": cache})

    def draw(self, runs: Sequence[Path], source: str, images: int, file: Path) -> Outcome:
        """Draw what several runs find on the same images, with `tlkit compare`."""
        file.unlink(missing_ok=True)  # of an earlier attempt
        how = ["--draw", str(file), "--source", source, "--images", str(images)]
        return self.call(["compare", *map(str, runs), *how])

    def _recipe(self, detector: str) -> Any:
        name = detector_recipes()[detector]
        file = choose_recipe(name)
        if file is None:
            raise UsageFault(f"There is no recipe {name}.", "tlkit recipes lists them.")
        return load_recipe(file)


def wait_until_free(path: Path, patience: float = PATIENCE) -> None:
    """Wait while another process, which lost its parent and is about to end, writes in an unfinished run."""
    end = time.monotonic() + patience
    while is_unfinished(path) and path.is_dir():
        folder = RunFolder.reopen(path)
        try:
            folder.lock()
        except UsageFault:
            if time.monotonic() > end:
                return
            time.sleep(0.2)
        else:
            folder.release()
            return


def call_command(
    words: Sequence[str],
    said: Callable[[str], None] = lambda _line: None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run `tlkit WORDS --json` in a process of its own and wait for its end.

    If this process is interrupted meanwhile, the other one is stopped first, and keeps what it has.

    Args:
        words: After `tlkit`.
        said: Called with each line of its stderr, from another thread.
        environment: Variables that are different there.

    Returns:
        Its answer, or what went wrong.
    """
    command = [sys.executable, "-P", "-m", "tlkit.cli.own_process", *words, "--json"]
    variables = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", **(environment or {})}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(
        command, **pipes, env=variables, text=True, encoding="utf-8", errors="replace"
    ) as process:
        lines: list[str] = []
        hearing = threading.Thread(target=_hear, args=(process.stderr, lines, said), daemon=True)
        hearing.start()
        try:
            printed = process.stdout.read() if process.stdout else ""
            code = process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(GRACE + 5)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        hearing.join(GRACE)
    return outcome(code, printed, lines[-1] if lines else "")


def _hear(stream: IO[str] | None, lines: list[str], said: Callable[[str], None]) -> None:
    """Read on whatever becomes of what is said: a full pipe would hold the process at its other end."""
    for line in stream or ():
        lines.append(line.rstrip())
        with suppress(OSError):
            said(line.rstrip())


def outcome(code: int, printed: str, last: str) -> Outcome:
    """What a command came to.

    Args:
        code: Its exit code; below 0 the signal that ended it.
        printed: All of its stdout.
        last: The last line of its stderr.
    """
    try:
        answer = json.loads(printed.splitlines()[-1])
    except (ValueError, IndexError):
        answer = {}
    if error := answer.get("error"):
        return Outcome({}, f"{error['problem']} {error['remedy']}".strip())
    if code or not answer:
        how = f"was ended by signal {-code}, as for want of memory" if code < 0 else f"ended with code {code}"
        return Outcome({}, f"Its process {how}{f': {last}' if last else '.'}")
    return Outcome(answer)


def _end_with_parent() -> None:
    """Wait for the end of standard input, which is that of the process at its other end, and end as by SIGTERM."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from tlkit.cli.main import main

    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(prog_name="tlkit")
