"""Networks in Xylo's numbers and models that become them, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikec import Discretization, Graph
from spikec.ir import nodes as ir
from spikec.ir.integer.xylo import XyloNetwork, XyloNeurons

GRID = Discretization(dt=1e-3, integrator="semi", fires="at", spikes="many")
TAUS = (16e-3, 8e-3)


def numbers(rng: np.random.Generator, *, extreme: bool = False, recurrent: bool = True, bias: bool = True,
            alias: bool = True, n_in: int = 7, n: int = 37, n_out: int = 5) -> XyloNetwork:
    """Random arrays over whole fields (`extreme`), or over ranges in which neurons fire often and nothing is cut off
    for long."""
    dashes, thresholds = (16, 32768) if extreme else (7, 900)

    def neurons(count: int) -> XyloNeurons:
        reach = 32767 if extreme else 200
        return XyloNeurons(dash_mem=rng.integers(0, dashes, count), dash_syn=rng.integers(0, dashes, count),
                           threshold=rng.integers(1, thresholds, count),
                           bias=rng.integers(-reach, reach + 1, count) * bias)

    others: Any = None
    if alias:
        others = np.where(rng.random(n) < 0.3, rng.integers(0, n, n), -1)
        others[others == np.arange(n)] = -1
    return XyloNetwork(
        w_in=rng.integers(-128, 128, (n_in, n)), w_out=rng.integers(-128, 128, (n, n_out)),
        w_rec=rng.integers(-128, 128, (n, n)) * (rng.random((n, n)) < 0.4) * recurrent, hidden=neurons(n),
        outputs=neurons(n_out), alias=others,
        **{f"shift_{name}": int(rng.integers(0, 9 if extreme else 3)) for name in ("in", "rec", "out")})


def model(rng: np.random.Generator, sizes: tuple[int, ...] = (10, 24, 5), *, recurrent: bool = False,
          grid: Discretization = GRID, scale: float = 1.0, readout: bool = False, bias: float = 0.0,
          taus: tuple[Any, Any] = TAUS, **changes: Any) -> Graph:
    """Layers of CubaLIF neurons reset by subtraction, which fire at moderate rates where about a tenth of the inputs
    does; the last of them is shown."""
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(sizes[0],))}
    edges: list[tuple[str, str]] = []
    before = "in"
    for number, (n, n_before) in enumerate(zip(sizes[1:], sizes, strict=False)):
        name, last = f"n{number}", number == len(sizes) - 2
        weight = scale * rng.normal(0.012, 0.03, (n, n_before)) * np.sqrt(10 / n_before)
        nodes[f"w{number}"] = (ir.Affine(weight=weight, bias=rng.uniform(0, bias, n)) if bias
                               else ir.Linear(weight=weight))
        facts: dict[str, Any] = {"shape": (n,), "tau_mem": taus[0], "tau_syn": taus[1],
                                 "w_in": np.max(np.asarray(taus[1])), "r": np.max(np.asarray(taus[0])) / grid.dt}
        nodes[name] = (ir.CubaLI(**facts) if last and readout else
                       ir.CubaLIF(**facts, **({"reset": "subtract"} | changes)))
        edges += [(before, f"w{number}"), (f"w{number}", name)]
        if recurrent and not last:
            nodes[f"r{number}"] = ir.Linear(weight=scale * rng.normal(-0.005, 0.02, (n, n)) * np.sqrt(10 / n))
            edges += [(name, f"r{number}"), (f"r{number}", name)]
        before = name
    nodes["out"] = ir.Output(shape=(sizes[-1],))
    return Graph(nodes, (*edges, (before, "out")), grid)


def events_of(rng: np.random.Generator, n: int = 10, samples: int = 6, steps: int = 120, rate: float = 0.12) -> Any:
    """(samples, steps, n): counts, few of them above one."""
    return np.minimum(rng.poisson(rate, (samples, steps, n)), 15).astype(np.uint8)
