"""ANN to SNN conversion: a trained network of rectifiers becomes a spiking one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

import numpy as np

from ..ir.activations import refuse_spikes, samples_of, walk
from ..ir.checks import verify
from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning
from ..ir.facts import check_dt, is_number, is_whole
from ..ir.graph import Graph
from ..ir.nodes import Array
from ..passes.calibration import activation_scales
from ..passes.convert_ann import ConvertToRates, RectifyOutputs
from ..passes.convert_ann_latency import ConvertToLatencies
from ..passes.fold import Fold
from ..passes.latency_plan import LATE, plan_latencies
from ..passes.manager import Pass, PassManager
from ..passes.mark_parameters import MarkParameters, UnmarkParameters
from ..passes.maxima import MaximaAsRectifiers
from ..passes.remove_identity import RemoveIdentity
from .ann_conversion import Conversion, measured
from .ann_latencies import LatencyConversion
from .ann_rates import Encoding, RateConversion
from .frontends.builder import Builder

__all__ = ["convert_ann"]

Range = tuple[float, float]
RESOLVED = 1e-3
"""Of a layer's scale: the error of latencies from which on it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    code: Any
    steps: Any
    dt: Any
    neuron: Any
    tau: Any
    percentile: Any
    per: Any
    normalise: Any
    initial: Any
    spikes: Any
    encoding: Any
    readout: Any
    input_range: Any
    unit: Any
    check: Any
    seed: Any


_CHOICES: dict[str, tuple[str, ...]] = {
    "code": ("rate", "latency"), "neuron": ("if", "lif"), "per": ("layer", "channel"),
    "normalise": ("weights", "thresholds"), "spikes": ("one", "many"), "encoding": ("current", "regular", "poisson"),
    "readout": ("membrane", "spikes"),
}
_OF_RATES = {"neuron": "if", "spikes": "one", "encoding": "current", "normalise": "weights", "tau": None}


def convert_ann(
    graph: Graph | Builder,
    data: Any | Mapping[str, Any],
    *,
    code: Literal["rate", "latency"] = "rate",
    steps: int = 64,
    dt: float = 1e-3,
    neuron: Literal["if", "lif"] = "if",
    tau: float | None = None,
    percentile: float = 99.9,
    per: Literal["layer", "channel"] = "channel",
    normalise: Literal["weights", "thresholds"] = "weights",
    initial: float = 0.5,
    spikes: Literal["one", "many"] = "one",
    encoding: Encoding = "current",
    readout: Literal["membrane", "spikes"] = "membrane",
    input_range: Range | Mapping[str, Range] | None = None,
    unit: float = 1e-3,
    check: int = 32,
    seed: int = 0,
) -> Conversion:
    """Converts a trained network of rectifiers (`Relu` nodes, from ONNX or torch) into a spiking one.

    BatchNorm is folded, and a maximum becomes rectifiers (max(a, b) = b + relu(a - b)). Then every rectifier becomes a
    layer of neurons, and how far each is from its activations is measured (`Conversion.errors`).

    Args:
        graph: a network without neurons.
        data: some hundred samples to calibrate with, (samples, *shape), or by input node.
        code: `rate`: an activation is the number of spikes in `steps` steps of `dt` seconds, for the target clock.
            `latency`: the time of one spike, for the target event, exact in continuous time; `unit` seconds stand for
            1.
        neuron: of rates: IF, or LIF with the time constant `tau` (seconds). Latencies take IF, which does not leak.
        percentile, per: the positive activation that stands for one spike a step, of each layer or channel.
        normalise: whether that is put into the weights, with thresholds of 1, or is the threshold.
        initial: membrane at the start, in thresholds.
        spikes: `many`: neurons of rates may fire several times a step.
        encoding: of the input, of rates: a constant `current`, or spikes, `regular` or `poisson`.
        readout: `membrane`: a readout adds up what arrives at an output. `spikes`: neurons show an output.
        input_range: least and largest value of the inputs; without it those of `data`. Not needed for currents.
        check: how many samples the errors are measured on.
        seed: of random spikes.

    Raises:
        BadInputError: the graph (SC232, SC101 to SC117), the data (SC403) or options (SC311) are wrong.
        UnsupportedError: parts of the network cannot become spikes (SC310), all of them named.
    """
    options = _Options(
        code=code, steps=steps, dt=dt, neuron=neuron, tau=tau, percentile=percentile, per=per, normalise=normalise,
        initial=initial, spikes=spikes, encoding=encoding, readout=readout, input_range=input_range, unit=unit,
        check=check, seed=seed)
    _check(options)
    if isinstance(graph, Builder):
        graph = graph.build()
    if not isinstance(graph, Graph):
        raise BadInputError(Diagnostic("SC232", "convert_ann takes a Graph", value=type(graph).__name__,
                                       remedy="Make one with spikec.from_onnx, spikec.from_torch or spikec.Builder."))
    refuse_spikes(verify(graph))
    given = samples_of(graph, data)
    faults = Diagnostics()
    ranges = {name: _range(name, values, options, faults) for name, values in given.items()}
    faults.raise_if_errors()
    shown: tuple[Pass[Any, Any], ...] = (RectifyOutputs(),) if readout == "spikes" else ()
    prepared = _through(graph, MaximaAsRectifiers(), *shown, folds=True)
    scales, silent = activation_scales(prepared, given, percentile, per)
    for name in silent:
        faults.add("SC312", "no neuron of this layer is active on the data", node=name, severity="warning",
                   remedy="Calibrate with data like those that the network is for.")
    make = _rates if code == "rate" else _latencies
    conversion = make(graph, prepared, scales, ranges, options, faults)
    looked_at = {name: values[:check] for name, values in given.items()}
    conversion = replace(conversion, errors=measured(conversion, prepared, looked_at))
    if readout == "spikes":
        _tell_negative(graph, looked_at, faults)
    for found in faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=2)
    return conversion


def _rates(graph: Graph, prepared: Graph, scales: dict[str, Array], ranges: dict[str, Range], options: _Options,
           faults: Diagnostics) -> Conversion:
    if options.encoding != "current":
        scales = {**scales, **{name: np.asarray(high) for name, (_, high) in ranges.items()}}
    converted = _through(prepared, ConvertToRates(
        scales=scales, dt=options.dt, tau=options.tau, normalise=options.normalise, initial=options.initial,
        spikes=options.spikes, readout=options.readout), folds=True)
    return RateConversion(source=graph, graph=converted, scales=scales, steps=options.steps, encoding=options.encoding,
                          seed=options.seed)


def _latencies(graph: Graph, prepared: Graph, scales: dict[str, Array], ranges: dict[str, Range], options: _Options,
               faults: Diagnostics) -> Conversion:
    step = ConvertToLatencies(windows=plan_latencies(prepared, ranges), unit=options.unit, readout=options.readout)
    converted = _through(prepared, step)
    for name, scale in scales.items():
        error = LATE * (step.windows[name].end - step.windows[name].start) / float(np.min(scale))
        if error > RESOLVED:
            faults.add("SC312", "what this layer may reach is so far above what it does that its times are told apart "
                       "badly", node=name, value=f"an error of {error:.2g} of its scale", limit=RESOLVED,
                       severity="warning", remedy="Take code='rate' for networks as deep as this.")
    tops = {name: np.asarray(step.windows[name].end - step.windows[name].start) for name in scales}
    return LatencyConversion(source=graph, graph=converted, scales=tops, windows=step.windows, unit=options.unit,
                             duration=step.duration)


def _through(graph: Graph, *passes: Pass[Any, Any], folds: bool = False) -> Graph:
    folding: tuple[Pass[Any, Any], ...] = (MarkParameters(), RemoveIdentity(), Fold(), UnmarkParameters())
    result: Graph = PassManager((*passes, *(folding if folds else ()))).run(graph)
    return result


def _range(name: str, values: Array, options: _Options, faults: Diagnostics) -> Range:
    """Of one input, as stated or as the data say."""
    stated = options.input_range
    if isinstance(stated, Mapping):
        stated = stated.get(name)
    low, high = (min(float(values.min()), 0.0), float(values.max())) if stated is None else stated
    if options.code == "rate" and options.encoding != "current" and (low < 0 or high <= 0):
        faults.add("SC311", "values below zero cannot be rates of spikes", node=name, value=f"{low:g}..{high:g}",
                   remedy="Take encoding='current', or shift the input.")
    if options.code == "latency" and low >= high:
        faults.add("SC311", "all values of the input are the same", node=name, value=low,
                   remedy="State the range as input_range=(least, largest).")
    return low, high


def _tell_negative(graph: Graph, data: Mapping[str, Array], faults: Diagnostics) -> None:
    for name, values in walk(graph, data):
        if name in graph.outputs:
            dark = float((values.reshape(len(values), -1) <= 0).all(axis=1).mean())
            if dark:
                faults.add("SC312", "spikes cannot show what is below zero: samples have no positive value here",
                           node=name, value=f"{100 * dark:.1f} % of samples", severity="warning",
                           remedy="Take readout='membrane'.")


def _check(options: _Options) -> None:
    faults = Diagnostics()
    for name, choices in _CHOICES.items():
        if getattr(options, name) not in choices:
            faults.add("SC311", f"there is no such {name}", value=repr(getattr(options, name)),
                       limit=", ".join(choices))
    for name, low, high, whole in (
        ("steps", 1, inf, True), ("check", 1, inf, True), ("seed", 0, 2**63, True), ("percentile", 1, 100, False),
        ("initial", 0, 0.999, False), ("unit", 0, inf, False),
    ):
        value = getattr(options, name)
        legal = is_whole(value) if whole else is_number(value)
        positive = name != "unit" or (legal and value > 0)
        if not (legal and positive and low <= value <= high and value < inf):
            kind = "a whole number" if whole else "a number"
            faults.add("SC311", f"{name} is out of range", value=repr(value),
                       limit=f"{kind}, {'>' if name == 'unit' else '>='} {low}"
                             + (f", <= {high:g}" if high < inf else ""))
    check_dt(options.dt, "SC311", faults)
    if options.tau is not None and not (is_number(options.tau) and 0 < options.tau < inf):
        faults.add("SC311", "tau is a time constant", value=repr(options.tau), limit="> 0 s")
    if (options.neuron == "lif") != (options.tau is not None):
        faults.add("SC311", "LIF neurons need tau, and IF neurons have none", value=f"neuron={options.neuron!r}, "
                   f"tau={options.tau!r}", remedy="Give tau in seconds, long against dt, together with neuron='lif'.")
    _check_range(options.input_range, faults)
    if options.code == "latency":
        for name, default in _OF_RATES.items():
            if getattr(options, name) != default:
                faults.add("SC311", f"{name} is an option of rates", value=repr(getattr(options, name)),
                           remedy="Leave it out: with latencies, neurons that do not leak spike once.")
    faults.raise_if_errors()


def _check_range(stated: Any, faults: Diagnostics) -> None:
    for each in stated.values() if isinstance(stated, Mapping) else () if stated is None else (stated,):
        if not (isinstance(each, tuple | list) and len(each) == 2 and all(map(is_number, each))
                and -inf < each[0] < each[1] < inf):
            faults.add("SC311", "input_range is (least, largest), or a dict of these by input", value=repr(each))
