"""The files of a program for Lava that learns, made from a plastic network, and the network that they are made from:
always the same bytes for the same network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ...ir.integer.learning import (
    TARGETS,
    IntegerFactor,
    IntegerProduct,
    IntegerRule,
    IntegerTrace,
    lava_text,
)
from ...ir.integer.network import IntegerProjection
from ...ir.integer.plastic import LearningNeuron, PlasticNetwork
from ...ir.nodes import Array
from ...ir.npz import pack_npz
from .chips import chip_limits
from .parts import (
    NETWORK,
    PARAMETERS,
    PROGRAM,
    README,
    arrays_of,
    described_network,
    described_projection,
    facts_of_inputs,
    facts_of_population,
    facts_of_projection,
    import_lines,
    keys_of,
    keys_of_projections,
    model_lines,
    orders_of,
    rendered,
    shared_facts,
    wired,
)
from .reading import names_of, network_of, projections_of

__all__ = ["FORMAT", "LARGEST", "plastic_files", "plastic_of", "signal_keys"]

FORMAT = "spikec-plastic-network"
NEURONS = "learning_neuron.py"
LARGEST = 1 << 28
"""Values of all that a run is given and notes."""
_EDGE_MODELS = ("from lava.proc.io.source import PySendModelFixed",)
_SIGNED_BITS = 8
"""Of the messages of neurons that learn: while asleep, their spikes have a sign."""
TOLD = {"teacher": "teacher", "dendrite": "noise"}
"""By what an error comes from, the signal that tells each neuron something of its own."""
_UNTRUNCATED = {"mixed": 9, "excitatory": 8, "inhibitory": 8}
"""Bits of weights that are held as they are, those that were learnt and are odd among them."""


def plastic_files(plastic: PlasticNetwork) -> dict[str, bytes]:
    """The files by name.

    Raises:
        UnsupportedError: Lava has no process for a part of it (SC559).
    """
    network, projections = plastic.network, (*plastic.network.projections, *plastic.feedback)
    keys, synapses, orders = keys_of(network), keys_of_projections(network, projections), orders_of(network)
    there = wired(projections)
    populations = [_population(plastic, name, keys, orders) for name in network.populations]
    connections = [_projection(plastic, each, synapses[each.name], keys, orders) for each in there]
    inputs = facts_of_inputs(network, there, keys)
    signals = [{"key": key, "n": n} for key, n in _signals(plastic, keys).items()]
    outputs = list(dict.fromkeys(keys[population] for population in network.outputs.values()))
    processes = {each["process"] for each in (*populations, *connections)} - {"LearningNeuron"}
    ours = [f"from learning_neuron import {name}" for name in ("LearningNeuron", "PyLearningNeuronModel")
            if plastic.neurons]
    learning = [{"key": synapses[each.name], "weights": f"{synapses[each.name]}.weight", "target": keys[each.target],
                 "source": keys[each.source]} for each in there if each.name in plastic.rules]
    shared = shared_facts()
    program = rendered(
        "plastic.jinja", **shared, inputs=inputs, signals=signals, outputs=outputs, plastic=learning,
        reshapes="Conv" in processes, imports=[*_learning_imports(plastic), *import_lines(processes), *ours[:1]],
        models=model_lines(processes, (*_EDGE_MODELS, *ours[1:])), populations=populations, projections=connections,
        made="PROCESSES", largest=LARGEST,
        orders=[(keys[name], network.size(name), channels) for name, channels in orders.items() if channels > 1])
    limits = chip_limits(plastic)
    readme = rendered("plastic_readme.jinja", **shared, inputs=inputs, signals=signals, outputs=outputs,
                      learning=learning, limits=[(each, (keys | synapses)[each.node]) for each in limits],
                      neurons=sum(each.n for each in network.populations.values()),
                      synapses=sum(each.connection.weight.size for each in projections))
    described = described_network(
        network, keys, synapses, FORMAT, chips=[asdict(each) for each in limits],
        feedback={synapses[each.name]: described_projection(each, keys) for each in plastic.feedback},
        rules={synapses[name]: _described_rule(rule) for name, rule in plastic.rules.items()},
        neurons={keys[name]: {"error": neuron.error, **_settings(neuron)} for name, neuron in plastic.neurons.items()})
    return {PROGRAM: program.encode(), NEURONS: rendered("learning_neuron.jinja", **shared).encode(),
            PARAMETERS: pack_npz(arrays_of(network, projections, keys, synapses)),
            NETWORK: json.dumps(described, indent=1).encode() + b"\n", README: readme.encode()}


def signal_keys(plastic: PlasticNetwork) -> dict[tuple[str, str], str]:
    """The names of signals in the program, by population and what it takes: ("h", "noise") and the like."""
    keys = keys_of(plastic.network)
    return {(name, TOLD[neuron.error]): f"{keys[name]}.{TOLD[neuron.error]}"
            for name, neuron in plastic.neurons.items() if neuron.error in TOLD}


def _signals(plastic: PlasticNetwork, keys: Mapping[str, str]) -> dict[str, int]:
    """Channels of each signal."""
    sizes = {key: plastic.network.size(name) for (name, _), key in signal_keys(plastic).items()}
    rewarded = any(neuron.error == "reward" for neuron in plastic.neurons.values())
    return {**({"control": 1} if plastic.neurons else {}), **({"reward": 1} if rewarded else {}), **sizes}


def _population(plastic: PlasticNetwork, name: str, keys: Mapping[str, str],
                orders: Mapping[str, int]) -> dict[str, Any]:
    facts = facts_of_population(plastic.network.populations[name], keys, orders)
    if (neuron := plastic.neurons.get(name)) is None:
        return facts
    key = keys[name]
    settings = [f"{name}={value}" for name, value in {"error": f'"{neuron.error}"', **_settings(neuron)}.items()]
    told = ("reward", "reward") if neuron.error == "reward" else (f"{key}.{TOLD[neuron.error]}", "told")
    return facts | {
        "process": "LearningNeuron",
        "settings": [", ".join(settings[start:start + 5]) for start in range(0, len(settings), 5)],
        "wires": [('inputs["control"]', f"{key}.control"), (f'inputs["{told[0]}"]', f"{key}.{told[1]}")]}


def _settings(neuron: LearningNeuron) -> dict[str, Any]:
    """All of its numbers and marks."""
    values = {each.name: getattr(neuron, each.name) for each in fields(neuron) if each.name != "error"}
    return {name: bool(value) if isinstance(value, bool) else int(value) for name, value in values.items()}


def _projection(plastic: PlasticNetwork, projection: IntegerProjection, key: str, keys: Mapping[str, str],
                orders: Mapping[str, int]) -> dict[str, Any]:
    facts = facts_of_projection(plastic.network, projection, key, keys, orders)
    target, of_feedback = keys[projection.target], any(each is projection for each in plastic.feedback)
    if projection.source in plastic.neurons:
        facts["message_bits"] = _SIGNED_BITS
    if of_feedback:
        facts |= {"port": f"{keys[projection.source]}.error_out", "arrives": f"{target}.dendrite"}
    if (rule := plastic.rules.get(projection.name)) is None:
        return facts
    wires = [(f"{target}.s_out", f"{key}.s_in_bap")]
    if rule.three_factor:
        said = f"{target}.{'feedback' if of_feedback else 'forward'}"
        wires = [(f"{said}_y0", f"{key}.s_in_bap"), *((f"{said}_y{n}", f"{key}.s_in_y{n}") for n in (1, 2, 3))]
    return facts | {"process": "LearningDense", "weight_bits": _UNTRUNCATED[projection.sign], "wires": wires,
                    "rule": {"graded": rule.graded, "process": _kind(rule), "settings": _rule_settings(rule)}}


def _kind(rule: IntegerRule) -> str:
    return "Loihi3FLearningRule" if rule.three_factor else "Loihi2FLearningRule"


def _rule_settings(rule: IntegerRule) -> dict[str, str]:
    """The arguments of Lava's rule, as Python writes them."""
    texts = {target: lava_text(rule.products(target), rule.decimation) for target in TARGETS}
    settings = {target: f'"{text}"' for target, text in texts.items() if text}
    for name, trace in rule.traces.items():
        settings |= {f"{name}_impulse": repr(float(trace.impulse)), f"{name}_tau": repr(float(trace.tau))}
    return settings | {"t_epoch": repr(int(rule.epoch)), "rng_seed": repr(int(rule.seed))}


def _learning_imports(plastic: PlasticNetwork) -> list[str]:
    kinds = ", ".join(sorted({_kind(rule) for rule in plastic.rules.values()}))
    lines = ["from lava.magma.core.learning.constants import GradedSpikeCfg"] * any(
        rule.graded for rule in plastic.rules.values())
    lines += [f"from lava.magma.core.learning.learning_rule import {kinds}"] * bool(kinds)
    return lines


def _described_rule(rule: IntegerRule) -> dict[str, Any]:
    return {
        **{target: [{"mantissa": int(each.mantissa), "exponent": int(each.exponent), "dependency": each.dependency,
                     "factors": [[factor.variable, int(factor.offset), bool(factor.sign)] for factor in each.factors]}
                    for each in rule.products(target)] for target in TARGETS},
        "decimation": int(rule.decimation), "three_factor": bool(rule.three_factor), "graded": bool(rule.graded),
        "traces": {name: [float(each.impulse), float(each.tau)] for name, each in rule.traces.items()},
        "epoch": int(rule.epoch), "seed": int(rule.seed)}


def plastic_of(told: Any, arrays: Mapping[str, Array]) -> PlasticNetwork:
    """The network that `network.json` and the parameters describe; whether it is legal is not looked at."""
    names = names_of(told)
    synapses = {key: each["name"] for kind in ("projections", "feedback") for key, each in told[kind].items()}
    return PlasticNetwork(
        network=network_of(told, arrays), feedback=projections_of(told["feedback"].items(), names, arrays),
        rules={synapses[key]: _rule(each) for key, each in told["rules"].items()},
        neurons={names[key]: LearningNeuron(**each) for key, each in told["neurons"].items()})


def _rule(told: Any) -> IntegerRule:
    products = {target: tuple(
        IntegerProduct(each["mantissa"], each["exponent"], each["dependency"],
                       tuple(IntegerFactor(*factor) for factor in each["factors"])) for each in told[target])
        for target in TARGETS}
    return IntegerRule(**{**told, **products, "traces": {name: IntegerTrace(*each)
                                                         for name, each in told["traces"].items()}})
