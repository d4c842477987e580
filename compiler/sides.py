"""A side of a comparison: a model or a program, and what runs it.

    reference   the graph on its own grid, by `simulate_step`: plain numpy, one column after another
    exact       the graph in continuous time, by `simulate_exact`: plain numpy, spike times by root finding; of graded
                synapses by `simulate_graded`
    source      the torch module itself, by its framework
    TARGET      the program that a target of the registry makes of the graph
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic, SpikecError
from ..ir.events import Events
from ..ir.exact import simulate_exact
from ..ir.graded.network import GradedNetwork
from ..ir.graph import Discretization, Graph
from ..ir.nodes import Array, Input, Neuron
from ..ir.step import simulate_step
from ..ir.wiring import Wiring
from ..passes.lower_graded import is_graded
from ..targets.analog.program import ANALOG_TARGETS
from ..targets.dynapse2.program import Dynapse2Program
from ..targets.event.graded import GradedProgram
from ..targets.loihi.program import LoihiProgram
from ..targets.registry import TARGETS, target_named
from ..targets.xylo.program import XyloProgram
from .comparison import Recording
from .driver import AnyProgram, compile, load
from .frontends.builder import Builder
from .frontends.models import as_graph, is_code, is_folder, is_module, load_code, load_model, refuse_sample
from .graded_sides import run_engine, run_reference
from .pipeline import lower_graded
from .stimulus import Stimulus

if TYPE_CHECKING:
    from .frontends.pytorch.source import Source

__all__ = ["ENGINES", "REFERENCES", "Model", "Side", "loaded", "open_side", "open_sides"]

REFERENCES = ("reference", "exact", "source")
SizesOf = Callable[[Mapping[str, tuple[int, ...]] | None, float | None], list[tuple[int, ...]] | None]
"""From shapes of the inputs, as far as known, and seconds a step to the sizes (batch, time, *shape) of the data."""
ENGINES = (*REFERENCES, *(target.name for target in TARGETS.values() if target.status == "available"))


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a comparison as the user gave it, or what the code gives that it names. `name`: as the user spelled
    it."""

    name: str
    given: Any

    @property
    def is_code(self) -> bool:
        return is_code(self.name)


@dataclass(frozen=True, slots=True)
class Side:
    """`name`: as the user spelled it. `source`: the torch module that the graph was imported from, if any. `program`:
    of the target that runs the side, where it is one. `graded`: what a graph of graded synapses is lowered to; None of
    others."""

    name: str
    graph: Graph
    source: Source | None
    engine: str
    program: AnyProgram | None = None
    graded: GradedNetwork | None = None

    def __str__(self) -> str:
        return f"{self.name} on {self.engine}"

    @property
    def dt(self) -> float | None:
        """Of the grid that the side runs on; None in continuous time."""
        grid = self.graph.discretization
        timed = self.engine in ("reference", "source") or (
            self.engine in TARGETS and TARGETS[self.engine].time == "steps")
        return grid.dt if timed and grid is not None else None

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the neuron nodes, those nearest to the inputs first; of graded synapses, of the outputs too."""
        if self.graded is not None:
            return {**{name: each.shape for name, each in self.graded.populations.items()}, **self.graded.outputs}
        wiring = Wiring(self.graph)
        order = [name for wave in wiring.waves for name in wave]
        return {name: wiring.shapes[name].output for name in order}

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the input nodes, in order."""
        return {name: node.shape for name, node in self.graph.nodes.items() if isinstance(node, Input)}

    def outputs(self) -> list[str]:
        """The neuron nodes that outputs show, in order; of graded synapses the outputs."""
        if self.graded is not None:
            return list(self.graded.outputs)
        return list(Wiring(self.graph).shown_by.values())

    def run(self, stimulus: Stimulus, names: Mapping[str, str], instants: Array, recorded: list[str]) -> Recording:
        """What the side does. `names`: its input for each of the stimulus. `recorded`: the neuron nodes whose membrane
        is wanted at `instants` (seconds), all of them columns where the side runs on a grid."""
        if self.graded is None:
            return _RUNS[self.engine](self, stimulus, names, instants, recorded)
        if isinstance(self.program, GradedProgram):
            return run_engine(self.program, stimulus, names)
        return run_reference(self.graded, stimulus, names)


def loaded(one: Any, other: Any) -> tuple[Model, Model]:
    """Both models by name. Code that is named twice is run once: what it draws at random is the same on both sides.

    Raises:
        BadInputError: there is no such code, or it fails (SC230, SC231).
    """
    names = tuple(str(each) if isinstance(each, str | Path) else type(each).__name__ for each in (one, other))
    codes = {name: load_code(name) for name, each in zip(names, (one, other), strict=True)
             if isinstance(each, str | Path) and is_code(name)}
    mine, its = (Model(name, codes.get(name, each)) for name, each in zip(names, (one, other), strict=True))
    return mine, its


def open_sides(models: tuple[Model, Model], engines: tuple[str | None, str | None], dt: float | None,
               discretization: Discretization | None, sample: Any, sizes: SizesOf) -> tuple[Side, Side]:
    """Both sides of a comparison, as `open_side`. A torch module that cannot be imported without a sample is given one
    of the `sizes` of the data, which the shapes and the step of the other side tell where the data do not."""
    if not any(is_module(model.given) for model in models):
        refuse_sample(models[0].name, sample)
    found: list[Side | SpikecError] = []
    for number, (model, engine) in enumerate(zip(models, engines, strict=True)):
        try:
            found.append(open_side(model, engine, number == 0, dt, discretization, sample))
        except SpikecError as error:
            if sample is not None or not is_module(model.given):
                raise
            found.append(error)
    known = next((side for side in found if isinstance(side, Side)), None)
    sides = []
    for number, (model, engine, each) in enumerate(zip(models, engines, found, strict=True)):
        if isinstance(each, SpikecError):
            given = _sampled(model.given, dt, known, sizes, each)
            each = open_side(model, engine, number == 0, dt, discretization, given)
        sides.append(each)
    return sides[0], sides[1]


def _sampled(module: Any, dt: float | None, known: Side | None, sizes: SizesOf, error: SpikecError) -> Any:
    from .frontends.pytorch.sampled import needs_sample, sample_of

    found = None
    if needs_sample(error):
        grid = None if known is None else known.graph.discretization
        wanted = sizes(None if known is None else known.inputs(), dt if grid is None else grid.dt)
        found = None if wanted is None else sample_of(module, wanted, dt)
    if found is None:
        raise error
    return found


def open_side(model: Model, engine: str | None, first: bool, dt: float | None, discretization: Discretization | None,
              sample: Any = None) -> Side:
    """Side A (`first`) or B of a comparison. Without `engine`, A is run as what it is compiled to, and B as what it
    came from: A by a compiled folder's target, by clock where the graph states a grid and there is that target, or by
    event; B by its framework, by the reference of its grid, or in continuous time. `discretization`: of graphs that
    state none, and of a program's graph where that is run otherwise than by the program.

    Raises:
        BadInputError: no model (SC230, SC232 and what front ends say), no such engine, or one that cannot run this
            model (SC561).
        UnsupportedError: a target that is only planned (SC531), or a model that cannot be read.
    """
    graph, source, program = _opened(model, dt, discretization, sample)
    target = None if program is None else program.target
    itself = target is not None and (first if engine is None else engine == target)
    if program is not None and not itself and discretization is not None and graph.discretization is None:
        graph = as_graph(graph, model.name, discretization, None)
    chosen = engine or (_for_program(graph, target) if first else _for_source(graph, source))
    side = Side(model.name, graph, source, chosen, graded=lower_graded(graph) if is_graded(graph) else None)
    _check_engine(side)
    if chosen in TARGETS:
        side = replace(side, program=program if chosen == target else compile(graph, chosen))
    return side


def _opened(model: Model, dt: float | None, discretization: Discretization | None,
            sample: Any) -> tuple[Graph, Source | None, AnyProgram | None]:
    """The graph; the module that it is of, if any; the program that it is already, if any."""
    given = model.given.build() if isinstance(model.given, Builder) else model.given
    if is_module(given):
        source = _imported(given, dt, sample)
        return source.graph, source, None
    if isinstance(given, Graph):
        stated = discretization if model.is_code or given.discretization is None else None
        return given if stated is None else as_graph(given, model.name, stated, None), None, None
    if isinstance(given, str | Path) and is_folder(given):
        program = load(given)
        return program.graph, None, program
    if isinstance(given, str | Path):
        return load_model(given, discretization), None, None
    if isinstance(getattr(given, "graph", None), Graph):
        return given.graph, None, given
    raise BadInputError(Diagnostic("SC232", "this is no model that could be compared", value=type(given).__name__,
                                   limit="a path, a Graph, a Builder, a torch module or a program"))


def _imported(module: Any, dt: float | None, sample: Any) -> Source:
    """A module takes `dt` alone: what a spike is on its grid, it says itself."""
    from .frontends.pytorch.frontend import import_module

    return import_module(module, sample, dt)


def _for_program(graph: Graph, target: str | None) -> str:
    if target is not None:
        return target
    return "clock" if graph.discretization is not None and "clock" in ENGINES else "event"


def _for_source(graph: Graph, source: Source | None) -> str:
    if source is not None:
        return "source"
    return "exact" if graph.discretization is None else "reference"


def _check_engine(side: Side) -> None:
    if side.engine not in REFERENCES:
        target_named(side.engine)
    if side.engine == "source":
        _source_of(side)
    if side.graded is not None and side.engine == "reference":
        raise BadInputError(Diagnostic("SC561", f"'{side.name}' has graded currents, which are of continuous time",
                                       remedy="Use exact or event."))
    if side.graded is None and (side.engine in ("reference", "source")
                                or (side.engine in TARGETS and TARGETS[side.engine].time == "steps")):
        _step(side)


def _source_of(side: Side) -> Source:
    if side.source is None:
        raise BadInputError(Diagnostic("SC561", f"'{side.name}' is no torch module that its framework could run",
                                       remedy="Use reference, exact or a target."))
    return side.source


def _step(side: Side) -> float:
    grid = side.graph.discretization
    if grid is None:
        raise BadInputError(Diagnostic("SC561", f"'{side.name}' states no grid to be run on",
                                       remedy="Give --dt and --spike, or use exact or event."))
    return grid.dt


def _run_reference(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
                   recorded: list[str]) -> Recording:
    dt = _step(side)
    result = simulate_step(side.graph, _renamed(stimulus.rasters(dt), names, side))
    return _of_steps(side, result.spikes, result.voltage, instants, recorded)


def _run_exact(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
               recorded: list[str]) -> Recording:
    probes = {f"{name}.v": instants for name in recorded}
    result = simulate_exact(side.graph, _renamed(stimulus.events(), names, side), stimulus.duration, probes)
    return Recording(_neurons_only(side, result.spikes), _flat(result.probes))


def _run_event(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
               recorded: list[str]) -> Recording:
    probes = {f"{name}.v": instants for name in recorded}
    result = _program(side).run(_renamed(stimulus.events(), names, side), stimulus.duration, probes)
    return Recording(_neurons_only(side, result.spikes), _flat(result.probes))


def _run_spikes(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
                recorded: list[str]) -> Recording:
    """Of a chip that shows no membranes."""
    result = _program(side).run(_renamed(stimulus.events(), names, side), stimulus.duration)
    return Recording(_neurons_only(side, result.spikes), {})


def _run_clock(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
               recorded: list[str]) -> Recording:
    probes = {f"{name}.v": instants for name in recorded}
    result = _program(side).run(_renamed(stimulus.rasters(_step(side)), names, side), probes=probes)
    return Recording(_neurons_only(side, result.spikes), _flat(result.probes))


def _run_chip(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
               recorded: list[str]) -> Recording:
    """What every population did, each by its own latency earlier."""
    program, dt = cast(LoihiProgram | XyloProgram, _program(side)), _step(side)
    rasters = _renamed(stimulus.rasters(dt), names, side)
    steps = max(raster.shape[1] for raster in rasters.values())
    result = program.run(rasters, probes={f"{name}.v": None for name in recorded}, drain=True)
    columns = np.rint(instants / dt).astype(np.int64) - 1
    spikes = {name: _earlier(events, program.latency_of(name), steps, dt)
              for name, events in _neurons_only(side, result.spikes).items()}
    voltages = {name: values[:, columns + program.latency_of(name)]
                for name, values in _flat(result.probes).items()}
    return Recording(spikes, voltages)


def _earlier(events: Events, late: int, steps: int, dt: float) -> Events:
    """Spikes on a grid by `late` columns earlier, without those after `steps`."""
    plain = events.numpy()
    column = np.rint(plain.times / dt) - late
    kept = column <= steps
    offsets = np.concatenate([[0], np.cumsum(kept)])[plain.offsets]
    return Events(column[kept] * dt, plain.indices[kept], offsets)


def _program(side: Side) -> AnyProgram:
    """That of a side whose engine is a target: `open_side` has made it."""
    return cast(AnyProgram, side.program)


def _run_source(side: Side, stimulus: Stimulus, names: Mapping[str, str], instants: Array,
                recorded: list[str]) -> Recording:
    spikes, voltages = _source_of(side).run(_renamed(stimulus.rasters(_step(side)), names, side))
    return _of_steps(side, spikes, voltages, instants, recorded)


_RUNS: Mapping[str, Callable[[Side, Stimulus, Mapping[str, str], Array, list[str]], Recording]] = {
    "reference": _run_reference, "exact": _run_exact, "source": _run_source, "event": _run_event,
    "clock": _run_clock, "loihi1": _run_chip, "loihi2": _run_chip, "xylo": _run_chip,
    **dict.fromkeys(ANALOG_TARGETS, _run_event), Dynapse2Program.target: _run_spikes,
}


def _renamed(inputs: Mapping[str, Any], names: Mapping[str, str], side: Side) -> dict[str, Any]:
    """The inputs of the stimulus under the names, and in the shapes, of the side."""
    shapes = side.inputs()
    return {names[name]: value if isinstance(value, Events) else value.reshape(*value.shape[:2], *shapes[names[name]])
            for name, value in inputs.items()}


def _of_steps(side: Side, spikes: Mapping[str, Array], voltages: Mapping[str, Array], instants: Array,
              recorded: list[str]) -> Recording:
    """The recording of rasters (batch, columns, *shape)."""
    dt = _step(side)
    columns = np.rint(instants / dt).astype(np.int64) - 1
    return Recording(
        {name: Events.from_dense(np.asarray(values), dt) for name, values in _neurons_only(side, spikes).items()},
        {name: np.asarray(voltages[name])[:, columns].reshape(len(voltages[name]), len(columns), -1)
         for name in recorded if name in voltages},
    )


def _neurons_only(side: Side, found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if isinstance(side.graph.nodes.get(name), Neuron)}


def _flat(probes: Mapping[str, Array]) -> dict[str, Array]:
    """Membranes as (batch, instants, n) by node."""
    return {label.removesuffix(".v"): np.asarray(values).reshape(*values.shape[:2], -1)
            for label, values in probes.items()}
