"""Reporting for all tasks: style, charts, image grid, HTML, TensorBoard."""
