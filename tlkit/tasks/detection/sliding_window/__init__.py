"""Sliding window: a classifier moved over an image as a detector."""
