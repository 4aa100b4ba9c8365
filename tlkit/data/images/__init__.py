"""Labelled images: sources, decoding, splits, leaks, batches, augmentation."""
