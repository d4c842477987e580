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

__all__ = ["analog_network", "span_of", "step_of"]

_LEVEL = 1e-9
"""Relative slack of a time constant at the end of its range: 1000 times a thousandth is not always one."""


def analog_network(network: Network, chip: AnalogChip, *, speed_up: float, full_scale: float,
                   rows: Mapping[str, int], faults: Diagnostics, partition: bool = False) -> AnalogNetwork:
    """`network`: in the chip's form (`passes/analog_form.py`). `rows`: of each projection by name, rows a source.
    `partition`: what is larger than the chip is cut into runs. Weights that are cut off are counted, and told (SC373,
    a warning).

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
    projections = tuple(_projection(each, network, chip, full_scale, rows[each.name], speed_up, places, faults)
                        for each in network.projections)
    return AnalogNetwork(
        chip=chip.name, inputs={name: network.size(name) for name in network.inputs},
        populations={name: _population(each, chip, speed_up, places) for name, each in network.populations.items()},
        projections=projections, speed_up=speed_up, full_scale=full_scale, schedule=schedule)


def step_of(population: Population, full_scale: float, levels: int) -> Array:
    """Model weight of one step onto each neuron, (n,). A readout's distance from rest to threshold is taken as one."""
    tau_syn, w_in, r = (np.asarray(getattr(population, name), np.float64) for name in ("tau_syn", "w_in", "r"))
    return span_of(population) * tau_syn / (np.abs(r * w_in)) * (full_scale / levels)


def span_of(population: Population) -> Array:
    """Model volts from rest to threshold, (n,)."""
    if population.v_threshold is None:
        return np.ones(population.n)
    return np.asarray(population.v_threshold, np.float64) - np.asarray(population.v_leak, np.float64)


def _projection(each: Projection, network: Network, chip: AnalogChip, full_scale: float, rows: int, speed_up: float,
                places: Places, faults: Diagnostics) -> AnalogProjection:
    step = step_of(network.populations[each.target], full_scale, chip.levels)
    weight, most = np.asarray(cast(Dense, each.connection).weight, np.float64), chip.levels * rows
    codes = codes_of(weight, step[:, None], most).astype(np.int32)
    clipped = int((np.abs(weight) > (most + 0.5) * step[:, None]).sum())
    if clipped:
        largest = float(np.abs(weight / step[:, None]).max()) / most
        faults.add("SC373", "weights are larger than the chip's, and cut off", node=each.name, severity="warning",
                   value=f"{clipped} of {weight.size}, the largest {largest:.3g} times what a row holds",
                   limit=f"{most} steps",
                   remedy=f"Give rows={{'{each.name}': {int(np.ceil(largest * rows))}}}, or train in the loop.")
    return AnalogProjection(
        name=each.name, source=each.source, target=each.target, codes=codes, step=step, rows=rows, clipped=clipped,
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
