"""Serving for all tasks: SavedModels loaded and asked, and models converted."""
