"""What holds for every input: hypothesis looks for one that it does not hold for."""
