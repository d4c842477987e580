"""What a legal plastic network is, all faults reported: rules fit their projections and the neurons they end at."""

from __future__ import annotations

from collections.abc import Mapping

from ..diagnostics import Diagnostic, Diagnostics
from ..facts import is_whole
from .checks import check_integer
from .learning import rule_faults
from .network import IntegerDense, IntegerNetwork, IntegerProjection
from .plastic import LearningNeuron, PlasticNetwork

__all__ = ["ERROR_BITS", "FIELDS", "check_plastic", "verify_plastic"]

ERROR_BITS = 8
"""Of the messages of error spikes: 2 N, N up to 127."""
FIELDS: Mapping[str, tuple[int, int]] = {
    "gate_width": (1, 1 << 17), "gate_value": (1, 127), "shift": (0, 16), "gain": (0, 7),
    "count_step": (1, 64), "error_threshold": (1, (1 << 23) - 1), "trace_impulse": (0, 127), "trace_decay": (0, 4096),
}
"""The least and the largest value of each field of a learning neuron."""


def check_plastic(plastic: PlasticNetwork) -> list[Diagnostic]:
    """Every fault of a plastic network; an empty list for a legal one."""
    faults = Diagnostics(check_integer(plastic.network))
    for name, neuron in plastic.neurons.items():
        _check_neuron(plastic, name, neuron, faults)
    _check_feedback(plastic, faults)
    projections = {each.name: each for each in (*plastic.network.projections, *plastic.feedback)}
    for name, rule in plastic.rules.items():
        if name not in projections:
            faults.add("SC143", "a rule is given for a projection that does not exist", node=name,
                       limit=", ".join(projections))
            continue
        faults.extend(rule_faults(rule, name))
        _check_plastic_projection(plastic, projections[name], faults)
    return faults.found


def verify_plastic(plastic: PlasticNetwork) -> PlasticNetwork:
    """The network itself, if it is legal.

    Raises:
        BadInputError: with every fault at once.
    """
    faults = Diagnostics(check_plastic(plastic))
    faults.raise_if_errors()
    return plastic


def _check_neuron(plastic: PlasticNetwork, name: str, neuron: LearningNeuron, faults: Diagnostics) -> None:
    if name not in plastic.network.populations:
        faults.add("SC143", "learning neurons are given for a population that does not exist", node=name,
                   limit=", ".join(plastic.network.populations))
    if neuron.error not in ("teacher", "dendrite", "reward"):
        faults.add("SC143", "the error of learning neurons comes from a teacher, a dendrite or a reward", node=name,
                   value=neuron.error, limit="teacher, dendrite or reward")
    for field, (low, high) in FIELDS.items():
        value = getattr(neuron, field)
        if not (is_whole(value) and low <= value <= high):
            faults.add("SC140", f"{field} does not fit its field", node=name, value=value, limit=f"{low}..{high}")


def _check_feedback(plastic: PlasticNetwork, faults: Diagnostics) -> None:
    names = {each.name for each in plastic.network.projections}
    kinds = {name: neuron.error for name, neuron in plastic.neurons.items() if name in plastic.network.populations}
    legal = []
    for each in plastic.feedback:
        found = len(faults.found)
        if each.name in names:
            faults.add("SC109", "two projections share a name", node=each.name)
        names.add(each.name)
        for end, kind, meaning in ((each.source, "teacher", "comes from"), (each.target, "dendrite", "ends at")):
            if kinds.get(end) != kind:
                faults.add("SC143", f"feedback {meaning} neurons with a {kind}", node=each.name, value=end,
                           limit=", ".join(name for name in kinds if kinds[name] == kind) or "there are none")
        if each.message_bits != ERROR_BITS:
            faults.add("SC144", "error spikes are messages of a fixed number of bits", node=each.name,
                       value=each.message_bits, limit=ERROR_BITS, remedy=f"Set message_bits={ERROR_BITS}.")
        if not isinstance(each.connection, IntegerDense) or each.delay is not None:
            faults.add("SC144", "feedback is dense, without delays", node=each.name,
                       value=type(each.connection).__name__)
        if len(faults.found) == found:
            legal.append(each)
    if legal:  # what is legal of any projection of an input, which may send such messages
        shapes = {name: plastic.network.populations[name].shape for name in kinds}
        faults.extend(fault for fault in check_integer(IntegerNetwork(
            inputs={name: shape for name, shape in shapes.items() if kinds[name] == "teacher"},
            populations={name: plastic.network.populations[name] for name in kinds if kinds[name] == "dendrite"},
            projections=tuple(legal), outputs={"out": legal[0].target}, dt=plastic.network.dt))
            if fault.node in names)


def _check_plastic_projection(plastic: PlasticNetwork, projection: IntegerProjection, faults: Diagnostics) -> None:
    name, rule = projection.name, plastic.rules[projection.name]
    of_feedback = any(each is projection for each in plastic.feedback)
    if not of_feedback:
        if not isinstance(projection.connection, IntegerDense) or projection.delay is not None:
            faults.add("SC144", "only dense projections without delays learn", node=name,
                       value="delays" if projection.delay is not None else type(projection.connection).__name__,
                       remedy="Write the connection as an IntegerDense, or leave its rule out.")
        if projection.message_bits:
            faults.add("SC144", "a projection that learns takes spikes without a value", node=name,
                       value=projection.message_bits, limit=0, remedy="Set message_bits=0.")
    elif (trace := rule.traces.get("x1")) is not None and trace.impulse:
        faults.add("SC144", "x1 of error spikes is what they say, and takes no impulse", node=name,
                   value=trace.impulse, limit=0, remedy="Give x1 an impulse of 0.")
    if rule.graded != of_feedback:
        faults.add("SC144", "rules of feedback are graded, others are not", node=name, value=f"graded={rule.graded}",
                   limit=f"graded={of_feedback}")
    if rule.three_factor != (projection.target in plastic.neurons):
        faults.add("SC144", "a rule of three factors ends at learning neurons, and only such a one does", node=name,
                   value=f"three_factor={rule.three_factor}, target {projection.target}",
                   limit=", ".join(plastic.neurons) or "no neurons learn")
