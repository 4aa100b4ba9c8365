"""What all tasks share: training, reporting, serving."""
