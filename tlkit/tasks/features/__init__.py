"""Features of images: extractors, engines, cache, handcrafted ones."""
