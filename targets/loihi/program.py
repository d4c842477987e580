"""A program for Loihi: the integer network of a model, which runs in the emulator and in Lava, bit for bit alike."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np

from ...ir.chip import Chip
from ...ir.columns import columns_of_grid
from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning
from ...ir.graph import Discretization, Graph, same_node
from ...ir.learning.layout import learning_layout
from ...ir.learning.rule import LearningRule
from ...ir.mapping import ChipMapping, mapping_from_json, mapping_to_json
from ...ir.network import Network
from ...ir.nodes import Array, Neuron
from ...ir.npz import pack_npz, read_npz
from ...ir.shapes import infer_shapes
from ...ir.text import read
from ...passes.quantise import Quantised, quantise
from ...passes.scales import ScalePlan, ScaleSearch
from ...passes.soft_reset import hold_in_current
from ...passes.split_populations import SplitNetwork, split_populations
from ...passes.state_delays import StateDelays
from ..accept import accept
from ..artefact import GRAPH
from ..lava.program import LavaProgram
from ..program import GraphProgram
from .calibrate import Calibration, calibrated
from .map_network import map_network
from .mapping_check import verify_mapping
from .options import LoihiOptions

if TYPE_CHECKING:
    import torch

    from ...runtime.integer.engine import IntegerEngine
    from ...runtime.integer.inputs import ModelInputs
    from ...runtime.integer.module import IntegerModule
    from ...runtime.lava.worker import LavaWorker
    from ...runtime.measured import MeasuredModule
    from ...runtime.outputs import Result
    from .learner import LoihiLearner
    from .report import LoihiReport

__all__ = ["LOIHI_TARGETS", "LoihiProgram"]

LOIHI_TARGETS = ("loihi1", "loihi2")
PLAN, RATES, MAPPING = "plan.json", "rates.npz", "mapping.json"
_COMPILE_AGAIN = "Compile the model again."


class LoihiProgram(GraphProgram):
    """A model on `loihi1` or `loihi2`; `compile` and `load` make it. `graph`: the model as the user stated it.
    `network`: the same, lowered. `split`: with populations that a core can hold. `quantised`: in whole numbers, and how
    these came about. `lava`: as a program for Lava.

    Raises:
        BadInputError: the graph states no grid (SC403), or an option is out of range (SC533).
        UnsupportedError: what the chip cannot do (SC302 to SC306, SC320, SC321, SC324).
    """

    def __init__(self, graph: Graph, target: str, lower: Callable[[Graph, Any, Diagnostics], Network],
                 options: Mapping[str, Any] | None = None, dump_ir: str | Path | None = None,
                 plan: ScalePlan | None = None, calibration: Calibration | None = None, mapping: Any = None) -> None:
        super().__init__(graph)
        self.target = target  # type: ignore[misc]  # one class, two chips
        self._lower, self._given = lower, dict(options or {})
        self.options = LoihiOptions.of(target, graph.inputs, self._given)
        faults = Diagnostics()
        grid = graph.discretization
        if grid is None:
            raise BadInputError(Diagnostic("SC403", "a program for Loihi needs a grid, and the model states none",
                                           remedy="Set graph.discretization, or give --dt and --spike."))
        accept(graph, target, faults)
        columns_of_grid(graph, grid)
        self.grid: Discretization = grid
        self.network = lower(StateDelays().run(graph), dump_ir, faults)
        self.grids = {name: node.grid or grid for name, node in graph.nodes.items()
                      if isinstance(node, Neuron) and name in self.network.populations}
        held = hold_in_current(self.network, self.grids, faults)
        self.split: SplitNetwork = split_populations(held.network, held.grids, faults)
        self._part_grids = {part: held.grids[name] for name in self.network.populations
                            for part in self.split.parts.get(name, (name,))}
        self.calibration, self._told_mapping = calibration, mapping
        if plan is not None:
            self.quantised = self._quantised(faults, plan=plan)
        elif self.options.calibration is None:
            self.quantised = self._searched({}, {}, faults)
        else:
            rasters, steps, _ = self.inputs.rasters(self.options.calibration, self.options.duration)
            last = Diagnostics()

            def searched(rates: Mapping[str, Array], ranges: Mapping[str, float]) -> Quantised:
                last.found.clear()  # the last round's warnings are the program's
                return self._searched(rates, ranges, last, safe=not ranges)

            self.quantised, self.calibration = calibrated(searched, rasters, steps, faults)
            faults.extend(last.found)
        for each in faults.found:
            warnings.warn(str(each), SpikecWarning, stacklevel=3)

    @property
    def plan(self) -> ScalePlan:
        """The scales that were chosen."""
        return self.quantised.plan

    @property
    def rates(self) -> Mapping[str, Array] | None:
        """Spikes a column of each neuron, (n,), by input and part of a population, on the calibration data."""
        return None if self.calibration is None else self.calibration.rates

    @property
    def latency(self) -> int:
        """Columns that the latest population acts later than the model: what `run` is to be given beyond the data for
        all that they cause to be seen."""
        return max((each.latency for each in self.quantised.populations.values()), default=0)

    @cached_property
    def chip(self) -> Chip:
        """What there is of the chip that the program is placed on."""
        found: Chip = getattr(self._table("limits"), self.target.upper())
        return replace(found, chips=self.options.chips)

    def _table(self, name: str) -> Any:
        """Data of the chip: "limits" or "support"."""
        return import_module(f"..{self.target}.{name}", __package__)

    @cached_property
    def mapping(self) -> ChipMapping:
        """Which neurons lie on which core, checked.

        Raises:
            DoesNotFitError: a neuron exceeds a core (SC330), or the network the chips (SC331).
        """
        network = self.quantised.network
        if self._told_mapping is None:
            mapping = map_network(network, self.chip, self.rates, self.options.seed)
        else:
            mapping = mapping_from_json(self._told_mapping)
            told, known = (mapping_to_json(ChipMapping(chip=chip, cores=())) for chip in (mapping.chip, self.chip))
            if told != known:
                raise BadInputError(Diagnostic("SC332", "the mapping is one of another chip", value=mapping.chip.name,
                                               limit=self.chip.name, remedy=_COMPILE_AGAIN))
        verify_mapping(network, mapping, self.rates)
        return mapping

    def fitted(self) -> Self:
        """The program itself, if it fits the chip.

        Raises:
            DoesNotFitError: as `mapping`.
        """
        _ = self.mapping
        return self

    def report(self) -> LoihiReport:
        """What the program is made of, what rounding cost, and where it lies; `print` shows it, `as_dict` is for
        machines."""
        from .report import LoihiReport

        return LoihiReport.of(self)

    @cached_property
    def engine(self) -> IntegerEngine:
        """The emulator of the integer network."""
        from ...runtime.integer.engine import IntegerEngine

        return IntegerEngine(self.quantised.network)

    @cached_property
    def lava(self) -> LavaProgram:
        """The integer network as a program for Lava."""
        return LavaProgram(self.quantised.network)

    @cached_property
    def inputs(self) -> ModelInputs:
        """What makes rasters of what a run is given."""
        from ...runtime.integer.inputs import ModelInputs

        shapes, _ = infer_shapes(self.graph)
        return ModelInputs(self.graph, self.grid, shapes, self.options.message_bits)

    def latency_of(self, population: str) -> int:
        """Columns that a population of the model acts later than the model."""
        part = next(iter(self.split.parts.get(population, (population,))))
        return self.quantised.populations[part].latency

    def run(self, events: Any, duration: float | None = None, probes: Mapping[str, Any] | None = None,
            state: Any = None, *, backend: str = "emulator", dt: float | None = None, drain: bool = False,
            worker: LavaWorker | None = None, time_limit: float = float("inf")) -> Result:
        """Runs a batch of samples, column by column, in the chip's arithmetic.

        Times are those of the chip: column n (from 0) is the time (n + 1) dt, and every projection takes a column; what
        a population does comes `result.latency` columns later than in the model.

        Args:
            events, duration, probes, state, dt: as `ClockProgram.run`; probes are in the units of the model. An input
                is spikes, at most one of a channel and column, unless it was compiled with message bits.
            backend: "emulator", or "lava", which runs the same program in Lava (one sample after another, some thousand
                columns a second), without `state`.
            drain: goes on for `latency` columns without input, so that all that the data cause is seen.
            worker, time_limit: of Lava, as `LavaProgram.run`.

        Raises:
            BadInputError: naming every fault of the duration, the input, the probes, the state or the options (SC402 to
                SC407).
            LavaError: as `LavaProgram.run`.
        """
        from ...runtime.integer.run import run_program

        return run_program(self, events, duration, probes, state, backend=backend, dt=dt, drain=drain, worker=worker,
                           time_limit=time_limit)

    def requantised(self, network: Network) -> Quantised:
        """`split.network` with other weights and biases, on the scales of this program."""
        return self._quantised(Diagnostics(), network=network, plan=self.plan)

    def with_plan(self, plan: ScalePlan) -> Quantised:
        """The same network on other scales."""
        return self._quantised(Diagnostics(), plan=plan)

    def learner(self, rule: LearningRule | str, *, output: str | None = None, projections: Sequence[str] | None = None,
                seed: int = 0, rounding: Literal["lava", "synapse"] = "synapse", device: str = "cpu",
                **choices: Any) -> LoihiLearner:
        """Learns by a local rule, sample after sample, in the arithmetic of the chip's learning engine.

        Args:
            rule: one of the model's or the chip's units, or the name of one of the library.
            output: the output whose neurons are the labels; None: the only one.
            projections: names of Linear nodes that learn; None: all that can.
            seed: of random feedback, rounding and noise.
            rounding: "synapse": a random number for each synapse, as on silicon; "lava": one for all of a projection
                in a column, as Lava's simulator, whose numbers it then gives.
            device: "cpu".
            choices: how the rule is held in whole numbers: the fields of `passes.plastic.ChipChoices`.

        Raises:
            BadInputError: a name or a setting is wrong (SC403, SC514, SC533), all choices at once.
            UnsupportedError: projections (SC515) or parts of the rule (SC516, SC336) that the chip cannot learn, all
                reasons at once.
            DoesNotFitError: with what learning takes, a neuron exceeds a core (SC330), or the network the chips
                (SC331).
        """
        from ...ir.learning.checks import verify_rule
        from ...ir.rules.catalogue import rule_named
        from ...runtime.learning.arguments import check_seed
        from .learner import LoihiLearner
        from .learner_choices import chip_choices

        found = verify_rule(rule_named(rule, self.target) if isinstance(rule, str) else rule)
        layout = learning_layout(self.graph, found, output, projections, on_grid=False)
        faults = Diagnostics()
        chosen = chip_choices(choices, layout, faults)
        check_seed(seed, faults)
        if rounding not in ("lava", "synapse"):
            faults.add("SC533", "rounding is one of two ways", value=repr(rounding), limit="synapse, lava")
        if device != "cpu":
            faults.add("SC533", "the emulator learns on the CPU", value=device, limit="cpu")
        faults.raise_if_errors()
        return LoihiLearner(self, found, layout, seed, rounding, chosen)

    @overload
    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None,
               surrogate: str = "fast_sigmoid", sharpness: float | None = None, detach_reset: bool = True, *,
               gradient: Literal["surrogate"] = "surrogate") -> IntegerModule: ...

    @overload
    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None, *,
               gradient: Literal["exact"], guard: float | None = None, backend: str = "emulator",
               worker: LavaWorker | None = None, time_limit: float = float("inf")) -> MeasuredModule: ...

    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None,
               surrogate: str = "fast_sigmoid", sharpness: float | None = None, detach_reset: bool = True, *,
               gradient: str = "surrogate", guard: float | None = None, backend: str = "emulator",
               worker: LavaWorker | None = None,
               time_limit: float = float("inf")) -> IntegerModule | MeasuredModule:
        """A `torch.nn.Module` over the parameters of the model graph, whose forward pass is the chip's arithmetic, bit
        for bit; its gradients pass through all rounding. `recompile(module.to_graph())` is the program that it became,
        on the same scales.

        Args:
            dtype: of parameters and gradients (default float32).
            train: names of the parameters that require grad, as "weight"; without it weights, biases and scales.
            surrogate, sharpness, detach_reset: as of `ClockProgram.module`.
            gradient: "surrogate", by states of every column; or "exact", that of the event target's model at the spikes
                of the chip, in the time of the model (`MeasuredModule`).
            guard: for exact gradients, as of `MeasuredModule`.
            backend, worker, time_limit: what the spikes of exact gradients are of, as of `run`.

        Raises:
            BadInputError: `dtype` is not float32 or float64, `train` names no parameter, the surrogate or the gradient
                is not known (SC412), or a parameter does not train here (SC480); exact gradients where spikes carry
                values (SC488), or another fault of their options (SC403, SC487).
            UnsupportedError: the network has no exact gradient (SC411).
        """
        import torch

        from ...runtime.clock.surrogates import surrogate_named
        from ...runtime.integer.module import IntegerModule

        faults = Diagnostics()
        if gradient == "exact":
            from .in_the_loop import exact_module

            return exact_module(self, torch.float32 if dtype is None else dtype, train, guard, backend, worker,
                                time_limit)
        if gradient != "surrogate":
            faults.add("SC412", "gradient is not known", value=repr(gradient), limit="surrogate, exact")
        chosen = surrogate_named(surrogate, sharpness, detach_reset, faults)
        faults.raise_if_errors()
        return IntegerModule(self, chosen, torch.float32 if dtype is None else dtype, train)

    def told(self) -> Mapping[str, Any]:
        """The options, and the scales."""
        options = {name: getattr(self.options, name)
                   for name in ("method", "percentile", "weight_bits", "chips", "seed")}
        options["message_bits"] = dict(self.options.message_bits)
        return {"options": options, "thresholds": dict(self.plan.thresholds), "exponents": dict(self.plan.exponents),
                "peaks": None if self.calibration is None else dict(self.calibration.peaks)}

    def files(self) -> dict[str, bytes]:
        """The program for Lava, which runs by itself, with its parameters, and the scales: all follow from graph,
        plan and calibration."""
        files = {**self.lava.files, PLAN: json.dumps(self.told(), indent=1).encode() + b"\n",
                 MAPPING: json.dumps(mapping_to_json(self.mapping)).encode() + b"\n"}
        if self.rates is not None:
            files[RATES] = pack_npz({name: np.asarray(rate) for name, rate in self.rates.items()})
        return files

    @classmethod
    def load(cls, folder: Path, target: str, lower: Callable[[Graph, Any, Diagnostics], Network]) -> Self:
        """The program of a folder whose manifest was checked. Nothing in it is executed: graph and scales are read, the
        rest is made of them again, and every file is to be that, byte by byte.

        Raises:
            BadInputError: what is in the folder is no such program, or was changed (SC520), or what `compile` says.
        """
        try:
            told = json.loads((folder / PLAN).read_bytes())
            plan = ScalePlan({str(name): float(value) for name, value in told["thresholds"].items()},
                             {str(name): int(value) for name, value in told["exponents"].items()})
            calibration = None if told["peaks"] is None else Calibration(
                read_npz(folder / RATES), {str(name): (float(u), float(v)) for name, (u, v) in told["peaks"].items()})
            program = cls(read(folder / GRAPH), target, lower, told["options"], plan=plan, calibration=calibration,
                          mapping=json.loads((folder / MAPPING).read_bytes()))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, BadInputError):
                raise
            raise BadInputError(Diagnostic("SC520", f"'{folder}' says no scales or no mapping: {error!r}",
                                           remedy=_COMPILE_AGAIN)) from error
        faults = Diagnostics()
        for name, content in program.files().items():
            if not (folder / name).is_file() or (folder / name).read_bytes() != content:
                faults.add("SC520", f"'{folder / name}' is not what is made of the graph and the scales beside it",
                           remedy=_COMPILE_AGAIN)
        faults.raise_if_errors()
        return program

    def _like(self, graph: Graph) -> Self:
        """On the same scales where nothing but weights and biases has changed: they are what was trained."""
        if _same_neurons(graph, self.graph):
            return type(self)(graph, self.target, self._lower, self._given, plan=self.plan,
                              calibration=self.calibration)
        return type(self)(graph, self.target, self._lower, self._given)

    def __reduce__(self) -> Any:
        return _again, (type(self), self.graph, self.target, self._lower, self._given, self.plan, self.calibration)

    def _quantised(self, faults: Diagnostics, plan: ScalePlan | None = None, search: ScaleSearch | None = None,
                   network: Network | None = None) -> Quantised:
        return quantise(self.split.network if network is None else network, self._part_grids, plan=plan, search=search,
                        message_bits=self.options.message_bits, weight_bits=self.options.weight_bits,
                        most_delay=self._table("support").LONGEST_DELAY.value, diagnostics=faults)

    def _searched(self, rates: Mapping[str, Array], ranges: Mapping[str, float], faults: Diagnostics,
                  safe: bool = False) -> Quantised:
        return self._quantised(faults, search=ScaleSearch(
            self.options.method, self.options.percentile, rates, ranges, self.options.weight_bits, safe))


def _again(kind: type[LoihiProgram], graph: Graph, target: str, lower: Callable[[Graph, Any, Diagnostics], Network],
           options: Mapping[str, Any], plan: ScalePlan, calibration: Calibration | None) -> LoihiProgram:
    with warnings.catch_warnings():  # they were issued when it was compiled
        warnings.simplefilter("ignore", SpikecWarning)
        return kind(graph, target, lower, options, plan=plan, calibration=calibration)


def _same_neurons(one: Graph, other: Graph) -> bool:
    """Whether two graphs have the same wiring, grid and neurons."""
    return (one.edges == other.edges and one.discretization == other.discretization
            and one.nodes.keys() == other.nodes.keys()
            and all(same_node(one.nodes[name], node) for name, node in other.nodes.items() if isinstance(node, Neuron)))
