"""Random plastic networks, their inputs and signals, and a small BioGrad network."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from spikec.ir.integer.learning import IntegerFactor, IntegerProduct, IntegerRule, IntegerTrace, rule_faults
from spikec.ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection, IntegerSparse
from spikec.ir.integer.plastic import ASLEEP, CLEAR, MARK, MIRROR, TEACH, UPDATE, LearningNeuron, PlasticNetwork
from spikec.ir.integer.plastic_signals import Signals

SIGNS = ("mixed", "excitatory", "inhibitory")


def product(mantissa: int, exponent: int, dependency: Any, *variables: str) -> IntegerProduct:
    return IntegerProduct(mantissa, exponent, dependency, tuple(map(IntegerFactor, variables)))


def biograd_rule(rate: int = -4, seed: int = 1) -> IntegerRule:
    return IntegerRule(
        dw=(product(1, rate, "y0", "t", "y3"), product(-1, rate, "y0", "t", "y2")),
        dt=(product(1, 0, "u", "x1", "y1"), product(-1, 0, "y0", "t")),
        traces={"x1": IntegerTrace(16, 1.44)}, three_factor=True, seed=seed)


def mirror_rule(seed: int = 1) -> IntegerRule:
    return IntegerRule(
        dw=(product(1, -4, "x0", "x1", "y2"), product(-1, -4, "x0", "x1", "y3"), product(-1, -7, "x0", "x1", "w")),
        traces={"x1": IntegerTrace(0, 65535)}, three_factor=True, graded=True, seed=seed)


def biograd_network(sizes: tuple[int, ...] = (20, 12, 4), seed: int = 0, threshold: int = 100) -> PlasticNetwork:
    """Layers, and direct feedback onto all hidden ones."""
    rng = np.random.default_rng(seed)
    names = ["x", *(f"h{number}" for number in range(1, len(sizes) - 1)), "out"]
    size = dict(zip(names, sizes, strict=True))

    def dense(source: str, target: str, most: int) -> IntegerDense:
        return IntegerDense(weight=2 * rng.integers(-most // 2, most // 2 + 1, (size[target], size[source])))

    populations = {name: IntegerPopulation(name=name, shape=(size[name],), du=4095, dv=2048, threshold=threshold)
                   for name in names[1:]}
    forward = [IntegerProjection(name=f"{source}-{target}", source=source, target=target,
                                 connection=dense(source, target, 60))
               for source, target in pairwise(names)]
    feedback = [IntegerProjection(name=f"out~{name}", source="out", target=name, connection=dense("out", name, 100),
                                  message_bits=8) for name in names[1:-1]]
    rules = {each.name: biograd_rule(seed=number) for number, each in enumerate(forward)}
    rules |= {each.name: mirror_rule(seed=number) for number, each in enumerate(feedback, 10)}
    neurons = {name: LearningNeuron(error="dendrite", gate_width=threshold, gate_value=8, shift=3)
               for name in names[1:-1]}
    neurons["out"] = LearningNeuron(error="teacher", gate_width=2 * threshold, gate_value=8)
    network = IntegerNetwork(inputs={"x": (size["x"],)}, populations=populations, projections=tuple(forward),
                             outputs={"out": "out"}, dt=1e-3)
    return PlasticNetwork(network=network, feedback=tuple(feedback), rules=rules, neurons=neurons)


def samples(plastic: PlasticNetwork, count: int, steps: int = 10, seed: int = 0,
            density: float = 0.3) -> tuple[dict[str, np.ndarray], Signals]:
    """So many samples of `steps` columns, their teachers, an update each, and a sleep after every second one."""
    rng, network = np.random.default_rng(seed), plastic.network
    control, asleep = [], []
    for number in range(count):
        control += [TEACH] * (steps - 1) + [UPDATE]
        asleep += [False] * steps
        if number % 2:
            control += [ASLEEP] * steps + [ASLEEP | MIRROR, CLEAR]
            asleep += [True] * steps + [False, False]
    awake = np.array([not each for each in asleep])
    rasters = {name: (rng.random((len(control), network.size(name))) < density) & awake[:, None]
               for name in network.inputs}
    teacher, noise = {}, {}
    for name, neuron in plastic.neurons.items():
        shape = len(control), network.size(name)
        if neuron.error == "teacher":
            teacher[name] = (rng.random(shape) < 0.2) & awake[:, None]
        else:
            noise[name] = rng.integers(-1, 2, shape) * np.array(asleep)[:, None]
    return ({name: each.astype(np.int64) for name, each in rasters.items()},
            Signals(control=np.array(control), teacher={k: v.astype(np.int64) for k, v in teacher.items()},
                    noise=noise))


def random_rule(rng: np.random.Generator, three_factor: bool, graded: bool = False) -> IntegerRule:
    """A legal one: of one to four products of each of one to three variables, with up to three factors."""
    traces = {name: IntegerTrace(float(np.round(rng.uniform(0, 60), 3)), float(rng.choice([0, 1.5, 5, 65535])))
              for name in ("x1", "x2", *(() if three_factor else ("y1", "y2", "y3")))}
    if graded:
        traces["x1"] = IntegerTrace(0, float(rng.choice([3, 65535])))
    rule = IntegerRule(traces=traces, three_factor=three_factor, graded=graded, epoch=int(rng.choice([1, 1, 2, 5])),
                       decimation=int(rng.choice([0, 0, 1, 3])), seed=int(rng.integers(100)))
    found: dict[str, list[IntegerProduct]] = {"dw": [], "dt": [], "dd": []}
    for target in ("dw", "dt", "dd")[:rng.integers(1, 4)]:
        for _ in range(rng.integers(1, 5)):
            while True:
                made = _random_product(rng)
                if not rule_faults(replace(rule, dw=(made,)), "r"):
                    break
            found[target].append(made)
    return replace(rule, **{target: tuple(each) for target, each in found.items()})


def _random_product(rng: np.random.Generator) -> IntegerProduct:
    factors = []
    for _ in range(rng.integers(0, 4)):
        variable = str(rng.choice(["x0", "y0", "x1", "x2", "y1", "y2", "y3", "w", "t", "d"]))
        offset = int(rng.choice([0, 0, 0, rng.integers(-128, 128)]))
        factors.append(IntegerFactor(variable, offset, variable in "wtd" and rng.random() < 0.3))
    return IntegerProduct(int(rng.integers(-7, 8)), int(rng.integers(-7, 4)), str(rng.choice(["x0", "y0", "u"])),
                          tuple(factors))


Case = tuple[PlasticNetwork, dict[str, np.ndarray], Signals]


def random_case(seed: int, columns: int = 40) -> Case:
    """Inputs "x" and "y", populations "a" and "b" with dendrites, "c" without learning neurons, "o" with a teacher and
    "r" with a reward, plastic and static projections of all kinds, cycles among them, and random signals."""
    rng, other_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    size = {"x": int(rng.integers(1, 40)), "y": 5, "a": int(rng.integers(1, 40)), "b": 7, "c": 6, "o": 4}
    populations = {name: IntegerPopulation(
        name=name, shape=(size[name],), du=int(rng.choice([4095, 1000])), dv=int(rng.integers(4096)),
        threshold=int(rng.integers(20, 200)), bias=rng.integers(-50, 200, size[name]) if name == "c" else None,
        bias_exponent=4) for name in "abco"}
    projections, rules = [], {}
    other = rng.choice(["xb", "ab", "ba", "bo", "cc", "co"])
    for ends in ("xa", "xb", "ab", "ba", "bo", "ac", "cc", "yc", "co"):
        source, target = ends
        shape = size[target], size[source]
        sign: Any = SIGNS[rng.integers(3)]
        weight = rng.integers(-256, 256, shape) if sign == "mixed" else rng.integers(0, 256, shape)
        weight = -weight if sign == "inhibitory" else weight
        plastic = ends in ("xa", "ac", other)
        delay = None if plastic or rng.random() < 0.5 else rng.integers(0, 4, shape)
        connection: Any = IntegerDense(weight=weight)
        if not plastic and rng.random() < 0.5:
            kept = [np.flatnonzero(rng.random(shape[1]) < 0.5) for _ in range(shape[0])]
            indptr = np.cumsum([0, *map(len, kept)])
            indices = np.concatenate(kept)
            connection = IntegerSparse(indptr=indptr, indices=indices, weight=rng.integers(-256, 256, len(indices)))
            delay = None if delay is None else rng.integers(0, 4, len(indices))
        projections.append(IntegerProjection(
            name=ends, source=source, target=target, connection=connection,
            exponent=int(rng.integers(0 if ends == "yc" else -2, 3)),
            weight_bits=int(rng.integers(5, 9)), sign=sign, delay=delay,
            message_bits=3 if source == "y" and not plastic else 0))
        if plastic:
            rules[ends] = random_rule(rng, target in "abo")
    size["r"], populations["r"] = 3, IntegerPopulation(
        name="r", shape=(3,), du=4095, dv=2000, threshold=int(other_rng.integers(20, 100)))
    projections.append(IntegerProjection(name="xr", source="x", target="r", connection=IntegerDense(
        weight=other_rng.integers(-100, 200, (3, size["x"])))))
    rules["xr"] = replace(random_rule(other_rng, True), epoch=1, dt=(
        product(1, 0, "y0", "x1"), product(-1, 0, "x0", "y1"), product(-1, -1, "u", "t", "y3")),
        dw=(IntegerProduct(int(other_rng.integers(1, 8)), 0, "u", (
            IntegerFactor("t"), IntegerFactor("y2", -MARK), IntegerFactor("y3"))),))
    feedback = []
    for target in "ab":
        feedback.append(IntegerProjection(
            name=f"o~{target}", source="o", target=target, message_bits=8, exponent=int(rng.integers(-1, 3)),
            connection=IntegerDense(weight=rng.integers(-256, 256, (size[target], size["o"])))))
        if target == "a":
            rules[f"o~{target}"] = random_rule(rng, True, graded=True)
    neurons = {name: LearningNeuron(
        error="teacher" if name == "o" else "dendrite", gate_width=int(rng.integers(1, 300)),
        gate_value=int(rng.integers(1, 128)), shift=int(rng.integers(0, 6)),
        error_threshold=int(rng.integers(1, 4)), gain=int(rng.integers(0, 4)), count_step=int(rng.integers(1, 9)),
        says_spikes=bool(rng.random() < 0.3), holds=bool(rng.random() < 0.3)) for name in "abo"}
    neurons["r"] = LearningNeuron(error="reward", gate_width=int(other_rng.integers(1, 300)), gate_value=20,
                                  gain=int(other_rng.integers(0, 2)), says_spikes=bool(other_rng.random() < 0.7),
                                  holds=bool(other_rng.random() < 0.3))
    neurons = {name: replace(each, trace_impulse=int(other_rng.integers(1, 128)),
                             trace_decay=int(other_rng.integers(4097))) if other_rng.random() < 0.5 else each
               for name, each in neurons.items()}
    network = IntegerNetwork(inputs={name: (size[name],) for name in "xy"}, populations=populations,
                             projections=tuple(projections), outputs={"out": "o"}, dt=1e-3)
    plastic_network = PlasticNetwork(network=network, feedback=tuple(feedback), rules=rules, neurons=neurons)
    bits = [each.message_bits for each in projections if each.source == "y"]
    inputs = {"x": (rng.random((columns, size["x"])) < 0.3).astype(np.int64),
              "y": rng.integers(-7, 8, (columns, 5)) if any(bits) else rng.integers(0, 2, (columns, 5))}
    control = np.where(rng.random(columns) < 0.4, rng.integers(0, 16, columns), 0) | TEACH * (rng.random(columns) < 0.7)
    control |= np.where(np.arange(columns) % 20 >= 10, ASLEEP, 0)
    return plastic_network, inputs, Signals(
        control=control, reward=other_rng.integers(-63, 64, columns),
        teacher={"o": rng.integers(0, 2, (columns, size["o"]))},
        noise={name: rng.integers(-1, 2, (columns, size[name])) for name in "ab"})
