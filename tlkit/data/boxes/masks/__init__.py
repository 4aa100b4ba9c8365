"""Instance masks of boxes: kept as run lengths, read from outlines and mask images, checked, cut, resampled."""
