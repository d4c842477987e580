"""What a network takes of cores beyond one compartment a neuron and one slot an axon: of one that learns, its errors,
traces, tags and signals.

Mapped is the network with all that sends spikes: feedback is projections like others, and the signals that come from
outside are inputs: an axon to all neurons for each bit of `control` and of `reward`, an axon a neuron for teacher and
noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..ir.chip import Chip
from ..ir.integer.learning import PRE_TRACES, TARGETS, IntegerRule, IntegerTrace
from ..ir.integer.network import IntegerConnection, IntegerDense, IntegerNetwork, IntegerProjection, IntegerSparse
from ..ir.integer.plastic import ASLEEP, CLEAR, MIRROR, TEACH, UPDATE, LearningNeuron, PlasticNetwork

__all__ = ["CoreCosts", "Mapped", "mapped"]

_CONTROL = (UPDATE, CLEAR, MIRROR, ASLEEP, TEACH)
_REWARD = 7
"""Bits of a reward."""
_SUMS = (4095, 0)
"""Decays of a compartment that sums what comes, and keeps it."""
_SILENT = (1 << 17) - 1
"""The threshold of one that is not to fire: the largest."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CoreCosts:
    """By population: `compartments` of a neuron, `decays` and `thresholds` of those beside its soma. By projection:
    `in_slots` and `out_slots` of an axon, `bits` of a synapse beside weight and delay, `kind` of its rule, `traces` of
    its sources. `single`: projections that tell each neuron something of its own. What is not named has one
    compartment, one slot, and nothing else."""

    compartments: Mapping[str, int] = field(default_factory=dict)
    decays: Mapping[str, frozenset[tuple[int, int]]] = field(default_factory=dict)
    thresholds: Mapping[str, frozenset[int]] = field(default_factory=dict)
    in_slots: Mapping[str, int] = field(default_factory=dict)
    out_slots: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    kind: Mapping[str, object] = field(default_factory=dict)
    traces: Mapping[str, tuple[IntegerTrace, ...]] = field(default_factory=dict)
    single: frozenset[str] = frozenset()

    @property
    def reserved(self) -> dict[str, int]:
        """By resource, what compartments beside somas may add to a core, at most."""
        return {"compartment_formats": len(frozenset[object]().union(*self.decays.values())),
                "threshold_formats": len(frozenset[object]().union(*self.thresholds.values()))}


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """`network`: with feedback and signals among its projections and inputs."""

    network: IntegerNetwork
    costs: CoreCosts


def mapped(network: IntegerNetwork | PlasticNetwork, chip: Chip) -> Mapped:
    """The network that is laid onto cores, and what it takes of them."""
    if isinstance(network, IntegerNetwork):
        return Mapped(network, CoreCosts())
    learning, plain = chip.learning, network.network
    inputs, signals, single = _signals(network)
    projections = (*plain.projections, *network.feedback, *signals)
    compartments = {name: len(learning.compartments[each.error]) for name, each in network.neurons.items()}
    valued = {each.name for each in projections if each.source in plain.populations and _has_values(network, each)}
    tags = {"t": learning.tag_bits.value, "d": learning.second_tag_bits.value}
    return Mapped(
        replace(plain, inputs={**plain.inputs, **inputs}, projections=projections),
        CoreCosts(
            compartments=compartments, decays={name: frozenset([_SUMS]) for name in network.neurons},
            thresholds={name: _thresholds(each) for name, each in network.neurons.items()},
            in_slots=dict.fromkeys(network.rules, learning.in_slots.value),
            out_slots=dict.fromkeys(valued, learning.out_slots.value),
            bits={name: sum(bits for tag, bits in tags.items() if tag in _variables(rule))
                  for name, rule in network.rules.items()},
            kind={name: (rule.dw, rule.dt, rule.dd, rule.decimation, rule.epoch)
                  for name, rule in network.rules.items()},
            traces={name: tuple(rule.traces[each] for each in PRE_TRACES
                                if each in rule.traces and each in _variables(rule))
                    for name, rule in network.rules.items()},
            single=single))


def _thresholds(neuron: LearningNeuron) -> frozenset[int]:
    return frozenset([_SILENT, neuron.error_threshold] if neuron.error == "teacher" else [_SILENT])


def _has_values(plastic: PlasticNetwork, projection: IntegerProjection) -> bool:
    """Error spikes have a sign or are counts; so has what a neuron sends that sleeps."""
    return any(each is projection for each in plastic.feedback) or _sleeps(plastic, projection.source)


def _sleeps(plastic: PlasticNetwork, population: str) -> bool:
    """Whether feedback onto it is learnt, which takes noise."""
    return any(each.target == population and each.name in plastic.rules for each in plastic.feedback)


def _variables(rule: IntegerRule) -> set[str]:
    """What is read, or changed, of w, t, d and traces."""
    changed = {target[1] for target in TARGETS if rule.products(target)}
    return changed | {factor.variable for target in TARGETS for each in rule.products(target)
                      for factor in each.factors}


def _signals(plastic: PlasticNetwork) -> tuple[dict[str, tuple[int, ...]], list[IntegerProjection], frozenset[str]]:
    """Inputs; projections from them; the names of those that are one to one."""
    inputs: dict[str, tuple[int, ...]] = {}
    projections, single = [], []
    for name, neuron in plastic.neurons.items():
        n = plastic.network.size(name)
        for told, bits in (("(control)", len(_CONTROL)), *([("(reward)", _REWARD)] * (neuron.error == "reward"))):
            inputs[told] = (bits,)
            projections.append(_signal(told, name, IntegerDense(weight=np.ones((n, bits), dtype=np.int64))))
        if neuron.error == "teacher" or _sleeps(plastic, name):
            told = f"({'teacher' if neuron.error == 'teacher' else 'noise'} of {name})"
            inputs[told] = (n,)
            projections.append(_signal(told, name, IntegerSparse(
                indptr=np.arange(n + 1), indices=np.arange(n), weight=np.ones(n, dtype=np.int64))))
            single.append(projections[-1].name)
    return inputs, projections, frozenset(single)


def _signal(source: str, target: str, connection: IntegerConnection) -> IntegerProjection:
    """A mark of one bit."""
    return IntegerProjection(name=f"{source} to {target}", source=source, target=target, connection=connection,
                             weight_bits=1, sign="excitatory")
