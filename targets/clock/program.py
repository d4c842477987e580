"""A program for the clock target: a model graph on its grid, ready to run, to train, and to be saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ...ir.diagnostics import Diagnostics
from ...ir.graph import Graph
from ...ir.nodes import is_spiking, params
from ..program import GraphProgram
from .report import ClockReport

if TYPE_CHECKING:
    import torch

    from ...ir.learning.rule import LearningRule
    from ...runtime.clock.engine import ClockEngine
    from ...runtime.clock.module import ClockModule
    from ...runtime.learning.clock.learner import ClockLearner
    from ...runtime.learning.clock.optimizers import LocalOptimizer
    from ...runtime.outputs import Result

__all__ = ["ClockNetwork", "ClockPopulation", "ClockProgram"]


@dataclass(frozen=True, slots=True)
class ClockPopulation:
    """A neuron node: how many neurons, and whether they spike."""

    n: int
    spiking: bool


@dataclass(frozen=True, slots=True)
class ClockNetwork:
    """What a trainer asks of a network: shapes of `inputs`, `populations`, the neuron node that each output shows."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, ClockPopulation]
    outputs: Mapping[str, str]
    schedule: tuple[tuple[str, ...], ...]

    def size(self, name: str) -> int:
        """Number of channels of an input, or of neurons of a population."""
        return prod(self.inputs[name]) if name in self.inputs else self.populations[name].n


class ClockProgram(GraphProgram):
    """A network that runs and trains in steps; `compile` and `load` make it. `graph`: the model as the user stated it.

    Raises:
        BadInputError: the graph states no discretisation (SC403).
        UnsupportedError: what has no meaning on a grid (SC302 to SC304).
    """

    target: ClassVar[str] = "clock"

    def __init__(self, graph: Graph) -> None:
        from ...runtime.clock.engine import ClockEngine

        super().__init__(graph)
        self.engine: ClockEngine = ClockEngine(graph)

    @cached_property
    def network(self) -> ClockNetwork:
        """Inputs, populations and outputs by name."""
        shapes = self.engine.shapes
        populations = {name: ClockPopulation(prod(shapes[name].output), is_spiking(self.graph.nodes[name]))
                       for name in self.engine.neurons}
        schedule = tuple(kept for names in self.engine.components
                         if (kept := tuple(name for name in names if name in populations)))
        return ClockNetwork(MappingProxyType({name: shapes[name].output for name in self.graph.inputs}),
                            MappingProxyType(populations), MappingProxyType(dict(self.engine.wiring.shown_by)),
                            schedule)

    def run(
        self,
        events: Any,
        duration: float | None = None,
        probes: Mapping[str, Any] | None = None,
        state: Any = None,
        **options: Any,
    ) -> Result:
        """Simulates a batch of samples, step by step on the graph's grid.

        `events`: a (batch, time, *shape) array of spike counts or of any values, `Events` (then with `duration` in
        seconds), or a dict of these by input node. Column n (from 0) is the time (n + 1) dt. `probes`: times in
        seconds, on the grid, by `"<node>.v"`; None for all columns. `state`: a former result's, whose stream goes on.
        Options: `dtype` of the arithmetic (default float64), `dt`, which must be that of the grid, `device`.

        Raises:
            BadInputError: naming every fault of the duration (SC402, SC406), of `state` and the options (SC403), of the
                input (SC405) and of the probes (SC407).
        """
        from ...runtime.clock.run import run_program

        faults = Diagnostics()
        for unknown in sorted(set(options) - {"dtype", "dt", "device"}):
            faults.add("SC403", f"run has no option '{unknown}'", limit="duration, probes, state, dt, dtype, device")
        faults.raise_if_errors()
        return run_program(self.engine, events, duration, probes, state, **options)

    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None,
               surrogate: str = "fast_sigmoid", sharpness: float | None = None,
               detach_reset: bool = True) -> ClockModule:
        """A `torch.nn.Module` over the parameters of the model graph; its gradients are those of a surrogate.

        `dtype`: of parameters and arithmetic (default float32). `train`: names of the parameters that require grad, as
        "weight" or "hidden.tau_mem"; without it weights, biases and scales. `surrogate`, `sharpness`: a key of
        `runtime.clock.surrogates.SURROGATES`, and its constant. `detach_reset`: no gradient flows through resets.

        Raises:
            BadInputError: `dtype` is not float32 or float64, `train` names no parameter, or the surrogate is not known
                (SC412).
        """
        import torch

        from ...runtime.clock.module import ClockModule
        from ...runtime.clock.surrogates import surrogate_named

        faults = Diagnostics()
        chosen = surrogate_named(surrogate, sharpness, detach_reset, faults)
        faults.raise_if_errors()
        return ClockModule(self.engine, chosen, torch.float32 if dtype is None else dtype, train)

    def learner(self, rule: LearningRule | str, *, output: str | None = None, projections: Sequence[str] | None = None,
                seed: int = 0, device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
                optimizer: Literal["sgd", "momentum", "adam"] | LocalOptimizer = "sgd") -> ClockLearner:
        """What learns from batches by a rule, or by the library's rule of a name, with its defaults.

        `output`: the output node that shows the labels' neurons; None: the only one. `projections`: names of the Linear
        nodes that learn; None: all from inputs or spiking neurons to spiking neurons. `seed`: of feedback and noise.
        `dtype`: of weights and arithmetic (default float32). A batch of one learns as it goes: what a rule changes at
        steps and spikes is changed at once. `optimizer`: what each synapse makes of its changes with a state of its own
        (`runtime.learning.optimizers.LocalOptimizer`); "sgd": none.

        Raises:
            BadInputError: the rule is malformed (SC111, SC150 to SC153), there is none of this name (SC514), or an
                argument is wrong (SC403).
            UnsupportedError: a projection cannot learn (SC515), or the rule asks for what a grid cannot do (SC516);
                all of them.
        """
        import torch

        from ...ir.learning.checks import verify_rule
        from ...ir.rules import rule_named
        from ...runtime.devices import check_device
        from ...runtime.learning.clock.learner import ClockLearner
        from ...runtime.learning.clock.optimizers import optimizer_named

        faults = Diagnostics()
        if dtype not in (None, torch.float32, torch.float64):
            faults.add("SC403", "dtype is not one that the engine computes in", value=repr(dtype),
                       limit="torch.float32, torch.float64")
        check_device(device, faults)
        chosen = optimizer_named(optimizer, faults)
        faults.raise_if_errors()
        verified = verify_rule(rule_named(rule, self.target) if isinstance(rule, str) else rule)
        return ClockLearner(self.engine, verified, output, projections, seed, dtype or torch.float32,
                            torch.device(device), chosen)

    def report(self) -> ClockReport:
        """What the program is made of; `print` shows it, `as_dict` is for machines."""
        size = sum(value.nbytes for node in self.graph.nodes.values() for value in params(node).values())
        return ClockReport.of(self.graph, self.engine.shapes, self.engine.components, size)

    def _like(self, graph: Graph) -> Self:
        return type(self)(graph)
