"""Detection: detectors, anchors, losses, training, predictions."""
