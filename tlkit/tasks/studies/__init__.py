"""Studies: does it help? Few-shot, composites, backbones; arms, gains, interpretations."""
