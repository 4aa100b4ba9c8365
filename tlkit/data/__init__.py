"""Files to tensors: X-ray simulator, images, boxes, checks; each imports only from those named before it."""
