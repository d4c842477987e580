"""Whether two models, programs or frameworks do the same: both run on one input, and are compared spike by spike."""

from __future__ import annotations

from math import inf, prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.facts import check_dt, is_number
from ..ir.graph import Graph
from ..ir.nodes import Array, is_spiking, params
from ..targets.analog.check import AnalogCheck, check_analog_program
from ..targets.analog.program import AnalogProgram
from ..targets.dynapse2.exact import check_dynapse2_program
from ..targets.dynapse2.program import Dynapse2Program
from ..targets.loihi.check import ExactCheck, check_program
from ..targets.loihi.program import LoihiProgram
from ..targets.registry import TARGETS
from ..targets.xylo.check import XyloCheck, check_xylo_program
from ..targets.xylo.program import XyloProgram
from .comparison import EXACT, Comparison, LayerPair, compare
from .frontends.models import stated_grid
from .graded_sides import make_signals, sample_times
from .sides import REFERENCES, Side, loaded, open_sides
from .stimulus import Stimulus, make_stimulus, sizes_of

__all__ = ["validate"]

VOLTAGE = 1e-5
"""What membranes may differ by on one and the same grid, where nothing else is said."""
MOST_VOLTAGES = 1 << 27
"""Membrane values that are recorded on each side at most: 1 GiB."""
INSTANTS = 100
"""At which membranes are compared in continuous time."""


def validate(a: Any, against: Any, data: Any = "random", *, duration: float | None = None, dt: float | None = None,
             spike: str | None = None, sample: Any = None, target_a: str | None = None, target_b: str | None = None,
             tolerance_time: float | None = None, tolerance_voltage: float | None = None, samples: int = 4,
             seed: int = 0) -> Comparison:
    """Runs two models on the same input and compares every layer that they have in common.

    Args:
        a: a Graph, a Builder, a torch module, a program, or the path of a model or of a compiled folder.
        against: what it is held against, likewise; or "reference", "exact" or "source": the same model, run so.
        data: Events, a raster (batch, time, *shape), either of them by input node, the path of an `.npz` of events or
            of an `.npy` raster, or `random[:RATE[:STEPS]]`: RATE spikes of a channel and step.
        duration: seconds; by default that of a raster, and up to the last event.
        dt: seconds a step, of torch modules that do not know it, of data that are rasters, and, with `spike`
            ("delta" or "box"), of the grid that files and graphs were meant for which state none. Of graded synapses,
            seconds between samples: rasters are signals then, and events impulses.
        sample: what `forward` of torch modules takes, as for `from_torch`. Without it, a module that needs one is given
            one of the sizes of the data, where these or the other side tell them.
        target_a, target_b: `reference` (the graph on its grid, numpy), `exact` (in continuous time, numpy), `source`
            (the torch module, by its framework), or a target. By default A is run as what it is compiled to, and B as
            what it came from.
        tolerance_time: seconds that two spikes may be apart. By default 0 between grids of one dt, a step where one of
            the two runs in steps, 1e-9 in continuous time.
        tolerance_voltage: what membranes may differ by, relative to the largest one where that is above 1; of graded
            synapses their currents, and outputs. By default 1e-5 between grids of one dt and of graded synapses; else,
            and beside a chip, membranes are measured, and nothing follows from it.
        samples, seed: of random data.

    Raises:
        BadInputError: what is said of models by their front ends; the two have nothing in common (SC560), an engine
            cannot run a side (SC561), the data are malformed (SC562), `dt`, a tolerance or the duration is out of
            range (SC550).
        UnsupportedError: a target cannot take a side.
    """
    _check_numbers(dt, duration=duration, tolerance_time=tolerance_time, tolerance_voltage=tolerance_voltage)
    if isinstance(against, str) and against in REFERENCES and not Path(against).exists():
        against, target_b = a, against
    models = loaded(a, against)
    grid = stated_grid(dt, spike)
    one, other = open_sides(models, (target_a, target_b), dt, grid, sample,
                            lambda shapes, step: sizes_of(data, shapes, step, duration, samples))
    notes: list[str] = []
    pairs = _pairs(one, other, notes)
    names = _inputs(one, other, notes)
    graded = one.graded is not None
    make = make_signals if graded else make_stimulus
    stimulus = make(data, one.inputs(), _data_step(one, other, dt), duration, samples, seed)
    together = one.dt is not None and one.dt == other.dt
    if tolerance_time is None:
        tolerance_time = 0.0 if together else max(one.dt or EXACT, other.dt or EXACT)
        if not together and tolerance_time > EXACT:
            notes.append(f"spikes may be {tolerance_time:g} s apart: one step of the coarser grid")
    drift = _drift(one, other)
    if tolerance_voltage is None and (graded or (together and drift is None)):
        tolerance_voltage = VOLTAGE
    if graded:
        notes.append("membranes stand for currents of neurons, in 1/s, and for the signals of outputs")
    instants = sample_times(stimulus) if graded else _instants(one, other, stimulus)
    recorded = _recorded(pairs, stimulus, instants, notes)
    recordings = (
        one.run(stimulus, {name: name for name in names}, instants, [pair.a for pair in recorded]),
        other.run(stimulus, names, instants, [pair.b for pair in recorded]),
    )
    if stimulus.moved > EXACT:
        notes.append(f"events were moved onto the grid, by {stimulus.moved:.3g} s at most")
    layers = tuple(compare(pair, *recordings, instants, tolerance_time, tolerance_voltage) for pair in pairs)
    differing = _differing(one.graph, other.graph) if any(layer.first for layer in layers) else []
    if differing:
        notes.append(f"A and B differ in their parameters: {', '.join(differing)}; a model that draws its weights has "
                     "others each time it is loaded, unless it sets a seed")
    silent = [f"'{layer.pair.a}'" for layer in layers if layer.fired == 0]
    if silent:
        notes.append(f"no neuron of {', '.join(silent)} spiked on either side, which shows little")
    return Comparison(str(one), str(other), layers, stimulus.samples, stimulus.duration, tolerance_time,
                      tolerance_voltage, tuple(notes), drift, _exact(one, other), recordings)


def _drift(*sides: Side) -> float | None:
    """How far apart a chip and its model may be: the larger of the limits of both sides, None without a chip."""
    limits = [TARGETS[side.engine].drift for side in sides if side.engine in TARGETS]
    return max((limit for limit in limits if limit is not None), default=None)


def _exact(*sides: Side) -> ExactCheck | XyloCheck | AnalogCheck | None:
    """Whether what runs on a chip is what was compiled for it."""
    for side in sides:
        if isinstance(side.program, LoihiProgram):
            return check_program(side.program)
        if isinstance(side.program, XyloProgram):
            return check_xylo_program(side.program)
        if isinstance(side.program, AnalogProgram):
            return check_analog_program(side.program)
        if isinstance(side.program, Dynapse2Program):
            return check_dynapse2_program(side.program)
    return None


def _check_numbers(dt: float | None, **numbers: float | None) -> None:
    faults = Diagnostics()
    if dt is not None:
        check_dt(dt, "SC550", faults)
    for name, value in numbers.items():
        least = 0.0 if name.startswith("tolerance") else np.finfo(float).tiny
        if value is not None and not (is_number(value) and least <= value < inf):
            faults.add("SC550", f"{name.replace('_', ' ')} is out of range", value=repr(value),
                       limit="a finite number, " + (">= 0" if least == 0 else "> 0"))
    faults.raise_if_errors()


def _pairs(one: Side, other: Side, notes: list[str]) -> tuple[LayerPair, ...]:
    """The layers to compare: those of one name and size; the outputs, in order, where their layers have no such."""
    if (one.graded is None) != (other.graded is None):
        taking = one if one.graded is not None else other
        raise BadInputError(Diagnostic(
            "SC560", "one of the two has graded synapses and takes signals, the other one spikes", node=taking.name,
            remedy="Compare networks of graded synapses with one another, or with exact."))
    mine, its = one.layers(), other.layers()

    def pair(a: str, b: str, by: Literal["name", "output order"]) -> LayerPair:
        return LayerPair(a, b, mine[a], by, is_spiking(one.graph.nodes[a]) or is_spiking(other.graph.nodes[b]))

    found = {name: pair(name, name, "name") for name, shape in mine.items()
             if name in its and prod(its[name]) == prod(shape)}
    taken = set(found)
    outputs = list(zip(one.outputs(), other.outputs(), strict=False))
    for a, b in outputs:
        if a not in found and b not in taken and prod(mine[a]) == prod(its[b]):
            found[a] = pair(a, b, "output order")
            taken.add(b)
    if not found:
        raise BadInputError(Diagnostic(
            "SC560", "no layer of A has the name and the size of one of B, and no output the size", node=one.name,
            value=", ".join(f"{name} {_times(shape)}" for name, shape in mine.items()),
            limit=", ".join(f"{name} {_times(shape)}" for name, shape in its.items()),
            remedy="Name the layers alike, or give both the same outputs in the same order."))
    notes += [f"layer '{each.a}' of A is held against '{each.b}' of B by the order of the outputs"
              for each in found.values() if each.by == "output order"]
    left = [*(f"'{name}' of A" for name in mine if name not in found),
            *(f"'{name}' of B" for name in its if name not in taken)]
    if left:
        notes.append(f"not compared, without a counterpart of their name and size: {', '.join(left)}")
    return tuple(found[name] for name in mine if name in found)


def _inputs(one: Side, other: Side, notes: list[str]) -> dict[str, str]:
    """The input of B for each of A: by name, else in order."""
    mine, its = one.inputs(), other.inputs()
    if len(mine) != len(its):
        raise BadInputError(Diagnostic("SC560", "the two have different numbers of inputs", value=", ".join(mine),
                                       limit=", ".join(its)))
    names = {name: name for name in mine} if set(mine) == set(its) else dict(zip(mine, its, strict=True))
    faults = Diagnostics()
    for name, counterpart in names.items():
        if prod(mine[name]) != prod(its[counterpart]):
            faults.add("SC560", f"input '{name}' of A and '{counterpart}' of B differ in size", node=name,
                       value=_times(mine[name]), limit=_times(its[counterpart]))
        elif name != counterpart:
            notes.append(f"input '{name}' of A is '{counterpart}' of B, by their order")
    faults.raise_if_errors()
    return names


def _differing(one: Graph, other: Graph) -> list[str]:
    """The parameters, of nodes of one name, that differ by more than float32 rounds."""
    found = []
    for name in (name for name in one.nodes if name in other.nodes):
        its = params(other.nodes[name])
        found += [f"'{name}'.{key}" for key, value in params(one.nodes[name]).items()
                  if key in its and not (value.shape == its[key].shape and np.allclose(value, its[key], 1e-6, 0.0))]
    return found


def _data_step(one: Side, other: Side, dt: float | None) -> float | None:
    """Seconds a column, of data that are rasters: of the grid that the sides state, where they agree."""
    stated = {side.graph.discretization.dt for side in (one, other) if side.graph.discretization is not None}
    return dt if dt is not None else stated.pop() if len(stated) == 1 else None


def _instants(one: Side, other: Side, stimulus: Stimulus) -> Array:
    """When membranes are compared: at the columns of the grid that there is, of the coarser one where there are two."""
    steps = [side.dt for side in (one, other) if side.dt is not None]
    if not steps:
        return np.linspace(0, stimulus.duration, INSTANTS + 1)[1:]
    dt = max(steps)
    if len(steps) == 2 and abs(dt / min(steps) - round(dt / min(steps))) > 1e-6:
        return np.empty(0)
    columns = max(1, round(stimulus.duration / dt))
    return np.asarray(np.minimum((np.arange(columns) + 1) * dt, max(stimulus.duration, dt)))


def _recorded(pairs: tuple[LayerPair, ...], stimulus: Stimulus, instants: Array, notes: list[str]) -> list[LayerPair]:
    """The layers whose membranes are recorded, in so far as there is memory for it."""
    room, found = MOST_VOLTAGES, []
    for pair in reversed(pairs):  # those near the outputs first
        room -= prod(pair.shape) * len(instants) * stimulus.samples
        if room >= 0 and len(instants):
            found.append(pair)
    if len(found) < len(pairs):
        notes.append(f"membranes are compared in {len(found)} of {len(pairs)} layers: "
                     + ("more do not fit into memory" if len(instants) else "the two grids have no instants in common"))
    return found


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
