"""Serving a detector: its SavedModel, and ONNX and LiteRT files."""
