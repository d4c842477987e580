"""The small network and its input that tests of the engine share."""

from __future__ import annotations

from typing import Any

import numpy as np
from engine_nets import make, stimulus

from spikec.ir.events import Events
from spikec.ir.graph import Graph


def problem(seed: int = 0, **options: Any) -> tuple[Graph, Events]:
    rng = np.random.default_rng(seed)
    if options.get("recurrent"):
        options.setdefault("refractory", 3e-3)  # no runaway activity
    graph = make("CubaLIF", rng, **options)
    return graph, stimulus(6, rng, batch=7)
