"""YOLOv1, YOLOv2, YOLOv3: cells, anchors, and the detectors built on them."""
