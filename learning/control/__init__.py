"""Controllers: what a system decides about radio, cuts, batches and tokens, as optimisation problems with solvers."""
