"""Models to evidence and service: run folders, measures, pictures, report, serving."""
