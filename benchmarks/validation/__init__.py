"""Every law of the simulated world beside something independent: `make validate` writes docs/validation.md."""
