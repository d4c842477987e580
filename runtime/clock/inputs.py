"""What a run on a grid is given: rasters or events, as signals over all columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.facts import is_number
from ...ir.graph import Discretization, Graph
from ...ir.nodes import Array
from ...ir.shapes import Shapes
from .engine import SPARSE, Signal
from .lists import SpikeLists, lists_of

__all__ = ["Given", "OnGrid", "columns_of", "given_by_name", "numbers_of", "placed_events", "rasters_of", "signals_of"]

_SLACK = 1e-6
"""Of a column, that rounding of times may come to."""
MOST_COLUMNS = 1 << 28
"""That one run may have: rows of 2 GiB for each sample. A mistaken unit asks for far more."""

_MOST_FLAGS = 1 << 28
"""Bytes that events may take up as a raster on the way."""


class OnGrid(Protocol):
    """A graph on a grid, and the shapes of its nodes."""

    @property
    def graph(self) -> Graph: ...

    @property
    def grid(self) -> Discretization: ...

    @property
    def shapes(self) -> Mapping[str, Shapes]: ...


Given = tuple[dict[str, Signal], int, int]
"""Signals by input node, number of columns, and of samples."""


def signals_of(engine: OnGrid, given: Any, duration: Any, dt: Any, dtype: torch.dtype,
               device: torch.device) -> Given:
    """The inputs of a run. `given`: Events, a (batch, time, *shape) array of spike counts or any values, or a dict of
    these by input node. An event at t is in the column n with n dt < t <= (n + 1) dt, one at 0 in the first.

    Raises:
        BadInputError: naming every fault: SC402 (no duration with Events), SC403 (dt is not that of the grid), SC404 to
            SC406.
    """
    by_name, steps, batch = given_by_name(engine, given, duration, dt)
    faults = Diagnostics()
    signals = {}
    for name, each in by_name.items():
        shape = engine.shapes[name].output
        if isinstance(each, Events):
            n = math.prod(shape)
            signals[name] = Signal(shape, found=_lists_of_events(
                each.checked(n), steps, batch, n, engine.grid.dt, device))
        else:
            signals[name] = _raster(name, each, shape, steps, dtype, device, faults)
    faults.raise_if_errors()
    return signals, steps, batch


def rasters_of(engine: OnGrid, given: Any, duration: Any, dtype: torch.dtype,
               device: torch.device) -> tuple[dict[str, Tensor], int]:
    """The inputs of a run as (columns, batch, n) by input node, and the number of samples. What is given as a tensor
    that is the same in every column, expanded over time, stays one column in memory. Arguments and errors as of
    `signals_of`."""
    by_name, steps, batch = given_by_name(engine, given, duration, None)
    if any(isinstance(each, Events) for each in by_name.values()):
        signals, steps, batch = signals_of(engine, given, duration, None, dtype, device)
        return {name: signal.dense(dtype, batch).reshape(steps, batch, -1) for name, signal in signals.items()}, batch
    faults = Diagnostics()
    found = {}
    for name, each in by_name.items():
        numbers = numbers_of(name, each, faults)
        if numbers is not None:
            raster = numbers.detach().to(device).reshape(batch, numbers.shape[1], -1)[:, :steps].transpose(0, 1)
            held = len(raster) > 1 and not raster.stride(0)
            raster = (raster[:1] if held else raster).to(dtype, memory_format=torch.contiguous_format)
            found[name] = raster.expand(min(steps, numbers.shape[1]), *raster.shape[1:]) if held else raster
            _check_finite(name, found[name].sum((1, 2)), faults)
            if len(found[name]) < steps:
                found[name] = torch.nn.functional.pad(found[name], (0, 0, 0, 0, 0, steps - len(found[name])))
    faults.raise_if_errors()
    return found, batch


def given_by_name(engine: OnGrid, given: Any, duration: Any, dt: Any) -> tuple[dict[str, Any], int, int]:
    """What is given, by input node, and the numbers of columns and of samples. Arguments and errors as of
    `signals_of`."""
    faults = Diagnostics()
    graph, grid = engine.graph, engine.grid
    if dt is not None and not (is_number(dt) and math.isclose(dt, grid.dt, rel_tol=1e-9)):
        faults.add("SC403", "dt is that of the graph's grid", value=repr(dt), limit=f"{grid.dt:g} s",
                   remedy="Leave dt out, or import the model with another dt.")
    by_name = dict(given) if isinstance(given, Mapping) else {graph.inputs[0]: given} if len(graph.inputs) == 1 else {}
    if not isinstance(given, Mapping) and len(graph.inputs) != 1:
        faults.add("SC405", "the network has several inputs", value=", ".join(graph.inputs),
                   remedy="Give the input as a dict by input node.")
    for name in by_name.keys() - set(graph.inputs):
        faults.add("SC405", "there is no such input", node=name, limit=", ".join(graph.inputs))
    wanted = _wanted_columns(duration, grid.dt, faults)
    found = {name: _form(engine, name, each, faults) for name, each in by_name.items() if name in graph.inputs}
    sizes = {size for size, _ in found.values() if size is not None}
    lengths = {length for _, length in found.values() if length is not None}
    if len(sizes) > 1:
        faults.add("SC405", "inputs have different numbers of samples", value=sorted(sizes))
    if wanted is None and not lengths and not faults.errors:
        faults.add("SC402", "events do not say how long a run on a grid lasts",
                   remedy="Give duration=… in seconds.")
    if wanted is None and len(lengths) > 1:
        faults.add("SC405", "rasters have different numbers of columns", value=sorted(lengths))
    faults.raise_if_errors()
    steps = wanted if wanted is not None else max(lengths)
    batch = sizes.pop() if sizes else 1
    return by_name, steps, batch


def _wanted_columns(duration: Any, dt: float, faults: Diagnostics) -> int | None:
    if duration is None:
        return None
    if not (is_number(duration) and 0 <= duration < math.inf):
        faults.add("SC406", "duration must be a finite, non-negative time in seconds", value=repr(duration))
        return 0
    columns = duration / dt
    if columns > MOST_COLUMNS:
        faults.add("SC406", "duration is more columns than one run may have", value=f"{duration:g} s of {dt:g} s each",
                   limit=f"{MOST_COLUMNS} columns", remedy="Check the units: both are seconds. Or go on with state=.")
        return 0
    return round(columns)


def columns_of(times: Any, dt: float) -> Any:
    """The column of each time: n with n dt < t <= (n + 1) dt, 0 for t = 0."""
    return np.maximum(np.ceil(np.asarray(times) / dt - _SLACK).astype(np.int64) - 1, 0)


def _form(engine: OnGrid, name: str, given: Any, faults: Diagnostics) -> tuple[int | None, int | None]:
    """(samples, columns) of one input."""
    if isinstance(given, Events):
        return given.batch, None
    shape = engine.shapes[name].output
    limit = "(" + ", ".join(["batch", "time", *map(str, shape)]) + ")"
    if not (hasattr(given, "shape") or isinstance(given, list | tuple)):
        faults.add("SC405", "an input of a run is Events or an array", node=name, value=type(given).__name__,
                   limit=f"Events, {limit}",
                   remedy="Read files first: numpy.load gives a raster, spikec.ir.event_files.read_events events.")
        return None, None
    layout = tuple(given.shape if hasattr(given, "shape") else np.shape(given))
    if len(layout) < 3 or layout[2:] not in (shape, (math.prod(shape),)):
        faults.add("SC405", "the raster's shape differs from the input's", node=name, value=layout, limit=limit)
        return None, None
    return int(layout[0]), int(layout[1])


def _raster(name: str, given: Any, shape: tuple[int, ...], steps: int, dtype: torch.dtype, device: torch.device,
            faults: Diagnostics) -> Signal:
    """A raster as a signal: lists where it is sparse, and else a tensor (time, batch, *shape)."""
    n = math.prod(shape)
    numbers = numbers_of(name, given, faults)
    if numbers is None:
        return Signal(shape)
    raster = numbers.to(device)
    if raster.dtype not in (torch.float32, torch.float64, torch.uint8) or (raster.dtype.is_floating_point and (
            raster.dtype != dtype)):
        raster = raster.to(dtype) if raster.dtype is not torch.bool else raster.view(torch.uint8)
    raster = raster.reshape(*raster.shape[:2], n)[:, :steps]
    if raster.shape[1] < steps:
        raster = torch.nn.functional.pad(raster, (0, 0, 0, steps - raster.shape[1]))
    if raster.requires_grad:
        _check_finite(name, raster.detach(), faults)
    else:
        lists = lists_of(raster if raster.stride(2) == 1 else raster.contiguous(), time_first=False, flags=False)
        values = lists.values
        same = values is None or bool((values == 1).all())
        if values is not None and not same:
            _check_finite(name, values, faults)
        if lists.entries <= SPARSE * max(1, raster.numel()):
            values = None if same or values is None else values.to(dtype)
            return Signal(shape, found=replace(lists, values=values))
    return Signal(shape, tensor=raster.to(dtype).transpose(0, 1).reshape(steps, len(raster), *shape))


def numbers_of(name: str, given: Any, faults: Diagnostics) -> Tensor | None:
    """What is given as a plain tensor of real numbers, or None where it is none."""
    if isinstance(given, Tensor):
        if given.layout is torch.strided and not given.is_meta and not given.is_complex():
            return given
        faults.add("SC405", "a raster holds numbers", node=name,
                   value=f"{given.dtype}, layout {given.layout}, device {given.device}",
                   remedy="Give a plain tensor of real numbers: x.to_dense(), or x.real.")
        return None
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        faults.add("SC405", "a raster holds numbers", node=name, value=array.dtype)
        return None
    native = np.float64 if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    array = np.ascontiguousarray(array, dtype=native)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _check_finite(name: str, values: Tensor, faults: Diagnostics) -> None:
    if not bool(torch.isfinite(values).all()):
        faults.add("SC405", "a raster holds finite values", node=name, value="NaN or inf")


def placed_events(events: Events, steps: int, dt: float) -> tuple[Array, Array, Array]:
    """Column, sample and channel of each event in the first `steps` columns."""
    times, indices, offsets = (each.detach().cpu().numpy() if isinstance(each, Tensor) else np.asarray(each)
                               for each in (events.times, events.indices, events.offsets))
    column = columns_of(times, dt)
    sample = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    kept = column < steps
    return column[kept], sample[kept], indices[kept]


def _lists_of_events(events: Events, steps: int, batch: int, n: int, dt: float, device: torch.device) -> SpikeLists:
    """Rows of events. Where no channel has several in a column they are the lists of the raster, bit for bit; else each
    stands in the order of the events, and is listed as often."""
    column, sample, indices = placed_events(events, steps, dt)
    if steps * batch * n <= _MOST_FLAGS:
        flags = np.zeros((steps, batch, n), dtype=np.uint8)
        flags[column, sample, indices] = 1
        if np.count_nonzero(flags) == len(indices):
            return lists_of(torch.from_numpy(flags).to(device), time_first=True, flags=True)
    # Times ascend within a sample, so samples by columns are runs, and each only has to be put in its place.
    run = sample * steps + column
    lengths = np.bincount(run, minlength=batch * steps)
    begins = np.concatenate([[0], np.cumsum(lengths)])
    rank = np.arange(len(run)) - begins[run]
    rows = np.concatenate([[0], np.cumsum(lengths.reshape(batch, steps).T.reshape(-1))])
    placed = np.empty(len(run), dtype=np.int32)
    placed[rows[column * batch + sample] + rank] = indices
    bounds = torch.from_numpy(rows.astype(np.int64)).to(device)
    return SpikeLists(bounds[:-1], bounds[1:], torch.from_numpy(placed).to(device), None, n, len(placed))
