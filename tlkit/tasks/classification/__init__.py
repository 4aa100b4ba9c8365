"""Classification: classifier, heads, phases, metrics, calibration."""
