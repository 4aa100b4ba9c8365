"""Report of a classifier: plots, figures, interpretation, the HTML page."""
