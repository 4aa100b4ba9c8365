"""Images with boxes, a part of the data set: reading, faults, splits, batches, augmentation, crops."""
