"""Comparison of the simulated models with independent references: `make validate` writes docs/validation.md."""
