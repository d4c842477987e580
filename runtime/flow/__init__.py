"""Neurons of free form in the event engine: what is derived of their equations, and how their kernels are run."""
