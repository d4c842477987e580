"""Random integer networks, and their runs by Lava in an interpreter of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from hypothesis import strategies as st
from lava_here import lava_python

from spikec.ir.integer.network import (
    IntegerConnection,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
)
from spikec.ir.integer.step import IntegerResult, simulate_integer
from spikec.runtime.lava.processes import ProcessGroup

LAVA_SIDE = Path(__file__).parent / "lava_side.py"
SIGNS = ("mixed", "excitatory", "inhibitory")

Shape = int | tuple[int, ...]
Case = tuple[IntegerNetwork, dict[str, Any]]


def random_case(seed: int, batch: int = 1, steps: int = 12, stencils: bool = True) -> Case:
    """Inputs "x" and "y", populations "a" to "c", some eight projections of all kinds, cycles among them, and rasters.
    A third of the networks is driven out of the range of 24 bits."""
    rng = np.random.default_rng(seed)
    wild = seed % 3 == 0
    image = _image(rng)
    conv = _stencil(rng, image) if stencils else None
    shapes = {"a": conv.output_shape if conv else (5,), "b": (int(rng.integers(1, 40)),), "c": (3, 2)}
    populations = {name: _population(rng, name, shape, wild) for name, shape in shapes.items()}
    inputs = {"x": image, "y": (int(rng.integers(1, 50)),)}
    sizes = {name: int(np.prod(shape)) for name, shape in (inputs | shapes).items()}
    first = conv or _dense(rng, sizes["a"], sizes["x"])
    projections = [_projection(rng, "xa", "x", "a", first, wild)]
    for source, target in ("xb", "bc", "yb", "ab", "ba", "cb", "bb", "yc"):
        if rng.random() < 0.7 or source + target in ("xb", "bc"):  # all of it is one network
            connection = _matrix(rng, sizes[target], sizes[source])
            projections.append(_projection(rng, source + target, source, target, connection, wild))
    network = IntegerNetwork(inputs=inputs, populations=populations, projections=tuple(projections),
                             outputs={"out": "c"}, dt=1e-3)
    density = rng.choice([0.05, 0.3, 0.9])
    rasters = {}
    for name, shape in inputs.items():
        bits = min([each.message_bits for each in projections if each.source == name and each.message_bits], default=1)
        rasters[name] = _raster(rng, (batch, steps, *shape), bits, density)
    return network, rasters


def random_group(seed: int, networks: int = 10, steps: int = 12, stencils: bool = True) -> Case:
    """Networks of one to three populations beside each other, which share the inputs "x" and "y" and nothing else: Lava
    runs them together, at the cost of an operating system's process for each population and each projection."""
    rng = np.random.default_rng(seed)
    bits = {"x": int(rng.choice([1, 5])), "y": int(rng.choice([1, 5, 16]))}
    inputs: dict[str, tuple[int, ...]] = {"x": _image(rng), "y": (int(rng.integers(1, 50)),)}
    shapes: dict[str, tuple[int, ...]] = dict(inputs)
    populations, projections = {}, []
    for number in range(networks):
        wild, names = number % 3 == 0, [f"{letter}{number}" for letter in "abc"[:rng.integers(1, 4)]]
        for place, name in enumerate(names):
            source = names[place - 1] if place else str(rng.choice(["x", "y"], p=[0.7, 0.3]))
            fits = len(shapes[source]) == 3 and shapes[source][0] % 2 == 0 and min(shapes[source][1:]) > 2
            connection: IntegerConnection
            if stencils and fits and rng.random() < 0.7:
                connection = _stencil(rng, shapes[source])
                shapes[name] = connection.output_shape
            else:
                shapes[name] = (int(rng.integers(1, 30)),)
                connection = _matrix(rng, shapes[name], shapes[source])
            populations[name] = _population(rng, name, shapes[name], wild)
            projections.append(_projection(rng, source + name, source, name, connection, wild, bits))
        for target in names:
            for source in ("y", *names):
                if rng.random() < 0.2 and all(source + target != each.name for each in projections):
                    connection = _matrix(rng, shapes[target], shapes[source])
                    projections.append(_projection(rng, source + target, source, target, connection, wild, bits))
    network = IntegerNetwork(inputs=inputs, populations=populations, projections=tuple(projections),
                             outputs={"out": "a0"}, dt=1e-3)
    return network, {name: _raster(rng, (1, steps, *shape), bits[name], rng.choice([0.1, 0.4, 0.9]))
                     for name, shape in inputs.items()}


def _image(rng: np.random.Generator) -> tuple[int, int, int]:
    return int(rng.integers(1, 3)) * 2, int(rng.integers(3, 7)), int(rng.integers(3, 7))


def _raster(rng: np.random.Generator, shape: tuple[int, ...], bits: int, density: float) -> Any:
    values = rng.integers(1 - (1 << bits) if bits > 1 else 1, 1 << bits, shape)
    return np.where(rng.random(shape) < density, values, 0)


def _population(rng: np.random.Generator, name: str, shape: tuple[int, ...], wild: bool) -> IntegerPopulation:
    n = int(np.prod(shape))
    decays = [int(rng.choice([0, 4095, int(rng.integers(0, 4096)), 20])) for _ in range(2)]
    low = rng.random() < 0.3
    bias = None if low else rng.integers(-4096, 4096, n) if wild else rng.integers(-60, 60, n)
    return IntegerPopulation(
        name=name, shape=shape, du=decays[0], dv=decays[1], bias=bias, bias_exponent=int(rng.integers(0, 8)),
        threshold=int(rng.choice([0, rng.integers(1, 400), rng.integers(1 << 16, 1 << 17)], p=[0.05, 0.65, 0.3])),
        u0=_first(rng, n, wild), v0=_first(rng, n, wild))


def _first(rng: np.random.Generator, n: int, wild: bool) -> Any:
    """In half of the cases; in wild ones up to the ends of a register."""
    most = (1 << 23) - 1 if wild else 20_000
    return rng.integers(-most, most + 1, n) if rng.random() < 0.5 else None


def _projection(rng: np.random.Generator, name: str, source: str, target: str, connection: IntegerConnection,
                wild: bool, bits_of: Mapping[str, int] = MappingProxyType({})) -> IntegerProjection:
    """`bits_of`: of an input's graded spikes; any that are drawn unless stated."""
    stencil = isinstance(connection, IntegerConv)
    exponent = int(rng.integers(0 if stencil else -8, 8) if wild else rng.integers(0 if stencil else -2, 3))
    graded = [0, bits_of[source]] if source in bits_of else [0, 0, 1, 5, 16]
    bits = int(rng.choice(graded)) if source in ("x", "y") else 0
    if stencil:
        bits = min(bits, 5)
    delay = None
    if not stencil and rng.random() < 0.5:
        delay = rng.integers(0, rng.choice([1, 4, 64], p=[0.3, 0.6, 0.1]), connection.weight.shape)
        exponent = max(exponent, 0) if bits else exponent
    return IntegerProjection(
        name=name, source=source, target=target, connection=connection, exponent=exponent, delay=delay,
        sign=SIGNS[rng.integers(3)], weight_bits=int(rng.choice([8, rng.integers(1, 9)])), message_bits=bits)


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Some beyond what can be held."""
    return rng.integers(-300, 300, shape) if rng.random() < 0.5 else rng.integers(-60, 60, shape)


def _matrix(rng: np.random.Generator, target: Shape, source: Shape) -> IntegerConnection:
    return (_dense if rng.random() < 0.5 else _sparse)(rng, int(np.prod(target)), int(np.prod(source)))


def _dense(rng: np.random.Generator, post: int, pre: int) -> IntegerDense:
    return IntegerDense(weight=_weights(rng, (post, pre)))


def _sparse(rng: np.random.Generator, post: int, pre: int) -> IntegerSparse:
    present = rng.random((post, pre)) < rng.choice([0.1, 0.5])
    present[0, 0] = True  # Lava's matrices are not empty
    rows, columns = np.nonzero(present)
    return IntegerSparse(indptr=np.concatenate([[0], np.cumsum(present.sum(1))]), indices=columns,
                         weight=_weights(rng, rows.shape))


def _stencil(rng: np.random.Generator, image: tuple[int, int, int]) -> IntegerConv:
    groups = int(rng.choice([1, 2]))
    kernel = [int(rng.integers(1, 4)) for _ in range(2)]
    dilation = [int(rng.integers(1, 3)) if length >= 5 else 1 for length in image[1:]]
    stride, padding = ([int(each) for each in rng.integers(*span, 2)] for span in ((1, 3), (0, 3)))
    features = groups * int(rng.integers(1, 3))
    out = [(length + 2 * pad - hole * (reach - 1) - 1) // step + 1 for length, pad, hole, reach, step in
           zip(image[1:], padding, dilation, kernel, stride, strict=True)]
    return IntegerConv(weight=_weights(rng, (features, image[0] // groups, *kernel)), input_shape=image,
                       output_shape=(features, out[0], out[1]), groups=groups, stride=(stride[0], stride[1]),
                       padding=(padding[0], padding[1]), dilation=(dilation[0], dilation[1]))


def cases(batch: int = 3, steps: int = 12) -> st.SearchStrategy[Case]:
    return st.builds(random_case, st.integers(0, 1 << 30), st.just(batch), st.just(steps))


def run_lava(networks: Sequence[Case], place: Path) -> list[dict[str, dict[str, Any]]]:
    """By case and population: u, v, s, each (time, n), of the first sample."""
    arrays: dict[str, Any] = {}

    def put(array: Any) -> dict[str, str]:
        arrays[f"array{len(arrays)}"] = np.asarray(array)
        return {"array": f"array{len(arrays) - 1}"}

    told = [_told(network, rasters, put) for network, rasters in networks]
    np.savez(place / "cases.npz", cases=np.array(json.dumps(told)), **arrays)
    with ProcessGroup([lava_python(), LAVA_SIDE, place / "cases.npz", place / "results.npz"]) as group:
        assert group.wait(time.monotonic() + 600) == 0, group.tail()
    with np.load(place / "results.npz") as archive:
        return [{name: {key: archive[f"{number}/{name}/{key}"] for key in ("u", "v", "s")}
                 for name in network.populations} for number, (network, _) in enumerate(networks)]


def _told(network: IntegerNetwork, rasters: dict[str, Any], put: Any) -> dict[str, Any]:
    projections = []
    for each in network.projections:
        connection = each.connection
        told: dict[str, Any] = {name: getattr(each, name) for name in (
            "source", "target", "exponent", "weight_bits", "sign", "message_bits")}
        told["kind"] = type(connection).__name__.removeprefix("Integer").lower()
        told |= {name: getattr(connection, name) for name in (
            "input_shape", "output_shape", "stride", "padding", "dilation", "groups") if hasattr(connection, name)}
        told |= {name: put(getattr(connection, name)) for name in ("weight", "indptr", "indices")
                 if hasattr(connection, name)}
        if each.delay is not None:
            told["delay"] = put(each.delay)
        projections.append(told)
    return {
        "steps": next(iter(rasters.values())).shape[1], "inputs": dict(network.inputs), "projections": projections,
        "rasters": {name: put(raster[0].reshape(raster.shape[1], -1)) for name, raster in rasters.items()},
        "populations": {name: {"n": each.n, "du": each.du, "dv": each.dv, "threshold": each.threshold,
                               **{field: 0 if (array := getattr(each, field)) is None else put(array)
                                  for field in ("bias", "u0", "v0")},
                               "bias_exponent": each.bias_exponent} for name, each in network.populations.items()},
    }


def assert_as_lava(cases: Sequence[Case], place: Path, wanted: Set[str] = frozenset()) -> int:
    """Returns how many spikes there were. `wanted`: what the cases must show, as `facts_of` names it."""
    fired, shown = 0, set[str]()
    for number, ((network, rasters), lava) in enumerate(zip(cases, run_lava(cases, place), strict=True)):
        result = simulate_integer(network, rasters)
        differences = [f"{name}.{key}: first in column {int(np.argwhere(mine[0] != lava[name][key])[0][0])}"
                       for key, values in (("u", result.u), ("v", result.v), ("s", result.spikes))
                       for name, mine in values.items() if not np.array_equal(mine[0], lava[name][key])]
        assert differences == [], f"case {number}"
        fired += sum(int(each.sum()) for each in result.spikes.values())
        shown |= facts_of(network, result)
    assert wanted <= shown
    return fired


def facts_of(network: IntegerNetwork, result: IntegerResult) -> set[str]:
    """What a case shows: kinds of projections, what they are set to, and registers that overflow."""
    facts = set()
    for each in network.projections:
        kind, conv = type(each.connection).__name__.removeprefix("Integer").lower(), each.connection
        late = "no delay" if each.delay is None else "long delay" if each.delay.max(initial=0) > 4 else "delay"
        facts |= {f"{kind}, {each.sign}", f"{kind}, {late}", f"{kind}, exponent {np.sign(each.exponent)}",
                  f"{kind}, {'graded' if each.message_bits else 'flags'}",
                  f"{kind}, {'8' if each.weight_bits == 8 else 'fewer'} bits"}
        if isinstance(conv, IntegerConv):
            facts |= {f"conv, {name}" for name, plain in (("stride", (1, 1)), ("dilation", (1, 1)), ("padding", (0, 0)),
                                                          ("groups", 1)) if getattr(conv, name) != plain}
    largest = (1 << 23) - 1
    for name, v in result.v.items():
        u = result.u[name].astype(np.int64)
        jumps = np.abs(np.diff(u, axis=1))
        facts |= {fact for fact, found in (
            ("clipped below", -largest in v), ("wrapped", (jumps > largest).any()),  # what is clipped above fires
            ("wrapped once only", np.abs(u).max(initial=0) > largest + 1)) if found}
    return facts
