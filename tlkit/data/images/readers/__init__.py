"""Readers of labelled images: files below a folder, class folders, CSV tables, tensorflow-datasets, GDXray."""
