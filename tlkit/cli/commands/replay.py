"""`tlkit replay`: the step that a run stopped at, once more, and what in it was not a number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option, runs_option
from tlkit.core.console import echo
from tlkit.core.device import prepare_tensorflow
from tlkit.core.run_folder import find_unfinished
from tlkit.errors import RunFailed, UsageFault

if TYPE_CHECKING:
    from tlkit.engine.training.nan_guard import Findings
    from tlkit.engine.training.replay import Replay

EXAMPLES = """
    tlkit replay fine-tune-photos
    tlkit replay saved_models/fine-tune-photos/unfinished-3 --json
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="A name with one unfinished run, NAME/unfinished-N, or a folder with a replay.")
@runs_option
@json_option
@click.option("--verbose", is_flag=True, help="Let TensorFlow talk too.")
def replay(run: str, runs: Path, as_json: bool, verbose: bool) -> None:
    """Repeat the step at which a run met NaN or infinity.

    The network as it was before the step and the batch lie in the unfinished run; neither the recipe nor its images
    are needed. Says which loss, gradients, weights and images were not finite. Exit code 1 if all is finite now.
    """
    folder = _find(run, runs)
    from tlkit.engine.training.replay import read

    kept = read(folder)
    prepare_tensorflow(kept.seed, verbose=verbose)
    from tlkit.cli.replay_step import repeat_step

    found = repeat_step(folder)
    if found.sound:
        raise RunFailed(
            f"{kept.place} of {folder} is finite when it is repeated here.",
            "Repeat it with the versions and on the device of the run; its log.txt and card.json name them.",
        )
    _tell(folder, kept, found, as_json=as_json)


def _find(text: str, runs: Path) -> Path:
    """The folder of the newest replay of what a person names."""
    from tlkit.engine.training.replay import find_replays

    named = Path(text)
    if (named / "replay.json").is_file():
        return named
    home = named if named.is_dir() and list(find_replays(named)) else find_unfinished(text, runs)
    found = find_replays(home)
    if not found:
        raise UsageFault(
            f"{home} holds no replay.",
            "A run keeps one when it stops at a loss or gradient that is not finite.",
        )
    return found[-1]


def _tell(folder: Path, kept: Replay, found: Findings, *, as_json: bool) -> None:
    outcome: dict[str, Any] = {
        "status": "not finite",
        "replay": folder,
        "phase": kept.phase,
        "epoch": kept.epoch or None,
        "step": kept.step,
        "learning_rate": kept.learning_rate,
        "files": list(kept.files),
    }
    if as_json:  # JSON has no word for NaN, so it is text here
        outcome["loss"] = {k: v if math.isfinite(v) else str(v) for k, v in found.loss.items()}
        outcome["gradients"] = {"not_finite": list(found.gradients), "of": found.asked}
        outcome["weights"] = list(found.weights)
        for name, places in (("inputs", found.inputs), ("outputs", found.outputs)):
            outcome[name] = [kept.files[i] if i < len(kept.files) else i for i in places]
        show(outcome, as_json=True)
        return
    echo(f"{kept.place}, learning rate {kept.learning_rate:g}: not finite again.")
    for sentence in found.sentences(kept.files):
        echo(f"  {sentence}")
    if kept.files:
        echo(f"  files of the step: {', '.join(kept.files)}")
