"""Inference of a model whose experts are called over a network."""
