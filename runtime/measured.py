"""Chip in the loop: spikes measured on an outside program, exact gradients of the nominal model at them.

The forward pass is somebody else's: an emulator of a chip, a vendor's simulator, the chip itself. It says when each
neuron fired, and nothing more. The reverse pass is the adjoint of the nominal model (Wunderlich & Pehle 2021) at those
times, as if its neurons had fired then: currents follow from the measured spikes, a membrane is taken to be at its
threshold when its neuron fires and at its reset after that, and dV/dt at a spike is the nominal one there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch

from ..ir.derived import Derived, evaluate, expr_of, settled
from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.events import Events
from ..ir.facts import first_event, is_number
from ..ir.graph import Graph
from ..ir.network import Network
from ..ir.nodes import Array, params
from .engine import Activity, Engine, Stage, as_spikes
from .loop import Loop
from .module import EventModule
from .outputs import Outputs, RunState
from .signals import Played, Spikes, SweepResult

__all__ = ["GUARD", "MeasuredModule", "Outside", "Playback", "checked_spikes", "of_model"]

GUARD = 0.1
"""Least slope of a nominal membrane at a measured spike, as a fraction of what `Played` says. On a chip many a neuron
fires where the nominal one only grazes its threshold, or stays below it."""

Outside = Callable[[Network, Mapping[str, Events], float], Mapping[str, Events]]
"""The network with its parameters as they are, input events by node, seconds -> spikes of every spiking population; and
of an input, if it likes, the same events at the times at which it saw them."""


@dataclass(slots=True)
class _Playing(Activity):
    """An activity whose spikes are known beforehand."""

    measured: Mapping[str, Spikes] = field(default_factory=dict)
    guard: float = GUARD


class Playback(Engine):
    """An engine whose neurons fire when they are told to. Readouts, and what the membranes are, it works out."""

    def play(self, activity: Activity, measured: Mapping[str, Spikes], guard: float) -> Activity:
        """Goes on from what `begin` gave, with the spikes of every population that has any."""
        begun = {entry.name: getattr(activity, entry.name) for entry in fields(Activity)}
        return self.complete(_Playing(**begun, measured=measured, guard=guard))

    def stage_run(self, stage: Stage, activity: Activity, names: tuple[str, ...],
                  **wanted: Any) -> dict[str, SweepResult]:
        if isinstance(activity, _Playing) and stage is self.stage_of[names[0]] and names[0] in activity.measured:
            wanted["played"] = Played([activity.measured[name] for name in stage.populations], activity.guard)
        return Engine.stage_run(self, stage, activity, names, **wanted)

    def _stage(self, component: tuple[str, ...]) -> Stage:
        if not self.network.populations[component[0]].spiking:
            return Engine._stage(self, component)
        incoming = tuple(number for number, each in enumerate(self.network.projections) if each.target in component)
        return Stage(component, incoming, Loop(self.network, component, incoming, self.box))


class MeasuredModule(EventModule):
    """A network as a `torch.nn.Module` whose spikes an outside program says, and whose gradients are those of the
    event engine at these spikes. Parameters, copies, `state_dict`, `to_graph` and outputs are those of `EventModule`.

    Args:
        graph, network: the model, and the same lowered and scheduled.
        forward: called once a batch, as `Outside` says. Spikes are those of all spiking populations, with times in the
            model's seconds, ascending within a sample, within the duration. Of an input it may give the same events at
            other times: those at which it saw them, as on a grid. It is shared by copies of the module.
        dtype, train: as of `EventModule`.
        shown: the network that `forward` is called with, where that is another one of the same graph, as a target
            lowers it for itself; else `network`.
        guard: where the nominal membrane rises slower at a measured spike than this fraction of its drive, or falls, it
            is taken to rise so fast (see `Played`); `outputs.grazing` counts them. With 1e-6 and spikes of the event
            engine itself, gradients are those of `EventModule`.

    A spike that the chip left out, or made without the nominal model's consent, is as it was measured: nothing flows
    into a spike that is not there. What a spike's time depends on are the inputs that came before it or with it.

    Raises:
        BadInputError: as `EventModule`; `guard` is out of range (SC487). From a call: the measured spikes are malformed
            (SC485), or not those of the network's populations over this batch (SC486).
        UnsupportedError: as `EventModule` (SC411).
    """

    _engine: Playback
    _engine_type: ClassVar[type[Engine]] = Playback
    _shared: ClassVar[frozenset[str]] = EventModule._shared | {"_outside", "_shown"}

    def __init__(self, graph: Graph, network: Network, forward: Outside, dtype: torch.dtype = torch.float32,
                 train: Iterable[str] | None = None, guard: float = GUARD, shown: Network | None = None) -> None:
        faults = Diagnostics()
        if not (is_number(guard) and 0 < guard <= 1):
            faults.add("SC487", "guard is a fraction of a membrane's drive", value=repr(guard), limit="0 < guard <= 1")
        outside: Any = forward
        if not callable(outside):
            faults.add("SC487", "forward runs the outside program", value=type(outside).__name__,
                       limit="a callable of (network, events by input, duration)")
        faults.raise_if_errors()
        super().__init__(graph, network, dtype, train)
        self._outside, self._guard, self._shown = forward, float(guard), network if shown is None else shown

    def forward(self, events: Any, duration: float | None = None, state: RunState | None = None,
                dt: float | None = None) -> Outputs:
        """Runs the outside program on a batch. `events`: as for `Program.run`; event times may require grad. There is
        no `state` (SC403): the outside program keeps its own, and starts anew."""
        if state is not None:
            raise BadInputError(Diagnostic("SC403", "a stream does not go on here: the outside program starts anew",
                                           value=type(state).__name__, remedy="Leave out state."))
        engine = self._engine
        activity = engine.begin(self._values, engine.inputs(events, dt), duration)
        given = {name: _events(spikes) for name, spikes in activity.spikes.items()}
        found = self._outside(self.network_now(), given, activity.duration)
        measured = checked_spikes(self._network, found, given, activity.duration)
        there = {name: as_spikes(each).to(self._values.device) for name, each in measured.items()}
        for name in activity.spikes.keys() & there.keys():
            sent = activity.spikes[name]
            activity.spikes[name] = replace(sent, times=sent.times + (there.pop(name).times - sent.times).detach())
        return Outputs(engine.play(activity, there, self._guard))

    def network_now(self) -> Network:
        """The network that the outside program is called with, its parameters as they are now, as constants."""
        held = {key: value.detach().cpu().numpy().copy() for key, value in self._by_node().items()}
        return _over_arrays(self._shown, lambda value: np.asarray(evaluate(expr_of(value), held), value.dtype))


def of_model(network: Network, graph: Graph, stated: Graph) -> Network:
    """A network lowered from `stated`, which is `graph` with nodes of a target's own, as one of `graph`: the parameters
    of those nodes are constants."""
    added = {(name, param): value for name, node in stated.nodes.items() if name not in graph.nodes
             for param, value in params(node).items()}
    return _over_arrays(network, lambda value: settled(value, added)) if added else network


def _over_arrays(network: Network, change: Callable[[Derived], Array]) -> Network:
    """The network with something else in the place of each derived array."""
    def changed(part: Any) -> Any:
        arrays = {entry.name: getattr(part, entry.name) for entry in fields(part)}
        return replace(part, **{name: change(value) for name, value in arrays.items() if isinstance(value, Derived)})

    return replace(network, populations={name: changed(each) for name, each in network.populations.items()},
                   projections=tuple(replace(changed(each), connection=changed(each.connection))
                                     for each in network.projections))


def _events(spikes: Spikes) -> Events:
    return Events(spikes.times.detach().cpu().numpy(), spikes.indices.cpu().numpy(), spikes.offsets.cpu().numpy())


def checked_spikes(network: Network, found: Any, given: Mapping[str, Events], duration: float) -> dict[str, Events]:
    """What the outside program said of all populations, and of inputs that it names, looked at.

    Raises:
        BadInputError: naming every population whose spikes are missing or of another batch (SC486), or malformed
            (SC485).
    """
    faults, batch = Diagnostics(), next(iter(given.values())).batch
    wanted = [name for name, each in network.populations.items() if each.spiking]
    if not isinstance(found, Mapping):
        faults.add("SC486", "the outside program gives no spikes by population", value=type(found).__name__,
                   limit="a dict of Events")
        faults.raise_if_errors()
    for name in wanted:
        if name not in found:
            faults.add("SC486", "the outside program says nothing of a population", node=name,
                       value=sorted(map(str, found)), remedy="Give empty Events where nothing fired.")
    measured = {}
    for name in (each for each in (*given, *wanted) if each in found):
        events = found[name]
        if not isinstance(events, Events):
            faults.add("SC486", "measured spikes are no Events", node=name, value=type(events).__name__)
            continue
        try:
            plain = events.checked(network.size(name), name).numpy()
        except BadInputError as error:
            for each in error.diagnostics:
                faults.add("SC485", f"measured spikes: {each.message}", node=name, value=each.value, limit=each.limit,
                           remedy=each.remedy)
            continue
        if plain.batch != batch:
            faults.add("SC486", "measured spikes are those of another batch", node=name,
                       value=f"{plain.batch} samples", limit=f"{batch} samples")
        elif (late := plain.times > duration).any():
            faults.add("SC485", "measured spikes: an event is after the run's end", node=name,
                       value=first_event(plain.times, late, plain.offsets), limit=f"t <= {duration!r} s",
                       remedy="Leave out what fires later, or run for longer.")
        elif name in given and not (np.array_equal(plain.indices, given[name].indices)
                                    and np.array_equal(plain.offsets, given[name].offsets)):
            faults.add("SC486", "an input's events are those that went in, at other times", node=name,
                       value=f"{len(plain)} events", limit=f"{len(given[name])} events, in the same order",
                       remedy="Leave the input out.")
        measured[name] = plain
    faults.raise_if_errors()
    return measured
