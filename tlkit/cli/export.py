"""`tlkit export`: the model of a finished run for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlkit.cli.device import import_tensorflow
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import json_option, runs_option
from tlkit.cli.outcome import show
from tlkit.errors import UsageFault
from tlkit.results.run_folder import find_run, read_card

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
EXAMPLES = """
    tlkit export fine-tune-photos --format onnx
    tlkit export fine-tune-photos/3 --format litert --output blades.tflite
    tlkit export detect-yolov8-bags --format onnx --output bags.onnx
    tlkit export detect-yolov8-bags --format onnx --nms
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
@click.option(
    "--nms", is_flag=True, help="ONNX of a detector: drop duplicates inside, as the SavedModel does."
)
@runs_option
@json_option
def export(run: str, target: str, output: Path | None, nms: bool, runs: Path, as_json: bool) -> None:
    """Write the model of a run as ONNX or LiteRT.

    The file takes uint8 pixels and is checked against the Keras model before it is left there. A detector's gives
    all boxes and their scores, before duplicates are dropped, or with --nms the detections. Letterboxing stays with the
    caller: longer side to the network's, the picture in the middle of grey 114; the file's metadata say so. The
    SavedModel in the run's folder needs no export.
    """
    path = find_run(run, runs)
    output = output or path / f"model{SUFFIXES[target]}"
    if output.exists():
        raise UsageFault(f"{output} is there already.", "Name a new file with --output.")
    if not output.parent.is_dir():
        raise UsageFault(f"There is no folder {output.parent}.", "Make it, or name another --output.")
    card = read_card(path)
    detector = card.get("kind") == "detector"
    if nms and not (detector and target == "onnx"):
        what = f"and --format is {target}" if detector else f"and {path} is none"
        raise UsageFault(f"--nms is for detectors as ONNX, {what}.", "Leave it out.")
    import_tensorflow()
    how = {"nms": True} if nms else {}
    checked = _detector(path, card, target, output, **how) if detector else _classifier(path, target, output)
    show({"status": "written", "format": target, "file": output, **checked}, as_json=as_json)


def _classifier(path: Path, target: str, output: Path) -> dict[str, Any]:
    from tlkit.results.conversion import to_litert, to_onnx

    return (to_onnx if target == "onnx" else to_litert)(path, output)


def _detector(path: Path, card: dict[str, Any], target: str, output: Path, **how: bool) -> dict[str, Any]:
    from tlkit.models.detector_settings import Detecting
    from tlkit.models.detectors import load_detector
    from tlkit.results.detector_conversion import detector_to_litert, detector_to_onnx

    write: Any = detector_to_onnx if target == "onnx" else detector_to_litert
    detecting = Detecting(**(card.get("detecting") or {}))
    return write(load_detector(path / "model.keras"), output, detecting, **how)
