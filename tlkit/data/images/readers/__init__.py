"""Readers of labelled images: class folders, CSV tables, tensorflow-datasets, GDXray."""
