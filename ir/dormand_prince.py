"""The numbers of the method of order 5 of Dormand & Prince (J. Comput. Appl. Math. 6:19, 1980)."""

from __future__ import annotations

__all__ = ["ERROR", "NODES", "STAGES"]

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
"""Where in a step a stage looks, as a share of its length."""
STAGES: tuple[tuple[float, ...], ...] = (
    (), (1 / 5,), (3 / 40, 9 / 40), (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84))
"""What each stage takes of those before it; the last is the step."""
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""What the error is estimated by: the step less that of order 4."""
