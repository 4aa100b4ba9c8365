"""Serving a classifier: its SavedModel, and ONNX and LiteRT files."""
