"""`tlkit export`: the model of a finished run for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option, runs_option
from tlkit.core.device import import_tensorflow
from tlkit.core.run_folder import find_run, read_card
from tlkit.errors import UsageFault

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
OLDER = {"tflite": "litert"}  # names that a format once had
MEANT = {".onnx": "onnx", ".tflite": "litert", ".litert": "litert"}  # what the end of a file's name says
ELSE = {
    ".keras",
    ".h5",
    ".hdf5",
    ".pb",
    ".pt",
    ".pth",
    ".safetensors",
    ".xml",
    ".mlmodel",
    ".mlpackage",
    ".engine",
}
NO_MODEL = {  # recipe -> what its runs hold
    "extract-features": "features",
    "compare-backbones": "a table",
    "compare-detectors": "a table",
    "does-it-help": "a table",
    "does-tip-help": "a table",
    "look-inside": "images of a network",
    "generate": "images",
    "composite-crops": "images",
    "composite-threats": "images",
}
WITH_MODEL = "Name a run of fine-tune, small-cnn or fit-head, or of a detector."
EXAMPLES = """
    tlkit export fine-tune-photos --format onnx
    tlkit export fine-tune-photos --format onnx --with-resize --output any.onnx
    tlkit export fine-tune-photos/3 --format litert --output blades.tflite
    tlkit export detect-yolov8-bags --format onnx --output bags.onnx
    tlkit export detect-yolov8-bags --format onnx --nms
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="NAME (its newest run), NAME/3, or a run's folder.")
@click.option(
    "--format",
    "target",
    type=click.Choice([*SUFFIXES, *OLDER], case_sensitive=False),
    required=True,
    help="What to write; tflite is litert's older name.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where.  [default: model.onnx or model.tflite in the run's folder]",
)
@click.option(
    "--nms", is_flag=True, help="ONNX of a detector: drop duplicates inside, as the SavedModel does."
)
@click.option(
    "--with-resize", is_flag=True, help="The file takes images of any size and resizes them inside."
)
@runs_option
@json_option
def export(
    run: str, target: str, output: Path | None, nms: bool, with_resize: bool, runs: Path, as_json: bool
) -> None:
    """Write the model of a run as ONNX or LiteRT.

    The file takes uint8 pixels, RGB, and is checked against the Keras model before it is left there. How a classifier
    wants images resized stands in its metadata (ONNX) or in a JSON file beside it (LiteRT). A detector's gives all
    boxes and their scores, before duplicates are dropped, or with --nms the detections; letterboxing stays with the
    caller: longer side to the network's, the image in the middle of grey 114; the file's metadata say so. The
    SavedModel in the run's folder needs no export.
    """
    path = find_run(run, runs)
    target = OLDER.get(target, target)
    output = output or path / f"model{SUFFIXES[target]}"
    _check_output(output, target)
    card = read_card(path)
    detector = card.get("kind") == "detector"
    _check_model(path, card)
    if detector and with_resize:
        raise UsageFault(
            f"--with-resize is for classifiers, and {path} is a detector, whose images are letterboxed.",
            "Leave it out, or serve the SavedModel in the run's folder, which takes images of any size.",
        )
    if nms and not (detector and target == "onnx"):
        what = f"and --format is {target}" if detector else f"and {path} is none"
        raise UsageFault(f"--nms is for detectors as ONNX, {what}.", "Leave it out.")
    import_tensorflow()
    if detector:
        checked = _detector(path, card, target, output, **({"nms": True} if nms else {}))
    else:
        from tlkit.tasks.classification.serving.export import to_litert, to_onnx

        checked = (to_onnx if target == "onnx" else to_litert)(path, output, resizes=with_resize)
    show({"status": "written", "format": target, "file": output, **checked}, as_json=as_json)


def _check_output(output: Path, target: str) -> None:
    suffix = output.suffix.lower()
    if MEANT.get(suffix, target) != target or suffix in ELSE:
        other = MEANT.get(suffix)
        raise UsageFault(
            f"--output {output} does not end like a file of --format {target}.",
            f"Name it {output.stem}{SUFFIXES[target]}{f', or take --format {other}' if other else ''}.",
        )
    if output.exists():
        raise UsageFault(f"{output} is there already.", "Name a new file with --output.")
    if not output.parent.is_dir():
        raise UsageFault(f"There is no folder {output.parent}.", "Make it, or name another --output.")


def _check_model(path: Path, card: dict[str, Any]) -> None:
    """Refuse a run that holds no classifier or detector, by what it holds.

    Raises:
        UsageFault: It holds something else, or no model.keras.
    """
    recipe = card.get("recipe")
    if card.get("kind") == "generator":
        raise UsageFault(
            f"{path} is a run of {recipe} and holds a generator, which is not exported to other runtimes.",
            f"Serve the SavedModel in {path}.",
        )
    if (path / "model.keras").is_file():
        return
    if recipe not in NO_MODEL:
        raise UsageFault(f"{path} has no model.keras, so there is no model to export.", WITH_MODEL)
    remedy = WITH_MODEL
    if recipe == "extract-features":
        remedy = "Fit a head on such features with tlkit run fit-head, and export that run."
    raise UsageFault(f"{path} is a run of {recipe} and holds {NO_MODEL[recipe]}, no model.", remedy)


def _detector(path: Path, card: dict[str, Any], target: str, output: Path, **how: bool) -> dict[str, Any]:
    from tlkit.tasks.detection.build import load_detector
    from tlkit.tasks.detection.serving.export import detector_to_litert, detector_to_onnx
    from tlkit.tasks.detection.settings import Detecting

    write: Any = detector_to_onnx if target == "onnx" else detector_to_litert
    detecting = Detecting(**(card.get("detecting") or {}))
    return write(load_detector(path / "model.keras"), output, detecting, **how)
