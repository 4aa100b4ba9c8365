"""Images with boxes: the data set, faults, splits, batches, augmentation, crops."""
