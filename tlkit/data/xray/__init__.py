"""X-ray simulator: geometry, projection, physics; crops and whole bags drawn from a seed."""
