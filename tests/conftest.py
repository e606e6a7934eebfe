"""Settings of all tests. It stands here so that pytest puts this folder on the import path, too."""

from hypothesis import settings

settings.register_profile("gate", derandomize=True, deadline=None)  # the same answer twice, whatever the load
settings.load_profile("gate")
