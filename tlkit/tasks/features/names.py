"""Whatever can turn an image into features, by one name: a backbone, a hand-made family, an ONNX file.

    mobilenet            a backbone of the table, pooled, with its published weights
    mobilenet@none       the same with random weights (a control)
    mobilenet@FILE       the same with the weights of a file
    lbp                  a hand-made family
    FILE.onnx            any ONNX network that takes Caffe's pixels (BGR minus the mean)
    FILE.onnx@torch      one that takes other pixels: a mode of `preprocessing` (torch, minus-one-to-one, ...)

Reading a name takes no TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tlkit.backbones.table import BACKBONES
from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault
from tlkit.tasks.features.handcrafted import HANDCRAFTED

POOLED, LOGITS = "pooled", "logits"


class ExtractorName(NamedTuple):
    """What a person typed, taken apart.

    Attributes:
        text: As typed.
        name: Of the backbone or family, or the ONNX file.
        kind: "backbone", "handcrafted" or "onnx".
        weights: Of a backbone: "imagenet", "none" or a file. Of an ONNX file: its preprocessing.
    """

    text: str
    name: str
    kind: str
    weights: str


def read_name(text: str, weights: str = "imagenet") -> ExtractorName:
    """Take a name apart.

    Args:
        text: See the head of this module.
        weights: Of a backbone that names none itself.

    Raises:
        UsageFault: There is no such extractor; the nearest names are offered.
    """
    name, _, own = text.partition("@")
    if name in HANDCRAFTED:
        return ExtractorName(text, name, "handmade", "")
    if Path(name).suffix == ".onnx":
        return ExtractorName(text, name, "onnx", own or "caffe")
    if name in BACKBONES:
        return ExtractorName(text, name, "backbone", own or weights)
    known = [*BACKBONES, *HANDCRAFTED]
    others = f"Take one of: {', '.join(known)}, or a FILE.onnx."
    hint = did_you_mean(name.lower().replace("_", "-"), known, 3, otherwise=others)
    raise UsageFault(f"There is no extractor {name!r}.", hint)
