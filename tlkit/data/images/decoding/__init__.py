"""Decoding of images: formats, headers, sizes declared and allowed, bit depth; what a file becomes as an array."""
