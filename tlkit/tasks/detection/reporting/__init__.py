"""Report of a detector: plots, boxes drawn, files of what was found, the HTML page."""
