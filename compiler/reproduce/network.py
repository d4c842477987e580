"""The network of a result: layers with what feeds them, weights drawn from the seed of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from math import prod, sqrt
from typing import Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graph import Graph
from ..frontends.builder import Builder, Handle
from .reader import CODE, Reader

__all__ = ["Draw", "Layer", "NetworkChoice", "built", "read_network"]

_MOST = 1 << 20
"""Neurons of a layer, and other sizes."""
_MOST_WEIGHTS = 1 << 27
"""Of a network, delays of its sources among them: a GiB in float64."""
_NEURONS = ("lif", "if_", "cubalif", "qif", "theta", "li", "cubali", "integrator")
_POOLS = {"sum": Builder.sum_pool2d, "mean": Builder.avg_pool2d}


@dataclass(frozen=True, slots=True)
class Draw:
    """`normal` with mean `low` and standard deviation `high`, or `uniform` over low..high; `by_inputs`: divided by the
    root of the number of inputs of a neuron."""

    kind: str
    low: float
    high: float
    by_inputs: bool = False

    def of(self, shape: tuple[int, ...], inputs: int, seed: int) -> Any:
        draw = np.random.default_rng(seed)
        drawn = (draw.normal if self.kind == "normal" else draw.uniform)(self.low, self.high, shape)
        return drawn / sqrt(inputs) if self.by_inputs else drawn


@dataclass(frozen=True, slots=True)
class Layer:
    """Neurons of a `kind` and what feeds them from the layer before: a dense matrix onto `size` neurons, or one for
    each of the `taps`, which are delays of the sources; or a convolution, `channels` with a `kernel`. `recurrent`:
    weights from the layer to itself, through delays of its neurons. `pool`: what its spikes are summed over."""

    name: str
    kind: str
    parameters: Mapping[str, Any]
    weight: Draw
    size: int | None
    channels: int | None
    kernel: int
    stride: int
    padding: int
    bias: float | None
    taps: tuple[tuple[float, float], ...]
    recurrent: tuple[Draw, tuple[float, float]] | None
    pool: int | None
    pooling: str


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """`shape` of an input sample, None for the channels of the data in a row."""

    shape: tuple[int, ...] | None
    layers: tuple[Layer, ...]

    @property
    def form(self) -> str:
        """In short, as 784-15C5-P2-300-10."""
        parts = []
        for layer in self.layers:
            parts.append(f"{layer.size}{'R' if layer.recurrent else ''}" if layer.channels is None
                         else f"{layer.channels}C{layer.kernel}")
            parts += [] if layer.pool is None else [f"P{layer.pool}"]
        return "-".join(parts)


def read_network(table: Reader | None) -> NetworkChoice | None:
    """`[network]`, with `[[network.layers]]`."""
    if table is None:
        return None
    shape = table.wholes("shape", 1, _MOST) if "shape" in table else None
    layers = tuple(_layer(each) for each in table.tables("layers"))
    taken = [layer.name for layer in layers]
    for name in sorted({name for name in taken if taken.count(name) > 1 or name == "in"}):
        table.fault("layers have names of their own, and 'in' is the input", "layers", name)
    table.end()
    return NetworkChoice(shape, layers)


def _layer(table: Reader) -> Layer:
    kinds = tuple(kind.rstrip("_") for kind in _NEURONS)
    kind = table.text("kind", known=kinds)
    own = table.table("parameters", needed=False)
    known = dict(list(inspect.signature(_method(kind)).parameters.items())[3:]) if kind else {}
    parameters = {} if own is None or not kind else own.numbers_by_name(known)
    for name in [each for each, of in known.items() if of.default is of.empty and (own is None or each not in own)]:
        table.fault(f"a neuron of the kind {kind} needs this entry", f"parameters.{name}")
    channels = table.whole("channels", 1, _MOST) if "channels" in table else None
    size = table.whole("size", 1, _MOST) if channels is None else None
    recurrent = table.table("recurrent", needed=False)
    looped = None
    if recurrent is not None:
        looped = _draw(recurrent, "weight"), _span(recurrent, "delay", recurrent.raw("delay"))
        recurrent.end()
    taps = table.raw("taps")
    if taps is not None and not (isinstance(taps, list) and taps):
        table.fault("these are pairs of seconds, the least and the longest delay of each tap", "taps", taps)
        taps = None
    found = Layer(
        table.text("name"), kind, parameters, _draw(table, "weight"), size, channels,
        table.whole("kernel", 1, 1000) if channels is not None else 1,
        table.whole("stride", 1, 1000, absent=1) if channels is not None else 1,
        table.whole("padding", 0, 1000, absent=0) if channels is not None else 0,
        table.maybe("bias", -1e9, 1e9), tuple(_span(table, "taps", each) for each in taps or ()), looped,
        table.whole("pool", 2, 1000) if "pool" in table else None,
        table.text("pooling", absent="sum", known=tuple(_POOLS)))
    if channels is not None and (found.taps or looped):
        table.fault("a convolution has no taps and is not recurrent", "channels", channels)
    table.end()
    return found


def _draw(table: Reader, name: str) -> Draw:
    inner = table.table(name)
    nothing = Draw("normal", 0.0, 0.0)
    if inner is None:
        return nothing
    kind = next((each for each in ("normal", "uniform") if each in inner), "normal")
    pair = inner.raw(kind)
    by_inputs = inner.flag("by_inputs", absent=False)
    inner.end()
    if not _pair(pair, -1e9, 1e9) or (pair[1] < (0 if kind == "normal" else pair[0])):
        inner.fault("weights are drawn: normal = [mean, deviation] or uniform = [low, high]", kind, pair)
        return nothing
    return Draw(kind, float(pair[0]), float(pair[1]), by_inputs)


def _span(table: Reader, name: str, given: Any) -> tuple[float, float]:
    if not _pair(given, 0, 1e3) or given[1] < given[0]:
        table.fault("this is [least, longest] in seconds", name, given, "0..1000 s")
        return 0.0, 0.0
    return float(given[0]), float(given[1])


def _pair(given: Any, low: float, high: float) -> bool:
    return (isinstance(given, list) and len(given) == 2
            and all(isinstance(each, int | float) and not isinstance(each, bool) and low <= each <= high
                    for each in given))


def _method(kind: str) -> Callable[..., Handle]:
    found: Callable[..., Handle] = getattr(Builder, kind if hasattr(Builder, kind) else f"{kind}_")
    return found


class _Draws:
    """What is drawn for one network, each of its arrays from the next number."""

    def __init__(self, first: int) -> None:
        self._numbers, self._drawn = count(first), 0

    def of(self, draw: Draw, name: str, shape: tuple[int, ...], inputs: int) -> Any:
        """An array of the node `name`.

        Raises:
            BadInputError: all of them together are too many (SC580).
        """
        self._drawn += prod(shape)
        if self._drawn > _MOST_WEIGHTS:
            raise BadInputError(Diagnostic(CODE, "these are too many weights for one network", node=name,
                                           value=f"{self._drawn} with those before", limit=f"<= {_MOST_WEIGHTS}"))
        return draw.of(shape, inputs, next(self._numbers))


def built(network: NetworkChoice, channels: int, seed: int) -> Graph:
    """The graph, its weights and delays drawn from `seed`: of D draws in all the i-th, from 1, of `D * seed + i`."""
    draws = sum(max(len(layer.taps), 1) + sum(span[1] > 0 for span in layer.taps) + 2 * (layer.recurrent is not None)
                for layer in network.layers)
    numbers = _Draws(draws * seed + 1)
    net = Builder()
    source = net.input("in", (channels,) if network.shape is None else network.shape)
    for layer in network.layers:
        source = _laid(net, source, layer, numbers)
    net.output("out", source)
    return net.build()


def _laid(net: Builder, source: Handle, layer: Layer, numbers: _Draws) -> Handle:
    """One layer after `source`; what its spikes become."""
    if layer.channels is not None:
        shape = (layer.channels, source.shape[0], layer.kernel, layer.kernel)
        weight = numbers.of(layer.weight, f"to_{layer.name}", shape, prod(shape[1:]))
        fed = [net.conv2d(f"to_{layer.name}", source, weight=weight,
                          bias=layer.bias, stride=layer.stride, padding=layer.padding)]
        cells: tuple[int, ...] = fed[0].shape
    else:
        if len(source.shape) > 1:
            source = net.flatten(f"flat_{layer.name}", source)
        cells = (int(layer.size or 1),)
        fed = [_dense(net, f"to_{layer.name}" + (f"_{number}" if number else ""), source, cells[0], layer.weight, span,
                      numbers, layer.bias if number == 0 else None, max(len(layer.taps), 1))
               for number, span in enumerate(layer.taps or ((0.0, 0.0),))]
    neurons = _method(layer.kind)(net, layer.name, cells, **layer.parameters)
    for each in fed:
        net.connect(each, neurons)
    if layer.recurrent is not None:
        again, span = layer.recurrent
        net.connect(_dense(net, f"{layer.name}_again", neurons, cells[0], again, span, numbers, None, 1), neurons)
    if layer.pool is None:
        return neurons
    return _POOLS[layer.pooling](net, f"{layer.name}_pool", neurons, layer.pool)


def _dense(net: Builder, name: str, source: Handle, size: int, weight: Draw, span: tuple[float, float],
           numbers: _Draws, bias: float | None, taps: int) -> Handle:
    """A matrix, behind delays of its sources where `span` has any."""
    inputs = source.shape[0]
    if span[1] > 0:
        source = net.delay(f"{name}_delay", source, numbers.of(Draw("uniform", *span), name, source.shape, 1))
    return net.linear(name, source, weight=numbers.of(weight, name, (size, inputs), taps * inputs), n_out=size,
                      bias=bias)
