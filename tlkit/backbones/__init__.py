"""Backbones: the table of networks, their layers, their weights, and how they are built."""
