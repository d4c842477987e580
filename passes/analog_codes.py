"""What a model's numbers become on an analog chip: weights in steps, potentials in steps of the readout, times a
thousandth, or whatever the chip's speed is.

A weight w adds r w_in w / tau_syn to the synaptic current of a membrane, in the membrane's units; over the distance
from rest to threshold that is its strength. The largest weight of a row has the strength `full_scale`; a step is a
`levels`-th of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from ..ir.analog.chip import AnalogChip, Span
from ..ir.analog.network import AnalogNetwork, AnalogPopulation, AnalogProjection, codes_of
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.network import Dense, Network, Population, Projection
from ..ir.nodes import Array
from .chip_parts import cut_into_runs, places_of
from .circuits import Places, circuits_each, circuits_taken, place_circuits

__all__ = ["MOST_ROWS", "analog_network", "rows_chosen", "span_of", "step_of"]

MOST_ROWS = 64
"""A source, of one projection."""
_CUT = 0.01
"""Of a projection's weights, as a share of the sum of their squares: what may be cut off before it takes more rows."""
_LOST = 0.5
"""What is told of when it is rounded to nothing, as such a share."""

_LEVEL = 1e-9
"""Relative slack of a time constant at the end of its range: 1000 times a thousandth is not always one."""


def analog_network(network: Network, chip: AnalogChip, *, speed_up: float, full_scale: float,
                   rows: Mapping[str, int], faults: Diagnostics, partition: bool = False) -> AnalogNetwork:
    """`network`: in the chip's form (`passes/analog_form.py`). `rows`: of each projection by name, rows a source.
    `partition`: what is larger than the chip is cut into runs. Weights that are cut off are counted, and told, and so
    it is told where most of them are rounded to nothing (SC373, warnings).

    Raises:
        UnsupportedError: naming every parameter that is out of the chip's range (SC372).
        DoesNotFitError: as `place_circuits`, or as `cut_into_runs`.
    """
    for population in network.populations.values():
        _check_ranges(population, chip, speed_up, faults)
    for each in network.projections:
        if each.delay is not None:
            tau = np.asarray(network.populations[each.target].tau_syn).mean()
            _within(np.asarray(each.delay) / tau, chip.spans.get("delay"), "delay", each.name, faults,
                    "time constants of the synapse")
    faults.raise_if_errors(UnsupportedError)
    takes = circuits_taken(network, circuits_each(network, chip, rows, Diagnostics()))
    schedule = cut_into_runs(network, chip, rows) if partition and sum(takes.values()) > chip.circuits else None
    places = place_circuits(network, chip, rows) if schedule is None else places_of(network, schedule)
    projections = tuple(_projection(each, network, chip, full_scale, rows, speed_up, places, faults, partition)
                        for each in network.projections)
    return AnalogNetwork(
        chip=chip.name, inputs={name: network.size(name) for name in network.inputs},
        populations={name: _population(each, chip, speed_up, places) for name, each in network.populations.items()},
        projections=projections, speed_up=speed_up, full_scale=full_scale, schedule=schedule)


def rows_chosen(network: Network, chip: AnalogChip, full_scale: float, partition: bool = False) -> dict[str, int]:
    """Rows a source of every projection: the fewest at which next to nothing of its weights is cut off, as far as
    circuits can take so many inputs, and as there are circuits. `partition`: as of `analog_network`."""
    wanted = {each.name: _rows_for(_steps(each, network, chip, full_scale), chip.levels)
              for each in network.projections}
    for most in range(max(wanted.values(), default=1), 1, -1):
        rows = {name: min(count, most) for name, count in wanted.items()}
        if _fits(network, chip, rows, partition):
            return rows
    return dict.fromkeys(wanted, 1)


def _rows_for(steps: Array, levels: int) -> int:
    size, low, high = np.abs(steps), 1, MOST_ROWS
    allowed = _CUT * float((size**2).sum())
    while low < high:
        middle = (low + high) // 2
        cut = float((np.maximum(size - (middle * levels + 0.5), 0) ** 2).sum())
        low, high = (low, middle) if cut <= allowed else (middle + 1, high)
    return low


def _fits(network: Network, chip: AnalogChip, rows: Mapping[str, int], partition: bool) -> bool:
    """Whether the circuits can take so many inputs, and there are as many as that takes; of a network that is cut into
    runs anyway, whether each of its loops fits."""
    faults = Diagnostics()
    each = circuits_each(network, chip, rows, faults)
    if faults.errors:
        return False
    if sum(circuits_taken(network, each).values()) <= chip.circuits:
        return True
    ones = circuits_each(network, chip, dict.fromkeys(rows, 1), Diagnostics())
    if not partition or sum(circuits_taken(network, ones).values()) <= chip.circuits:
        return False
    relays = {one.target: network.size(one.source) for one in network.projections if one.delay is not None}
    return all(sum(relays.get(name, 0) + each[name] * (network.size(name) if len(loop) > 1 else 1) for name in loop)
               <= chip.circuits for loop in network.schedule)


def _steps(each: Projection, network: Network, chip: AnalogChip, full_scale: float) -> Array:
    """(n_target, n_source): weights in steps, as they are."""
    step = step_of(network.populations[each.target], full_scale, chip.levels)
    return np.asarray(np.asarray(cast(Dense, each.connection).weight, np.float64) / step[:, None])


def step_of(population: Population, full_scale: float, levels: int) -> Array:
    """Model weight of one step onto each neuron, (n,). A readout's distance from rest to threshold is taken as one."""
    tau_syn, w_in, r = (np.asarray(getattr(population, name), np.float64) for name in ("tau_syn", "w_in", "r"))
    return span_of(population) * tau_syn / (np.abs(r * w_in)) * (full_scale / levels)


def span_of(population: Population) -> Array:
    """Model volts from rest to threshold, (n,)."""
    if population.v_threshold is None:
        return np.ones(population.n)
    return np.asarray(population.v_threshold, np.float64) - np.asarray(population.v_leak, np.float64)


def _projection(each: Projection, network: Network, chip: AnalogChip, full_scale: float, rows: Mapping[str, int],
                speed_up: float, places: Places, faults: Diagnostics, partition: bool) -> AnalogProjection:
    step, given = step_of(network.populations[each.target], full_scale, chip.levels), rows[each.name]
    steps, most = _steps(each, network, chip, full_scale), chip.levels * given
    codes = codes_of(steps, 1.0, most).astype(np.int32)
    clipped = int((np.abs(steps) > most + 0.5).sum())
    if clipped:
        largest = float(np.abs(steps).max()) / most
        more = int(np.ceil(largest * given))
        helps = more <= MOST_ROWS and _fits(network, chip, {**rows, each.name: more}, partition)
        faults.add("SC373", "weights are larger than the chip's, and cut off", node=each.name, severity="warning",
                   value=f"{clipped} of {steps.size}, the largest {largest:.3g} times what {given} "
                         f"row{'s hold' if given > 1 else ' holds'}", limit=f"{most} steps",
                   remedy=f"Give rows={{'{each.name}': {more}}}, or train in the loop." if helps else
                          "More rows are not to be had: give the neurons a synapse that lasts longer (CubaLIF), or "
                          "train in the loop.")
    wanted = float((steps**2).sum())
    if wanted and float((steps[codes == 0] ** 2).sum()) > _LOST * wanted:
        faults.add("SC373", "weights are smaller than the chip's steps, and rounded to nothing", node=each.name,
                   severity="warning", value=f"{int(((codes == 0) & (steps != 0)).sum())} of {steps.size}, the largest "
                   f"weight {float(np.abs(steps).max()):.3g} steps", limit="half a step",
                   remedy=f"Give full_scale={full_scale * float(np.abs(steps).max()) / chip.levels:.3g}, or larger "
                          "weights or lower thresholds.")
    return AnalogProjection(
        name=each.name, source=each.source, target=each.target, codes=codes, step=step, rows=given, clipped=clipped,
        delay=None if each.delay is None else np.asarray(each.delay, np.float64) / speed_up,
        relays=places.relays.get(each.name))


def _population(population: Population, chip: AnalogChip, speed_up: float, places: Places) -> AnalogPopulation:
    span, rest, top = span_of(population), chip["readout.leak"], chip["readout.threshold"]
    held: dict[str, Any] = {}
    if population.spiking:
        after = np.zeros(population.n) if population.v_reset is None else np.asarray(population.v_reset)
        held = {"threshold": np.full(population.n, top), "refractory": _refractory(population) / speed_up,
                "reset": rest + (after - np.asarray(population.v_leak)) / span * (top - rest)}
    place = places.neurons[population.name]
    return AnalogPopulation(
        name=population.name, n=population.n, circuits=place.shape[1], spiking=population.spiking,
        tau_mem=np.asarray(population.tau_mem, np.float64) / speed_up,
        tau_syn=np.asarray(population.tau_syn, np.float64) / speed_up, leak=np.full(population.n, rest), span=span,
        place=place, run=None if places.runs is None else places.runs[population.name], **held)


def _check_ranges(population: Population, chip: AnalogChip, speed_up: float, faults: Diagnostics) -> None:
    name = population.name
    for each in ("tau_mem", "tau_syn"):
        values = np.asarray(getattr(population, each), np.float64)
        _within(values / speed_up, chip.spans[each], each, name, faults,
                f"s on the chip, at a speed-up of {speed_up:g}")
    if (np.asarray(population.r) * np.asarray(population.w_in) <= 0).any():
        faults.add("SC372", "r w_in is to be positive: the chip's synapses have their signs by rows", node=name)
    if not population.spiking:
        return
    if (span_of(population) <= 0).any():
        faults.add("SC372", "the threshold is to be above the potential at rest", node=name,
                   value=f"{span_of(population).min():.6g} above")
        return
    _within(_refractory(population) / speed_up, chip.spans["refractory"], "refractory", name, faults,
            f"s on the chip, at a speed-up of {speed_up:g}", from_zero=True)
    if population.reset == "subtract":
        faults.add("SC372", "the chip's membranes are reset to a potential", node=name, value="subtract")
    elif "potential" in chip.spans:
        rest, top = chip["readout.leak"], chip["readout.threshold"]
        after = np.zeros(population.n) if population.reset == "zero" else np.asarray(population.v_reset)
        _within(rest + (after - np.asarray(population.v_leak)) / span_of(population) * (top - rest),
                chip.spans["potential"], "v_reset", name, faults, "LSB")


def _refractory(population: Population) -> Array:
    return (np.zeros(population.n) if population.refractory is None
            else np.asarray(population.refractory, np.float64))


def _within(values: Array, span: Span | None, what: str, node: str, faults: Diagnostics, unit: str,
            from_zero: bool = False) -> None:
    """`from_zero`: what is below the range becomes its end; the shortest that there is."""
    if span is None:
        faults.add("SC372", f"the chip has no {what}", node=node)
        return
    low = 0.0 if from_zero else span.low * (1 - _LEVEL)
    if values.size and not (low <= values.min() and values.max() <= span.high * (1 + _LEVEL)):
        faults.add("SC372", f"{what} is out of the chip's range", node=node,
                   value=f"{values.min():.6g}..{values.max():.6g} {unit}",
                   limit=f"{span.low:g}..{span.high:g} ({span.source})",
                   remedy="Change the model, or give another speed_up." if what.startswith("tau") else "")
