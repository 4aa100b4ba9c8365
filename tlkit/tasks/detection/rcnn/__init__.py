"""R-CNN family: regions pooled from maps, and the detectors built on them."""
