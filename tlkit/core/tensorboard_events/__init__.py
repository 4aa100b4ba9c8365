"""TensorBoard's event files, without TensorFlow: read, and mended before a resumed run writes on."""
