"""Before and after: whether two versions of the code answer alike."""
