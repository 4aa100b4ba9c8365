"""Metrics of generated images: KID, precision and recall, memorisation, collapse."""
