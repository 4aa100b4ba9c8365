"""Inspection of a network: layer table, trace, Grad-CAM."""
