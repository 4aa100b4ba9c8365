"""`tlkit export`: the model of a finished run for other runtimes."""

from __future__ import annotations

from pathlib import Path

import click

from tlkit.cli.device import import_tensorflow
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import json_option, runs_option
from tlkit.cli.outcome import show
from tlkit.errors import UsageFault
from tlkit.results.run_folder import find_run

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
EXAMPLES = """
    tlkit export fine-tune-photos --format onnx
    tlkit export fine-tune-photos/3 --format litert --output blades.tflite
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="NAME (its newest run), NAME/3, or a run's folder.")
@click.option("--format", "target", type=click.Choice(list(SUFFIXES)), required=True, help="What to write.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where.  [default: model.onnx or model.tflite in the run's folder]",
)
@runs_option
@json_option
def export(run: str, target: str, output: Path | None, runs: Path, as_json: bool) -> None:
    """Write the model of a run as ONNX or LiteRT.

    The file takes uint8 pixels and is checked against the Keras model before it is left there. The SavedModel
    in the run's folder needs no export.
    """
    path = find_run(run, runs)
    output = output or path / f"model{SUFFIXES[target]}"
    if output.exists():
        raise UsageFault(f"{output} is there already.", "Name a new file with --output.")
    if not output.parent.is_dir():
        raise UsageFault(f"There is no folder {output.parent}.", "Make it, or name another --output.")
    import_tensorflow()
    from tlkit.results.conversion import to_litert, to_onnx

    checked = (to_onnx if target == "onnx" else to_litert)(path, output)
    show({"status": "written", "format": target, "file": output, **checked}, as_json=as_json)
