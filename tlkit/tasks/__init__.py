"""One folder a task: model, fit, metrics, plots, serving, workflow."""
