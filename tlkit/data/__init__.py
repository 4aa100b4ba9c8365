"""Files to tensors: sources, decoding, splits, batches, augmentation, simulated X-ray."""
