"""A program for Xylo: the network of a model in the chip's numbers, which runs in the emulator and in xylosim, bit for
bit alike."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ...ir.columns import columns_of_grid
from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning
from ...ir.graph import Discretization, Graph, same_node
from ...ir.integer.xylo import LARGEST_STATE
from ...ir.network import Network
from ...ir.nodes import Array, Neuron
from ...ir.npz import pack_npz, read_npz
from ...ir.shapes import infer_shapes
from ...ir.text import read
from ...passes.quantise_xylo import QuantisedXylo, XyloPlan, quantise_xylo
from ...passes.state_delays import StateDelays
from ..accept import accept
from ..artefact import GRAPH, check_remade
from ..program import GraphProgram
from .emit import program_files
from .fit import check_fit
from .options import XyloOptions
from .simulator import simulate_xylosim
from .support import support_for

if TYPE_CHECKING:
    import torch

    from ...ir.integer.xylo import XyloNetwork
    from ...ir.integer.xylo_step import XyloResult
    from ...runtime.measured import MeasuredModule
    from ...runtime.outputs import Result
    from ...runtime.xylo.engine import XyloEngine
    from ...runtime.xylo.inputs import EventCounts
    from .in_the_loop import XyloMeasure
    from .report import XyloReport

__all__ = ["XyloProgram"]

PLAN, SCALES = "plan.json", "scales.npz"
_COMPILE_AGAIN = "Compile the model again."
_ROUNDS = 8
"""Of calibration at most, until no state comes to the end of its register."""
_FURTHER = 4
"""Times that a state is taken to go beyond that, which is then looked at."""
_FULL = 0.85 * LARGEST_STATE
"""Of a current after its decay, which has taken an eighth and more off; a membrane is held to it, too."""


class XyloProgram(GraphProgram):
    """A model on `xylo`; `compile` and `load` make it. `graph`: the model as the user stated it. `network`: the same,
    lowered. `quantised`: in whole numbers, and how these came about. `peaks`: by population, what states came to on
    calibration data, in units of V.

    Raises:
        BadInputError: the graph states no grid (SC403), or an option is out of range (SC533).
        UnsupportedError: what the chip cannot do (SC302 to SC306, SC324, SC341 to SC344).
        DoesNotFitError: the chip has less than the network needs (SC340).
    """

    target: ClassVar[str] = "xylo"

    def __init__(self, graph: Graph, lower: Callable[[Graph, Any, Diagnostics], Network],
                 options: Mapping[str, Any] | None = None, dump_ir: str | Path | None = None,
                 plan: XyloPlan | None = None, peaks: Mapping[str, Array] | None = None) -> None:
        super().__init__(graph)
        self._lower, self._given = lower, dict(options or {})
        self.options = XyloOptions.of(self._given)
        self.chip = self.options.chip
        faults = Diagnostics()
        grid = graph.discretization
        if grid is None:
            raise BadInputError(Diagnostic("SC403", "a program for Xylo needs a grid, and the model states none",
                                           remedy="Set graph.discretization, or give --dt and --spike."))
        accept(graph, self.target, faults, support_for(self.chip))
        columns_of_grid(graph, grid)
        self.grid: Discretization = grid
        self.network = lower(StateDelays().run(graph), dump_ir, faults)
        self.grids = {name: node.grid or grid for name, node in graph.nodes.items()
                      if isinstance(node, Neuron) and name in self.network.populations}
        self.peaks = peaks
        if plan is not None or self.options.calibration is None:
            self.quantised = self._quantised(faults, plan)
        else:
            self.quantised, self.peaks = self._calibrated(faults)
        check_fit(self.quantised.network, self.chip, self.quantised.layout.hidden)
        for each in faults.found:
            warnings.warn(str(each), SpikecWarning, stacklevel=3)

    @property
    def plan(self) -> XyloPlan:
        """The scales that were chosen."""
        return self.quantised.plan

    @property
    def latency(self) -> int:
        """Columns that the latest population acts later than the model: what `run` is to be given beyond the data for
        all that they cause to be seen."""
        return max((each.latency for each in self.quantised.populations.values()), default=0)

    def latency_of(self, population: str) -> int:
        """Columns that a population of the model acts later than the model."""
        return self.quantised.populations[population].latency

    def report(self) -> XyloReport:
        """What the program is made of, what it takes of the chip, and what rounding cost; `print` shows it, `as_dict`
        is for machines."""
        from .report import XyloReport

        return XyloReport.of(self)

    @cached_property
    def engine(self) -> XyloEngine:
        """The emulator of the network."""
        from ...runtime.xylo.engine import XyloEngine

        return XyloEngine(self.quantised.network)

    @cached_property
    def inputs(self) -> EventCounts:
        """What makes counts of events of what a run is given."""
        from ...runtime.xylo.inputs import EventCounts

        shapes, _ = infer_shapes(self.graph)
        return EventCounts(self.graph, self.grid, shapes, {})

    @staticmethod
    def simulate(network: XyloNetwork, events: Array) -> XyloResult:
        """What xylosim makes of a network and events; see `simulate_xylosim`."""
        return simulate_xylosim(network, events)

    def run(self, events: Any, duration: float | None = None, probes: Mapping[str, Any] | None = None,
            state: Any = None, *, backend: str = "emulator", dt: float | None = None, drain: bool = False) -> Result:
        """Runs a batch of samples, column by column, in the chip's arithmetic.

        Times are those of the chip: column n (from 0) is the time (n + 1) dt; what a population does comes
        `result.latency` columns later than in the model.

        Args:
            events, duration, probes, state, dt: as `ClockProgram.run`; probes are in the units of the model. An input
                channel takes 15 events in a column at most.
            backend: "emulator", or "xylosim", the vendor's simulator (one sample after another), without `state`.
            drain: goes on for `latency` columns without input, so that all that the data cause is seen.

        Raises:
            BadInputError: naming every fault of the duration, the input, the probes, the state or the options (SC402 to
                SC407).
            UnsupportedError: xylosim is not installed (SC532).
        """
        from ...runtime.xylo.run import run_xylo

        return run_xylo(self, events, duration, probes, state, backend=backend, dt=dt, drain=drain)

    def requantised(self, network: Network) -> QuantisedXylo:
        """`network` with other weights and biases, on the scales of this program."""
        return quantise_xylo(network, self.grids, plan=self.plan, diagnostics=Diagnostics())

    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None, *, gradient: str = "exact",
               guard: float | None = None, backend: str = "emulator", measure: XyloMeasure | None = None,
               time_limit: float = math.inf) -> MeasuredModule:
        """A `torch.nn.Module` over the parameters of the model graph, whose spikes are the chip's, in the time of the
        model, and whose gradients are those of the event target's model at these spikes (`MeasuredModule`).
        `recompile(module.to_graph())` is the program that it became, on the same scales.

        Args:
            dtype: of parameters and gradients (default float32).
            train: names of the parameters that require grad, as "weight"; without it weights, biases and scales.
            gradient: "exact", which is the only one.
            guard: as of `MeasuredModule`.
            backend: what the spikes are of, as of `run`.
            measure: a chip in the place of that, `measure(network, counts)`; `XyloInTheLoop` says what it takes and
                gives.
            time_limit: seconds that one call of `measure` may take.

        Raises:
            BadInputError: `dtype` is not float32 or float64, `train` names no parameter, or the gradient is not known
                (SC412); another fault of the options (SC403, SC487).
            UnsupportedError: the network has no exact gradient (SC411).
        """
        import torch

        from ...runtime.analog.run import check_measurement
        from .in_the_loop import exact_module

        if gradient != "exact":
            raise BadInputError(Diagnostic("SC412", "gradient is not known", value=repr(gradient), limit="exact"))
        faults = Diagnostics()
        check_measurement(0, measure, time_limit, faults)
        faults.raise_if_errors()
        return exact_module(self, torch.float32 if dtype is None else dtype, train, guard, backend, measure, time_limit)

    def told(self) -> Mapping[str, Any]:
        """The options, and the shifts and gains."""
        peaks = None if self.peaks is None else {name: each.tolist() for name, each in self.peaks.items()}
        return {"options": {"variant": self.options.variant}, "shifts": list(self.plan.shifts), "peaks": peaks,
                "hidden": self.plan.hidden.tolist(), "outputs": self.plan.outputs.tolist()}

    def files(self) -> dict[str, bytes]:
        """The specification, a program that runs it in xylosim, and the scales: all follow from graph, plan and
        calibration."""
        told = {"options": {"variant": self.options.variant}, "shifts": list(self.plan.shifts),
                "peaks": None if self.peaks is None else list(self.peaks)}
        arrays = {"hidden": self.plan.hidden, "outputs": self.plan.outputs}
        arrays |= {f"peaks{place}": each for place, each in enumerate((self.peaks or {}).values())}
        return {**program_files(self.quantised, self.chip), PLAN: json.dumps(told, indent=1).encode() + b"\n",
                SCALES: pack_npz(arrays)}

    @classmethod
    def load(cls, folder: Path, lower: Callable[[Graph, Any, Diagnostics], Network]) -> Self:
        """The program of a folder whose manifest was checked. Nothing in it is executed: graph and scales are read, the
        rest is made of them again, and every file is to be that, byte by byte.

        Raises:
            BadInputError: what is in the folder is no such program, or was changed (SC520), or what `compile` says.
        """
        graph = read(folder / GRAPH)
        try:
            told = json.loads((folder / PLAN).read_bytes())
            arrays = read_npz(folder / SCALES)
            shift_in, shift_rec, shift_out = (int(each) for each in told["shifts"])
            names = told["peaks"]
            peaks = None if names is None else {str(name): arrays[f"peaks{place}"] for place, name in enumerate(names)}
            plan = XyloPlan((shift_in, shift_rec, shift_out), *(_scale(arrays[name]) for name in ("hidden", "outputs")))
            program = cls(graph, lower, dict(told["options"]), plan=plan, peaks=peaks)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, BadInputError):
                raise
            raise BadInputError(Diagnostic("SC520", f"'{folder}' says no scales: {error!r}",
                                           remedy=_COMPILE_AGAIN)) from error
        check_remade(folder, program.files(), "the graph and the scales beside it")
        return program

    def _like(self, graph: Graph) -> Self:
        """On the same scales where nothing but weights and biases has changed: they are what was trained."""
        if _same_neurons(graph, self.graph):
            return type(self)(graph, self._lower, self._given, plan=self.plan, peaks=self.peaks)
        return type(self)(graph, self._lower, self._given)

    def __reduce__(self) -> Any:
        return _again, (type(self), self.graph, self._lower, self._given, self.plan, self.peaks)

    def _quantised(self, faults: Diagnostics, plan: XyloPlan | None = None,
                   peaks: Mapping[str, Array] | None = None) -> QuantisedXylo:
        return quantise_xylo(self.network, self.grids, plan=plan, peaks=peaks, diagnostics=faults)

    def _calibrated(self, faults: Diagnostics) -> tuple[QuantisedXylo, dict[str, Array]]:
        """Scales for what states come to on the calibration data."""
        from ...runtime.xylo.engine import XyloEngine

        told = Diagnostics()
        quantised, peaks = self._quantised(told), {}
        counts, _, _ = self.inputs.counts(quantised.layout.inputs, self.options.calibration, self.options.duration)
        counts = np.pad(counts, ((0, 0), (quantised.layout.input_delay, 0), (0, 0)))
        for _ in range(_ROUNDS):
            found, full = XyloEngine(quantised.network).run(counts, states=("hidden", "outputs")), False
            for name, each in quantised.populations.items():
                states = np.stack([np.abs(values[each.block][..., each.place].astype(np.int32)).max((0, 1), initial=0)
                                   for values in (found.i, found.v)])
                full |= bool((states > _FULL).any())
                peaks[name] = np.where(states > _FULL, _FURTHER * states, states).max(0) / each.scale
            told.found.clear()  # the last round's warnings are the program's
            quantised = self._quantised(told, peaks=peaks)
            if not full:
                break
        faults.extend(told.found)
        return quantised, peaks


def _scale(values: Array) -> Array:
    """Scales of neurons, as a folder says them.

    Raises:
        ValueError: they are none.
    """
    if values.ndim != 1 or values.dtype != np.float64 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("scales are positive numbers")
    return values


def _again(kind: type[XyloProgram], graph: Graph, lower: Callable[[Graph, Any, Diagnostics], Network],
           options: Mapping[str, Any], plan: XyloPlan, peaks: Mapping[str, Array] | None) -> XyloProgram:
    with warnings.catch_warnings():  # they were issued when it was compiled
        warnings.simplefilter("ignore", SpikecWarning)
        return kind(graph, lower, options, plan=plan, peaks=peaks)


def _same_neurons(one: Graph, other: Graph) -> bool:
    """Whether two graphs have the same wiring, grid and neurons."""
    return (one.edges == other.edges and one.discretization == other.discretization
            and one.nodes.keys() == other.nodes.keys()
            and all(same_node(one.nodes[name], node) for name, node in other.nodes.items() if isinstance(node, Neuron)))
