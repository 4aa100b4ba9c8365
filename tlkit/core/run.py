"""What a recipe is handed while it runs: its folder, its seed, a voice, a table, and the card it fills in."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from tlkit.core.console import Console, Step, TrainingTable
from tlkit.core.environment import joined
from tlkit.core.reading import PLAIN, Reading
from tlkit.core.run_folder import RunFolder, plain
from tlkit.core.text import count
from tlkit.errors import DataFault, RunFailed


class DryRunDone(Exception):
    """A dry run has seen what it wanted to see; `planned` says that its summary is the plan of a run."""

    def __init__(self, summary: dict[str, Any], *, planned: bool = False) -> None:
        super().__init__("dry run")
        self.summary, self.planned = summary, planned


@dataclass(frozen=True)
class SplitOptions:
    """How images are split, as the common options say.

    Attributes:
        group: A regular expression on the path or a CSV column, or None: each content is its own group.
        manifest: A split.csv to reuse, or None.
        hold_out: What the test part is, as COLUMN=VALUE or a regular expression on the path, or None.
        allow_leak: Go on although parts share content or groups.
        skip_bad: Leave unreadable images out instead of refusing.
        download: Let `tfds:` sources be downloaded.
        more: Runs whose synthetic images join the training part, as the person names them.
        small_classes: "refuse" classes with too few groups, "leave-out", "fold" or "fold:NAME".
        reading: Which images of the source are read, and which columns of a table say what.
    """

    group: str | None = None
    manifest: Path | None = None
    hold_out: str | None = None
    allow_leak: bool = False
    skip_bad: bool = False
    download: bool = False
    more: tuple[str, ...] = ()
    small_classes: str = "refuse"
    reading: Reading = PLAIN


@dataclass
class Run:
    """One run of a recipe, from inside.

    Attributes:
        recipe: The recipe's name, such as "fine-tune".
        folder: Where this run writes: `run.folder.path`.
        options: Every option by its Python name, common ones included, as options.json has them.
        console: The voice on stderr.
        seed: The seed of everything random.
        device: "auto", "cpu" or "gpu".
        split: The common split options; defaults for a recipe without a split.
        resumed: Whether the folder holds what an earlier attempt left.
        dry_run: Whether to stop after the checks.
        verbose: Whether third parties may talk.
        created: Start of the first attempt, UTC, ISO 8601.
        environment: What `start_tensorflow` found; empty before.
        sampled: In a dry run on a set that is not drawn yet: how many of its images stand behind each that was.
    """

    recipe: str
    folder: RunFolder
    options: dict[str, Any]
    console: Console
    seed: int = 0
    device: str = "auto"
    split: SplitOptions = field(default_factory=SplitOptions)
    resumed: bool = False
    dry_run: bool = False
    verbose: bool = False
    created: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    sampled: float = 1

    def __post_init__(self) -> None:
        self._started = monotonic()
        self._tensorflow_was_there = "tensorflow" in sys.modules
        self._earlier = (
            sum(row.get("seconds") or 0.0 for row in self.folder.metrics()) if self.resumed else 0.0
        )
        self._entries: dict[str, Any] = {}
        self._watched: dict[str, str] = {}
        self.results: dict[str, Any] = {}

    @property
    def csv_safe(self) -> bool:
        """Whether tables for people keep spreadsheets from running names; runs of earlier versions do not say."""
        return bool(self.options.get("csv_safe"))

    def say(self, text: str) -> None:
        """Tell the person one thing, on stderr and in log.txt."""
        self.console.say(text)

    @cached_property
    def table(self) -> TrainingTable:
        """The table of epochs, with a progress bar on a terminal."""
        return TrainingTable(self.console)

    def progress(self, text: str, total: int) -> AbstractContextManager[Step]:
        """A progress bar on a terminal: `with run.progress("features", n) as step: step(done)`."""
        return self.console.progress(text, total)

    def watch(self, files: Sequence[str], hashes: Sequence[str]) -> None:
        """Expect these files to be what they are, by their sha256, until the run has its number."""
        self._watched.update(zip(files, hashes, strict=True))

    def check_watched(self) -> None:
        """Look at the watched files again.

        Raises:
            DataFault: One is gone or not what it was.
        """
        from tlkit.core.files import hashes_of

        for (file, before), now in zip(self._watched.items(), hashes_of(list(self._watched)), strict=True):
            if now != before:
                what = "was changed" if now else "cannot be read any more: it vanished"
                raise DataFault(
                    f"{file} {what} while the run was at work.", "Restore it, or start a new run."
                )

    def change_option(self, name: str, value: Any) -> None:
        """Give one of the run's own options another value, for good: resuming and repeating start from it."""
        self.options[name] = value
        settings = json.loads((self.folder.path / "options.json").read_text(encoding="utf-8"))
        settings["options"][name] = value
        self.folder.write_json("options.json", settings)

    def start_tensorflow(self) -> None:
        """Import TensorFlow quietly, choose the device, seed everything; call it before the first model.

        What it computes with is written down at once; a resumed run says what of it has changed.

        Raises:
            RunFailed: `--device gpu` and there is none.
        """
        from tlkit.core.device import prepare_tensorflow

        if self.environment:
            return
        found = prepare_tensorflow(self.seed, self.device, say=self.say, verbose=self.verbose)
        settings = json.loads((self.folder.path / "options.json").read_text(encoding="utf-8"))
        self.environment, changed = joined(settings.get("environment") or {}, found)
        if changed:
            self.say(
                f"Note: {' '.join(changed)} The run goes on and may differ in its last digits from one that was not "
                "stopped; card.json and the report say so."
            )
        self.folder.write_json("options.json", {**settings, "environment": self.environment})

    def stop_if_dry(self, summary: dict[str, Any]) -> None:
        """End a dry run here, after the checks, and show `summary`; otherwise do nothing."""
        if self.dry_run:
            raise DryRunDone(summary, planned=True)

    def record(self, **entries: Any) -> dict[str, Any]:
        """Add entries to the card, such as `classes`, `model`, `data`, `phases`, `measures`, `parity`.

        The card is written for good when the recipe returns.

        Returns:
            The card as it stands now, with the common entries, as the report wants it.
        """
        self._entries.update(entries)
        return self.card()

    def result(self, entries: dict[str, Any]) -> None:
        """Add entries to what the command prints at its end, as text or under --json."""
        self.results.update(entries)

    def card(self) -> dict[str, Any]:
        """The card as it stands now, JSON-able."""
        from tlkit import __version__

        common = {
            "schema_version": 1,
            "tlkit": __version__,
            "recipe": self.recipe,
            "name": self.folder.name,
            "number": self.folder.number,
            "created": self.created,
            "seconds": round(self._earlier + monotonic() - self._started, 3),
            "source": self.options.get("source"),
            "options": self.options,
            "seed": self.seed,
            "environment": self.environment,
        }
        return plain({**common, **self._entries})

    def finish(self) -> Path:
        """Write the card and give the folder its number; the command calls this after the recipe."""
        used = "tensorflow" in sys.modules and not self._tensorflow_was_there
        if used and not self.environment:
            self.say("Note: this recipe never called run.start_tensorflow(): seed and device were not set.")
        return self.folder.finish(self.card())


def check_room(run: Run, images: int, needed: int) -> None:
    """Refuse to begin writing images that may take more bytes than the disk has left.

    Raises:
        RunFailed: It has not.
    """
    free = shutil.disk_usage(run.folder.path).free
    if needed > free:
        raise RunFailed(
            f"{count(images, 'image')} may take {needed / 1e6:.0f} MB; {run.folder.path} has {free / 1e6:.0f} MB "
            "left.",
            "Make fewer, make room, or use another --runs.",
        )
