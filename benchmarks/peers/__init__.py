"""Other simulators of federated learning on the same task, each in an environment of its own; README.md says how."""
