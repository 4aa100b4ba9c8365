"""Serving a generator: its SavedModel and the graph in it."""
