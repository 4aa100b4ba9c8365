"""Synthesis: GANs, their training, and what a generator can be asked."""
