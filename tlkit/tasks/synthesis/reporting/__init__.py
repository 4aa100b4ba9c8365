"""Report of a GAN: image grids and curves."""
