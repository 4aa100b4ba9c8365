"""Metrics of detection: matching, average precision, F1, intervals."""
