"""What cannot be done with a neuron that is stated by equations: bits that its functions return, and where a run has
them. The texts of kernels are given these."""

from __future__ import annotations

__all__ = ["DIVERGED", "GONE", "NO_MEMORY", "SHIFT", "STIFF", "STUCK"]

DIVERGED, STIFF, NO_MEMORY, GONE, STUCK = 1, 2, 4, 8, 16
"""A state grows beyond all bounds, changes too fast, finds no memory for its way, is no number; a reset does not lower
the level that the threshold compares."""
SHIFT = 4
"""Where they begin in the faults of a run, behind those of every event loop (arrivals.jinja)."""
