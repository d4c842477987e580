"""Networks of DPI neurons over a batch: the kernel of dpi.jinja, which does what `ir/analog/dpi_run.py` means."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Mapping
from dataclasses import fields

import networkx as nx
import numpy as np

from ...ir.analog.dpi import DpiNetwork, DpiPopulation, check_dpi
from ...ir.analog.dpi_run import checked_inputs
from ...ir.dormand_prince import ERROR, NODES, STAGES
from ...ir.events import Events
from ...ir.nodes import Array
from .. import jit
from ..threads import run_tasks

__all__ = ["dpi_source", "run_dpi"]

_PARAMETERS = tuple(each.name for each in fields(DpiPopulation))
_BLOCK = 16
"""Neurons of a task, where they hear nothing of each other."""
_FIRST_ROOM = 64
"""Spikes of a neuron in a sample that there is room for; where that is too little, the run is made once more."""
_FIELDS = (
    *(("int64_t", name, 0) for name in ("n", "n_sources", "capacity", "failed")),
    ("double", "duration", 0), ("double", "tolerance", 0),
    *(("const double *", name, 0) for name in (*_PARAMETERS, "outside", "inside", "arrivals")),
    ("const int32_t *", "columns", 0), ("const int64_t *", "offsets", 0), ("double *", "times", 0),
    ("int64_t *", "counts", 0))
_ARGS = jit.arguments_type(_FIELDS)


def dpi_source() -> str:
    """The text of the kernel."""
    return jit.render("dpi.jinja", fields=jit.structure(_FIELDS), block=_BLOCK, parameters=_PARAMETERS,
                      stages=STAGES, nodes=NODES, errors=ERROR)


@functools.cache
def _library() -> ctypes.CDLL:
    return jit.compile_c(dpi_source())


def run_dpi(network: DpiNetwork, inputs: Mapping[str, Events], duration: float, *,
            tolerance: float = 1e-8) -> dict[str, Events]:
    """Spikes of every population in (0, duration] seconds, as `simulate_dpi` has them but for `tolerance`; the same for
    any number of threads.

    Args:
        network: see `DpiNetwork`; each neuron has numbers of its own, so a chip's mismatch is in its arrays.
        inputs: spikes by input; those after the end are ignored, inputs without are silent.
        duration: seconds.
        tolerance: of the logarithm of a membrane current, a step of a neuron.

    Raises:
        BadInputError: the network, the events or a number is malformed (SC103, SC104, SC107, SC131, SC403, SC405).
        KernelError: the kernel cannot be built, or finds no memory (SC421 to SC423).
    """
    check_dpi(network)
    found = checked_inputs(network, inputs, duration, tolerance)
    batch = min((each.batch for each in found.values()), default=1)
    for names in _components(network):
        found |= _played(network, names, found, batch, duration, tolerance)
    return {name: found[name] for name in network.populations}


def _components(network: DpiNetwork) -> Iterator[tuple[str, ...]]:
    """Strongly connected populations, each after those that it hears."""
    view: nx.DiGraph[str] = nx.DiGraph()
    view.add_nodes_from(network.populations)
    view.add_edges_from((each.source, each.target) for each in network.projections
                        if each.source in network.populations)
    whole = nx.condensation(view)
    for number in nx.topological_sort(whole):
        yield tuple(sorted(whole.nodes[number]["members"], key=list(network.populations).index))


def _played(network: DpiNetwork, names: tuple[str, ...], heard: Mapping[str, Events], batch: int, duration: float,
            tolerance: float) -> dict[str, Events]:
    """Spikes of populations that hear only each other and what has been `heard`."""
    starts = dict(zip(names, np.cumsum([0, *(network.size(name) for name in names)]), strict=False))
    n = sum(network.size(name) for name in names)
    incoming = [each for each in network.projections if each.target in names]
    sources = list(dict.fromkeys(each.source for each in incoming if each.source in heard))
    begins = dict(zip(sources, np.cumsum([0, *(network.size(name) for name in sources)]), strict=False))
    outside = np.zeros((n, sum(network.size(name) for name in sources)))
    inside = np.zeros((n, n)) if any(each.source in names for each in incoming) else None
    for each in incoming:
        rows = slice(starts[each.target], starts[each.target] + network.size(each.target))
        matrix, first = (outside, begins[each.source]) if each.source in heard else (inside, starts[each.source])
        if matrix is not None:
            matrix[rows, first:first + network.size(each.source)] += each.weight
    arrivals, columns, offsets = _merged([(heard[name], int(begins[name])) for name in sources], batch, duration)
    held = {name: np.concatenate([np.asarray(getattr(network.populations[each], name), dtype=np.float64)
                                  for each in names]) for name in _PARAMETERS}
    held |= {"outside": outside, "arrivals": arrivals, "columns": columns, "offsets": offsets,
             "counts": np.zeros((batch, n), dtype=np.int64)} | ({"inside": inside} if inside is not None else {})
    tasks, room = batch * (1 if inside is not None else -(-n // _BLOCK)), _FIRST_ROOM
    while n and batch:
        held["times"] = np.empty((batch, n, room))
        held["counts"][:] = 0
        arguments = _ARGS(n=n, n_sources=outside.shape[1], capacity=room, duration=duration, tolerance=tolerance,
                          **{name: array.ctypes.data for name, array in held.items()})
        run_tasks(_library().play, arguments, tasks)
        most = int(held["counts"].max())
        if most <= room:
            break
        room = most
    return {name: _events(held, slice(starts[name], starts[name] + network.size(name))) for name in names}


def _merged(heard: list[tuple[Events, int]], batch: int, duration: float) -> tuple[Array, Array, Array]:
    """Times, columns and offsets of all that is heard, in the order of time within a sample."""
    times = np.concatenate([np.empty(0), *(each.times for each, _ in heard)])
    columns = np.concatenate([np.empty(0, np.int64), *(each.indices + first for each, first in heard)])
    samples = np.concatenate([np.empty(0, np.int64),
                              *(np.repeat(np.arange(batch), np.diff(each.offsets)) for each, _ in heard)])
    kept = times <= duration
    times, columns, samples = times[kept], columns[kept], samples[kept]
    order = np.lexsort((columns, times, samples))
    offsets = np.zeros(batch + 1, dtype=np.int64)
    np.cumsum(np.bincount(samples, minlength=batch), out=offsets[1:])
    return times[order], columns[order].astype(np.int32), offsets


def _events(held: Mapping[str, Array], neurons: slice) -> Events:
    counts = held["counts"][:, neurons]
    if not counts.size:
        return Events.from_samples([((), ())] * len(counts))
    times = held["times"][:, neurons]
    samples, indices, places = np.nonzero(np.arange(times.shape[-1]) < counts[..., None])
    found = times[samples, indices, places]
    order = np.lexsort((indices, found, samples))
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts.sum(1), out=offsets[1:])
    return Events(found[order], indices[order].astype(np.int64), offsets)
