"""Checks of a data set: everything that is wrong with it, named before anything is learned."""
