"""Where populations lie on Xylo, and when they act there.

The chip has one block of hidden neurons, which inputs and hidden neurons feed, and one of outputs, which hidden neurons
alone feed and which feed nothing. Several hidden populations lie side by side in the block, and layers become parts of
its recurrent matrix. Input events arrive in their own column; spikes of hidden neurons one column later. With l the
latency of a population, D the columns that a projection takes in the model and `hop` those that it takes on the chip,

    l(target) = l(source) + hop - D - lag(target)

where `lag` is 1 if the model's membrane takes what arrives a column later. There are no delays on the chip: where paths
do not agree, the difference is told. Latencies are made positive by giving the inputs to the chip later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.network import Network
from ..ir.nodes import Array

__all__ = ["XyloLayout", "xylo_layout"]

_SLACK = 1
"""Columns that a connection may act sooner or later than in the model: told; beyond, refused."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class XyloLayout:
    """Names with their places: channels of each input, neurons of each population in its block. `latency`: columns
    that a population acts later than in the model, once the inputs are given `input_delay` columns later."""

    inputs: Mapping[str, slice]
    hidden: Mapping[str, slice]
    outputs: Mapping[str, slice]
    latency: Mapping[str, int]
    input_delay: int

    def place(self, name: str) -> tuple[str, slice]:
        """The block of a population, "hidden" or "outputs", and where it is in it."""
        return ("hidden", self.hidden[name]) if name in self.hidden else ("outputs", self.outputs[name])


def xylo_layout(network: Network, delays: Mapping[str, Array], lags: Mapping[str, int],
                faults: Diagnostics) -> XyloLayout:
    """The layout of a scheduled network. `delays`: columns that each projection takes in the model, by its name;
    `lags`: by population. `faults` gets SC343 where an output shows what is no output of the chip, and SC344."""
    feeds = {each.source for each in network.projections}
    shown = set(network.outputs.values())
    outputs = {name for name in shown if name not in feeds
               and all(each.source not in network.inputs for each in network.incoming[name])}
    for output, name in network.outputs.items():
        if name not in outputs:
            why = "feeds others" if name in feeds else "takes inputs"
            faults.add("SC343", "an output shows neurons that are no outputs of the chip: those take spikes of hidden "
                       "neurons alone, and send none on", node=output, value=f"'{name}' {why}",
                       remedy="Add a layer of output neurons after it.")
    hidden = {name: network.populations[name].n for name in network.populations if name not in outputs}
    latency = _latencies(network, delays, lags)
    _check_paths(network, delays, lags, latency, faults)
    first = min((each for name, each in latency.items() if name in network.populations), default=0)
    delay = max(0, -first)
    return XyloLayout(
        inputs=_places({name: network.size(name) for name in network.inputs}), hidden=_places(hidden),
        outputs=_places({name: network.populations[name].n for name in network.populations if name in outputs}),
        latency={name: each + delay for name, each in latency.items() if name in network.populations},
        input_delay=delay)


def _places(sizes: Mapping[str, int]) -> dict[str, slice]:
    found, begin = {}, 0
    for name, size in sizes.items():
        found[name] = slice(begin, begin + size)
        begin += size
    return found


def _hop(network: Network, source: str) -> int:
    return 0 if source in network.inputs else 1


def _latencies(network: Network, delays: Mapping[str, Array], lags: Mapping[str, int]) -> dict[str, int]:
    """By input and population. Of several sources the one that acts last counts; within a cycle, populations follow
    the first of it that has a source outside."""
    found = dict.fromkeys(network.inputs, 0)

    def after(name: str) -> list[int]:
        return [found[each.source] + _hop(network, each.source) - int(np.min(delays[each.name], initial=1 << 30))
                - lags[name] for each in network.incoming[name] if each.source in found and each.source != name]

    for component in network.schedule:
        waiting = list(component)
        start = next((name for name in waiting if after(name)), waiting[0])
        while waiting:
            name = start if start in waiting else next(each for each in waiting if after(each))
            found[name] = max(after(name), default=0)
            waiting.remove(name)
    return found


def _check_paths(network: Network, delays: Mapping[str, Array], lags: Mapping[str, int], latency: Mapping[str, int],
                 faults: Diagnostics) -> None:
    for each in network.projections:
        sooner = (delays[each.name] + lags[each.target] + latency[each.target] - latency[each.source]
                  - _hop(network, each.source))
        worst = int(sooner.reshape(-1)[np.abs(sooner).argmax()]) if sooner.size else 0
        if worst:
            faults.add("SC344", "a connection takes other steps on the chip than in the model, beside the latency of "
                       "its neurons", node=each.name, value=f"{abs(worst)} {'fewer' if worst > 0 else 'more'}",
                       limit=f"{_SLACK}; the chip has no delays",
                       severity="warning" if abs(worst) <= _SLACK else "error",
                       remedy="Give all paths to a population the same number of layers and no delays"
                              + ("; on a grid of integrator 'decay' or 'semi', a recurrent step is the chip's."
                                 if each.source in network.populations else "."))
