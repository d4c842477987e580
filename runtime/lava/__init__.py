"""Lava 0.10: the environment that runs it, and the worker that runs generated programs there."""
