"""Where the kernel's state lives: arrays in whole registers, of a `PlasticState` and back."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.integer.learning import POST_TRACES, PRE_TRACES, IntegerRule, IntegerTrace
from ...ir.integer.learning_numbers import Rounding
from ...ir.integer.learning_step import OF_SIGN, UNHURRIED, LearningState
from ...ir.integer.network import IntegerConv, IntegerDense, IntegerPopulation, IntegerProjection, held_weight
from ...ir.integer.plastic import PlasticNetwork
from ...ir.integer.plastic_state import PlasticState, numbered
from ...ir.integer.state import IntegerState
from ...ir.nodes import Array
from ..jit import Arguments
from .course import Course
from .kernels import ARGS, PATH, POPULATION, SOURCE, TOLD, library
from .numbers import decay_tables, lava_numbers, stream_key
from .products import RuleCode
from .synapses import Entries, entries_of

__all__ = ["Memory"]

REGISTER = 32
KINDS = {None: 0, "teacher": 1, "dendrite": 2, "reward": 3}


def lanes_of(n: int) -> int:
    """Neurons, and what fills the last register."""
    return -(-n // REGISTER) * REGISTER


def aligned(shape: Sequence[int], dtype: Any) -> Array:
    """Zeros that begin where a register of 64 bytes does."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    found: Array = raw[start:start + size].view(dtype).reshape(shape)
    return found


def filled(values: Array, lanes: int, dtype: Any) -> Array:
    """The same (.., n) with zeros up to `lanes`."""
    found = aligned((*values.shape[:-1], lanes), dtype)
    found[..., :values.shape[-1]] = values
    return found


class Record:
    """A structure of the kernel, with the arrays that it points to."""

    def __init__(self, item: Arguments, numbers: Mapping[str, Any], arrays: Mapping[str, Array | None]) -> None:
        self.item = item
        self.arrays: dict[str, Array] = {}
        for name, value in numbers.items():
            setattr(item, name, value)
        self.point(**arrays)

    def point(self, **arrays: Array | None) -> None:
        for name, array in arrays.items():
            setattr(self.item, name, None if array is None else array.ctypes.data)
            if array is not None:
                self.arrays[name] = array


class Memory:
    """The state of one stream."""

    def __init__(self, plastic: PlasticNetwork, rounding: Rounding, codes: tuple[RuleCode, ...],
                 code_of: Mapping[str, int], start: PlasticState) -> None:
        self.plastic, self.rounding, self.codes = plastic, rounding, codes
        network = plastic.network
        names = list(network.populations)
        self.sources = (SOURCE * (len(network.inputs) + 2 * len(names)))()
        self.source_of = {name: number for number, name in enumerate((*network.inputs, *names))}
        paths = [projection for _, projection in numbered(plastic).values()]
        self._populations = (POPULATION * len(names))()
        self._paths = (PATH * max(1, len(paths)))()
        self.populations = {name: self._population(item, name, start)
                            for name, item in zip(names, self._populations, strict=True)}
        self.paths = {each.name: self._path(item, each, code_of.get(each.name, -1), start)
                      for each, item in zip(paths, self._paths, strict=False)}
        self.step, self.head = start.step, 0

    def _population(self, item: Arguments, name: str, start: PlasticState) -> Record:
        population, neuron = self.plastic.network.populations[name], self.plastic.neurons.get(name)
        n, lanes = population.n, lanes_of(population.n)
        under_way = start.network.under_way[name][0]
        ring = aligned((max(1, len(under_way)), lanes), np.int32)
        ring[:len(under_way), :n] = under_way
        numbers = {"n": n, "lanes": lanes, "left_u": 4095 - population.du, "left_v": 4096 - population.dv,
                   "threshold": population.threshold << 6, "late": len(ring), "said_errors": 1, "said_counts": 1}
        arrays: dict[str, Array | None] = {
            "bias": filled(_bias(population), lanes, np.int32),
            "mask": filled(np.full(n, -1), lanes, np.int16),
            "u": filled(start.network.u[name][0], lanes, np.int32),
            "v": filled(start.network.v[name][0], lanes, np.int32), "ring": ring,
            "fired": aligned((lanes,), np.int32), "fired_at": aligned((lanes + 1,), np.int32)}
        if neuron is not None:
            numbers |= {"kind": KINDS[neuron.error], "gate_width": neuron.gate_width << 6,
                        **{key: int(getattr(neuron, key)) for key in (
                            "gate_value", "shift", "gain", "count_step", "error_threshold", "says_spikes", "holds",
                            "trace_impulse", "trace_decay")}}
            arrays |= {key: filled(held[name], lanes, np.int32) for key, held in (
                ("error", start.error), ("balance", start.balance), ("count", start.count), ("trace", start.trace),
                ("b", start.arriving))}
            arrays |= {key: aligned((lanes,), np.int32) for key in ("told_now", "error_at", "error_values")}
            arrays |= {key: aligned((3, lanes), np.int16) for key in ("says", "counts_said")}
        return Record(item, numbers, arrays)

    def _path(self, item: Arguments, projection: IntegerProjection, code: int, start: PlasticState) -> Record:
        network = self.plastic.network
        of_errors = any(each is projection for each in self.plastic.feedback)
        n_pre, n_post = network.size(projection.source), network.size(projection.target)
        lanes = lanes_of(n_post)
        numbers = {
            "source": self.source_of[projection.source] + (len(network.populations) if of_errors else 0),
            "target": list(network.populations).index(projection.target), "dendrite": int(of_errors),
            "exponent": projection.exponent, "lanes": lanes, "source_lanes": lanes_of(n_pre), "n_pre": n_pre,
            "n_post": n_post, "delays": 1, "rule": code}
        if isinstance(projection.connection, IntegerDense) and projection.delay is None:
            weight = start.learning[projection.name].weight if code >= 0 else held_weight(projection)
            arrays: dict[str, Array | None] = {"table": filled(weight.T, lanes, np.int16)}
        else:
            found: Entries = entries_of(projection, n_pre, lanes)
            numbers |= {"delays": found.delays, "stencil": int(isinstance(projection.connection, IntegerConv))}
            arrays = {"starts": found.starts, "places": found.places, "entries": found.weights}
        arrays["scratch"] = aligned((numbers["delays"], lanes), np.int32)
        if code >= 0:
            self._learning(projection, self.codes[code], start.learning[projection.name], numbers, arrays)
        return Record(item, numbers, arrays)

    def _learning(self, projection: IntegerProjection, code: RuleCode, state: LearningState,
                  numbers: dict[str, Any], arrays: dict[str, Array | None]) -> None:
        rule = self.plastic.rules[projection.name]
        lanes, sources = numbers["lanes"], numbers["source_lanes"]
        neuron = self.plastic.neurons.get(projection.target)
        number, _ = numbered(self.plastic)[projection.name]
        numbers |= {f"key_{key}": stream_key(rule.seed, number, kind)
                    for kind, key in enumerate(("synapses", "x", "y"))}
        living = np.flatnonzero((state.x != 0).sum(axis=0))
        numbers |= {"live": len(living), "live_post": 1, "lowest": int((state.tag == -257).any()), "said_y0": -1,
                    "hears": int(neuron is not None and neuron.says_spikes and not code.graded)}
        arrays |= {
            "told": aligned((len(TOLD),), np.int64), "tag": filled(state.tag.T, lanes, np.int16),
            "delay": filled(state.delay.T, lanes, np.int16), "y0": aligned((lanes,), np.int16),
            "live_at": filled(living, sources + 1, np.int32),
            "x": filled(state.x, sources, np.int32), "y": filled(state.y, lanes, np.int32),
            "tx": filled(state.tx, sources, np.uint8), "ty": filled(state.ty, lanes, np.uint8),
            "tagged": filled((state.tag != 0).sum(axis=0) > 0, sources, np.uint8),
            "x_seen": aligned((code.epoch + 1, 2, sources), np.int32) if code.epoch > 1 else None,
            "y_seen": aligned((code.epoch + 1, 3, lanes), np.int16), "y_own": aligned((3, lanes), np.int16)}
        for side, traces in (("x", _traces(rule, PRE_TRACES)), ("y", _traces(rule, POST_TRACES))):
            tables = decay_tables(traces)
            arrays |= {f"{side}_whole": tables.whole, f"{side}_rest": tables.rest, f"{side}_real": tables.real,
                       f"{side}_after": np.zeros_like(tables.whole)}
            if side == "y":
                numbers["y_least"] = tables.least

    def run(self, course: Course, output: str, windows: Array, counts: Array, membranes: Array,
            shown: Mapping[str, Array], learning: bool) -> None:
        """Takes the state through the columns of a course."""
        kernel = library(self.codes, self.rounding == "lava")
        for name, spikes in course.inputs.items():
            Record(self.sources[self.source_of[name]], {}, {
                "all": spikes.channels, "all_values": spikes.values, "begins": spikes.begins})
        held: list[Any] = []
        for name, record in self.populations.items():
            told = course.teacher.get(name) or course.noise.get(name)
            record.item.shown = shown[name].ctypes.data if name in shown else None
            if told is not None:
                values = told.values
                if values is None:
                    values = np.ones(len(told.channels), dtype=np.int32)
                held.append(values)
                record.item.told_begins, record.item.told_at = told.begins.ctypes.data, told.channels.ctypes.data
                record.item.told_values = values.ctypes.data
        if learning and self.rounding == "lava":
            for name, rule in self.plastic.rules.items():
                self.paths[name].point(**lava_numbers(rule, self.step, course.columns))
        silent = np.zeros(course.columns, dtype=np.int64)
        control, reward = (silent if each is None else each for each in (course.control, course.reward))
        network = self.plastic.network
        arguments = Record(ARGS(), {
            "columns": course.columns, "step": self.step, "head": self.head, "learns": int(learning),
            "output": list(network.populations).index(output), "n_inputs": len(network.inputs),
            "n_populations": len(self.populations), "n_paths": len(self.paths), "n_windows": len(windows)},
            {"control": control, "reward": reward, "windows": windows, "counts": counts, "membranes": membranes})
        for name, items in (("sources", self.sources), ("populations", self._populations), ("paths", self._paths)):
            setattr(arguments.item, name, ctypes.addressof(items))
        kernel.run(ctypes.byref(arguments.item))
        self.head += course.columns
        self.step += course.columns if learning else 0

    def state(self) -> PlasticState:
        """Where the stream stands, copied."""
        network = self.plastic.network
        sizes = {name: network.populations[name].n for name in self.populations}
        under_way = {}
        for name, record in self.populations.items():
            ring = record.arrays["ring"]
            late = len(ring) if network.incoming[name] else 0
            turned = np.roll(ring, -(self.head % len(ring)), axis=0)
            under_way[name] = turned[None, :late, :sizes[name]].copy()

        def of(key: str) -> dict[str, Array]:
            return {name: self.populations[name].arrays[key][:sizes[name]].astype(np.int64)
                    for name in self.plastic.neurons}

        return PlasticState(
            network=IntegerState(
                u={name: each.arrays["u"][None, :sizes[name]].copy() for name, each in self.populations.items()},
                v={name: each.arrays["v"][None, :sizes[name]].copy() for name, each in self.populations.items()},
                under_way=under_way),
            arriving=of("b"), error=of("error"), balance=of("balance"), count=of("count"), trace=of("trace"),
            learning={name: self._learnt(self.paths[name]) for name in self.plastic.rules})

    def weights(self, name: str) -> Array:
        record = self.paths[name]
        found: Array = record.arrays["table"][:, :record.item.n_post].T.astype(np.int64)
        return found

    def spikes(self) -> dict[str, int]:
        """See `PlasticStream.spikes`."""
        return {name: int(record.item.spikes) for name, record in self.populations.items()}

    def is_matrix(self, name: str) -> bool:
        """Whether the weights of a projection stand in a table."""
        return "table" in self.paths[name].arrays

    def set_weights(self, name: str, weight: Array) -> None:
        record = self.paths[name]
        record.arrays["table"][:, :record.item.n_post] = weight.T

    def figures(self) -> dict[str, dict[str, int]]:
        """What was counted, which begins anew."""
        found: dict[str, dict[str, int]] = {}
        signs = {name: projection.sign for name, (_, projection) in numbered(self.plastic).items()}
        for name in self.plastic.rules:
            told, weights = self.paths[name].arrays["told"], self.weights(name)
            low, high = OF_SIGN[signs[name]]
            found[name] = {key: int(each) for key, each in zip(TOLD, told, strict=True)}
            found[name]["weights_at_bounds"] = int(((weights == low) | (weights == high)).sum())
            told[:] = 0
        for name, record in self.populations.items():
            found[name] = {"spikes": record.item.spikes, "errors_clipped": record.item.clipped}
            record.item.spikes = record.item.clipped = 0
        return found

    def _learnt(self, record: Record) -> LearningState:
        n_pre, n_post, arrays = record.item.n_pre, record.item.n_post, record.arrays

        def of(key: str, n: int) -> Array:
            found: Array = arrays[key][..., :n].astype(np.int64)
            return found

        return LearningState(weight=of("table", n_post).T, tag=of("tag", n_post).T, delay=of("delay", n_post).T,
                             x=of("x", n_pre), y=of("y", n_post), tx=of("tx", n_pre), ty=of("ty", n_post),
                             step=self.step)


def _bias(population: IntegerPopulation) -> Array:
    if population.bias is None:
        return np.zeros(population.n, dtype=np.int32)
    return population.bias.astype(np.int32) << population.bias_exponent


def _traces(rule: IntegerRule, names: tuple[str, ...]) -> list[IntegerTrace]:
    if rule.three_factor and names is POST_TRACES:
        return [UNHURRIED] * len(names)
    return [rule.traces.get(name, IntegerTrace(0, 0)) for name in names]
