"""A program of the event target for a network of graded synapses. Such a network is stated in continuous time without a
grid, and what it does is exact to a stated tolerance: so it belongs here, though no event drives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graded.network import GradedNetwork
from ...ir.graph import Graph
from ..program import GraphProgram
from ..tables import Table

if TYPE_CHECKING:
    import torch

    from ...runtime.graded.engine import GradedEngine, GradedState
    from ...runtime.graded.module import GradedModule
    from ...runtime.graded.outputs import GradedResult

__all__ = ["GradedProgram", "GradedReport"]


@dataclass(frozen=True, slots=True)
class GradedReport:
    """`populations`: (name, neurons, membrane); `synapses`: weights between neurons, from inputs and to outputs."""

    target: str
    populations: tuple[tuple[str, int, str], ...]
    neurons: int
    synapses: int

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, as `--json` prints it."""
        return asdict(self)

    def __str__(self) -> str:
        rows = tuple((name, f"{n:,}", membrane) for name, n, membrane in self.populations)
        title = f"target {self.target}: {self.neurons:,} neurons with graded synapses, {self.synapses:,} weights"
        return str(Table(title, ("population", "neurons", "membrane"), rows))


class GradedProgram(GraphProgram):
    """A network that runs and trains; `compile` and `load` make it. `graph`: the model as the user stated it.
    `network`: the same, lowered by `lower` to neurons and matrices."""

    target: ClassVar[str] = "event"

    def __init__(self, graph: Graph, network: GradedNetwork, lower: Callable[[Graph], GradedNetwork]) -> None:
        super().__init__(graph)
        self.network = network
        self._lower = lower

    @cached_property
    def engine(self) -> GradedEngine:
        """What runs the network, made on first use."""
        from ...runtime.graded.engine import GradedEngine

        return GradedEngine(self.network)

    def run(self, signals: Any, duration: float | None = None, probes: Mapping[str, Any] | None = None,
            state: GradedState | None = None, *, dt: float | None = None, tolerance: float = 1e-8,
            membranes: bool = False) -> GradedResult:
        """Integrates a batch of samples from t = 0 to `duration`.

        `signals`: (batch, samples, *shape) of values at 0, dt, 2 dt, …, linear in between; or `Events`, impulses; or
        a dict of these by input node. `dt`: seconds. `duration`: seconds, a multiple of `dt`; of signals, as long as
        they are. `tolerance`: of the error of one step: widths of the gate of a membrane (of an angle, radians where
        its gate is wider than one) and unit charges of a synapse. `state`: a former result's, whose stream goes on.
        `membranes`: whether membranes are shown too. There are no `probes`.

        Raises:
            BadInputError: naming every fault of the signals (SC458, SC459, or those of events), dt (SC460, SC461), the
                duration (SC462), `tolerance` and `state` (SC403); or the integration does not come to an end (SC464).
        """
        import torch

        from ...runtime.graded.module import check_settings
        from ...runtime.graded.outputs import GradedOutputs, GradedResult
        from ...runtime.graded.signals import driven

        if probes:
            raise BadInputError(Diagnostic("SC407", "graded synapses have no probes", value=", ".join(map(str, probes)),
                                           remedy="Ask for membranes=True: they are shown at the signals' samples."))
        given = driven(self.network, signals, dt, duration)
        check_settings(tolerance, state, self.network, given.batch)
        with torch.no_grad():
            activity = self.engine.evaluate(given, tolerance, None, state, membranes)
        names = tuple(self.network.populations)
        return GradedResult(
            dict(activity.outputs), {name: activity.current(name) for name in names},
            {name: activity.membrane(name) for name in names} if membranes else {},
            {name: activity.events(name) for name in names}, GradedOutputs(activity).times, activity.course.steps,
            activity.state(), {f"{name}.signal": each.numpy() for name, each in activity.outputs.items()})

    def module(self, dtype: torch.dtype | None = None, train: Iterable[str] | None = None,
               tolerance: float = 1e-8) -> GradedModule:
        """A `torch.nn.Module` over the parameters of the model graph; its gradients are exact for the steps taken.

        `dtype`: of the parameters (default float32); arithmetic is float64. `train`: names of the parameters that
        require grad, as "weight" or "hidden.tau_syn"; without it weights, biases and scales. `tolerance`: as of `run`.

        Raises:
            BadInputError: `dtype` is not float32 or float64, or `train` names no parameter (SC412), or the tolerance is
                out of range (SC403).
        """
        import torch

        from ...runtime.graded.module import GradedModule

        return GradedModule(self.graph, self.network, torch.float32 if dtype is None else dtype, train, tolerance)

    def report(self) -> GradedReport:
        """What the program is made of; `print` shows it, `as_dict` is for machines."""
        network = self.network
        return GradedReport(
            self.target, tuple((name, each.n, "circle" if each.circle else "leaky")
                               for name, each in network.populations.items()),
            network.n, sum(each.connection.weight.size for each in network.projections))

    def _like(self, graph: Graph) -> Self:
        return type(self)(graph, self._lower(graph), self._lower)
