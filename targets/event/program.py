"""A program for the event target: a lowered network, ready to run, to train, and to be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ...ir.diagnostics import Diagnostics
from ...ir.graph import Graph
from ...ir.network import Network
from ..program import GraphProgram
from .report import Report

if TYPE_CHECKING:
    import torch

    from ...ir.learning.rule import LearningRule
    from ...runtime.engine import Engine
    from ...runtime.learning.event.learner import EventLearner
    from ...runtime.module import EventModule
    from ...runtime.outputs import Result

__all__ = ["Program"]


class Program(GraphProgram):
    """A network that runs and trains on the event target; `compile` and `load` make it. `graph`: the model as the user
    stated it. `network`: the same, lowered to populations and projections by `lower`."""

    target: ClassVar[str] = "event"

    def __init__(self, graph: Graph, network: Network, lower: Callable[[Graph], Network]) -> None:
        super().__init__(graph)
        self.network = network
        self._lower = lower

    @cached_property
    def engine(self) -> Engine:
        """What runs the network, made on first use."""
        from ...runtime.engine import Engine

        return Engine(self.network)

    def run(
        self,
        events: Any,
        duration: float | None = None,
        probes: Mapping[str, Any] | None = None,
        state: Any = None,
        **options: Any,
    ) -> Result:
        """Simulates a batch of samples from t = 0 to `duration` seconds, exactly in time.

        `events`: `Events`, a dict of them by input node, or a (batch, time, *shape) array of spike counts with the
        option `dt` (seconds). `duration` may be left out where the network falls silent by itself. `probes`: times in
        seconds by `"<node>.v"`, of a neuron that is stated by equations by `"<node>.<state>"` too. `state`: a former
        result's, whose stream goes on. The option `dtype` is that of the arithmetic between events (default float64);
        times are float64 always. Spikes that were cut off (SC408) and crossings near a slope of zero (SC410) are told
        by a `SpikecWarning`.

        Raises:
            BadInputError: naming every fault of the duration (SC402, SC406), of `state` and the options (SC403), of the
                events (SC103, SC104, SC107, SC405) and of the probes (SC407).
            UnsupportedError: a neuron would fire twice at one instant (SC401).
        """
        faults = Diagnostics()
        for unknown in sorted(set(options) - {"dtype", "dt"}):
            faults.add("SC403", f"run has no option '{unknown}'", limit="duration, probes, state, dt, dtype")
        faults.raise_if_errors()
        return self.engine.run(events, duration=duration, probes=probes, state=state, **options)

    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None) -> EventModule:
        """A `torch.nn.Module` over the parameters of the model graph; its gradients are exact.

        `dtype`: of the parameters, and of the arithmetic between events (default float32). `train`: names of the
        parameters that require grad, as "weight" or "hidden.tau_mem"; without it weights, biases and scales.

        Raises:
            BadInputError: `dtype` is not float32 or float64, or `train` names no parameter (SC412).
            UnsupportedError: no weight of the network has an exact gradient (SC411).
        """
        import torch

        from ...runtime.module import EventModule

        return EventModule(self.graph, self.network, torch.float32 if dtype is None else dtype, train)

    def learner(self, rule: LearningRule | str, *, output: str | None = None, projections: Iterable[str] | None = None,
                seed: int = 0, device: str = "cpu") -> EventLearner:
        """What learns by a local rule, exactly in time: a `LearningRule`, or the name of one of the library.

        `output`: the output node whose neurons stand for labels (default: the only one). `projections`: names of the
        Linear nodes that learn (default: all between inputs and spiking neurons). `seed`: of feedback and noise.

        Raises:
            BadInputError: there is no such rule (SC514), output or projection (SC403).
            UnsupportedError: naming each projection that cannot learn (SC515), what else of the network has no way to
                (SC416), and each term of the rule without a closed form (SC516).
        """
        from ...ir.learning.checks import verify_rule
        from ...ir.rules import rule_named
        from ...runtime.learning.event.learner import EventLearner

        named = verify_rule(rule_named(rule, self.target) if isinstance(rule, str) else rule)
        return EventLearner(self.graph, self.network, self.engine, named, output=output, projections=projections,
                            seed=seed, device=device)

    def report(self) -> Report:
        """What the program is made of; `print` shows it, `as_dict` is for machines."""
        return Report.of(self.network, self.graph)

    def _like(self, graph: Graph) -> Self:
        return type(self)(graph, self._lower(graph), self._lower)
