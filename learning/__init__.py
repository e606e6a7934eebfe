"""Real learning, triggered at simulated times: tensors, executors, models, data and schemes. It never sees a radio."""
