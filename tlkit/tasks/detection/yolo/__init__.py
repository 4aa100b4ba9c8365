"""YOLO with anchors (v2, v3): cells, anchors, and the detectors built on them."""
