"""Tensors to Keras models: backbones, weights, classifier, features, training."""
