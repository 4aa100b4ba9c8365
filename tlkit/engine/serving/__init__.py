"""Serving for all tasks: SavedModels written, loaded and asked, and models converted."""
