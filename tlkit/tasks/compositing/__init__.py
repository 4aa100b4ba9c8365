"""Compositing: threats pasted into X-ray images, beforehand or while a detector learns."""
