"""Stands here so that pytest puts this folder on the import path: the helpers in it serve the tests of all rooms."""
