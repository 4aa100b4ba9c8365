"""Non-maximum suppression (NMS) as nodes of an ONNX graph: what `detection.predict.select` does in TensorFlow's.

ONNX's own operation gives a ragged list; here the kept scores are put back in their places, and the best of each image
are taken, so that the outputs are as dense as the SavedModel's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlkit.engine.serving.convert import rename
from tlkit.tasks.detection.settings import Detecting

OUTPUTS = ("boxes", "scores", "labels", "count")


def add_nms(model: Any, size: int, classes: int, anchors: int, detecting: Detecting) -> Any:
    """A copy of a detector's graph that drops duplicates itself.

    Args:
        model: onnx.ModelProto with the outputs `boxes` float32 [n, a, 4] and `scores` float32 [n, a, k].
        size: Side of the square, pixels; boxes are cut at its edges.
        classes: k.
        anchors: a.
        detecting: Threshold, overlap, most and candidates.

    Returns:
        onnx.ModelProto with `boxes` float32 [n, most, 4], `scores` float32 [n, most], `labels` int64 [n, most] and
        `count` int64 [n]; beyond the count boxes and scores are 0 and labels -1.
    """
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    rename(graph, {name: f"raw_{name}" for name in ("boxes", "scores")})
    numbers = _numbers(size, classes, min(detecting.candidates, anchors), detecting)
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in numbers.items())
    graph.node.extend(
        onnx.helper.make_node(kind, inputs.split(), outputs.split(), name=f"nms/{outputs.split()[0]}", **how)
        for kind, inputs, outputs, how in _NODES
    )
    del graph.output[:]
    kinds = {"boxes": onnx.TensorProto.FLOAT, "scores": onnx.TensorProto.FLOAT}
    sides: dict[str, Any] = {"boxes": ["n", detecting.most, 4], "count": ["n"]}
    graph.output.extend(
        onnx.helper.make_tensor_value_info(
            name, kinds.get(name, onnx.TensorProto.INT64), sides.get(name, ["n", detecting.most])
        )
        for name in OUTPUTS
    )
    onnx.checker.check_model(whole)
    return whole


def _numbers(size: int, classes: int, candidates: int, detecting: Detecting) -> dict[str, np.ndarray]:
    whole = {
        "nms_candidates": [candidates],
        "nms_most": [detecting.most],
        "nms_most_of_class": detecting.most,
        "nms_each": candidates,
        "nms_flat": [0, classes * candidates],  # 0: as it is
        "nms_last": [-1],
        "nms_end": [2],
        "nms_none": -1,
        # Room for `most` where there are fewer candidates.
        "nms_room": [0, 0, 0, max(detecting.most - classes * candidates, 0)],
    }
    shares = {
        "nms_overlap": [detecting.overlap],
        "nms_threshold": [detecting.threshold],
        "nms_zero": 0.0,
        "nms_side": float(size),
    }
    return {name: np.array(value, np.int64) for name, value in whole.items()} | {
        name: np.array(value, np.float32) for name, value in shares.items()
    }


# Each is an operation, what it takes, what it makes, and its attributes.
_NODES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    # the candidates: boxes with the largest score of any class
    ("ReduceMax", "raw_scores nms_last", "nms_sure", {"keepdims": 0}),
    ("TopK", "nms_sure nms_candidates", "nms_sure_scores nms_sure_places", {"axis": 1}),
    ("Unsqueeze", "nms_sure_places nms_last", "nms_rows", {}),
    ("GatherND", "raw_boxes nms_rows", "nms_boxes", {"batch_dims": 1}),
    ("GatherND", "raw_scores nms_rows", "nms_scores_of", {"batch_dims": 1}),
    ("Transpose", "nms_scores_of", "nms_scores", {"perm": [0, 2, 1]}),  # [n, k, candidates]
    # an IoU is the same with x and y exchanged
    ("NonMaxSuppression", "nms_boxes nms_scores nms_most_of_class nms_overlap nms_threshold", "nms_kept", {}),
    ("GatherND", "nms_scores nms_kept", "nms_kept_scores", {}),
    ("Mul", "nms_scores nms_zero", "nms_nothing", {}),
    ("ScatterND", "nms_nothing nms_kept nms_kept_scores", "nms_placed", {}),
    ("Reshape", "nms_placed nms_flat", "nms_every", {}),
    ("Pad", "nms_every nms_room nms_zero", "nms_padded", {}),
    ("TopK", "nms_padded nms_most", "scores nms_best", {"axis": 1}),
    # back to class and box
    ("Greater", "scores nms_zero", "nms_real", {}),
    ("Div", "nms_best nms_each", "nms_class", {}),
    ("Where", "nms_real nms_class nms_none", "labels", {}),
    ("Cast", "nms_real", "nms_ones", {"to": 7}),
    ("ReduceSum", "nms_ones nms_last", "count", {"keepdims": 0}),
    ("Mod", "nms_best nms_each", "nms_place", {}),
    ("Unsqueeze", "nms_place nms_last", "nms_place_rows", {}),
    ("GatherND", "nms_boxes nms_place_rows", "nms_found", {"batch_dims": 1}),
    ("Clip", "nms_found nms_zero nms_side", "nms_inside", {}),
    ("Unsqueeze", "nms_real nms_end", "nms_real_rows", {}),
    ("Where", "nms_real_rows nms_inside nms_zero", "boxes", {}),
)
