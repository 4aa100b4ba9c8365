"""Data set and labelled images: sources, findings, decoding, splits, leaks, batches, augmentation."""
