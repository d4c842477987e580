"""What both sides of a comparison are fed: events or rasters of every input, from a file, an array or a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.event_files import read_events
from ..ir.events import Events, check_room
from ..ir.nodes import Array
from ..ir.npz import read_array

__all__ = ["Random", "Stimulus", "make_stimulus", "parse_random", "read_raster", "sizes_of"]

Shapes = Mapping[str, tuple[int, ...]]
RATE, STEPS = 0.2, 100
_FORM = "an .npz of events, an .npy raster (batch, time, *shape), or random[:RATE[:STEPS]]"


@dataclass(frozen=True, slots=True)
class Random:
    """Random spikes on a grid: in each of `steps` columns every channel spikes with the probability `rate`."""

    rate: float = RATE
    steps: int = STEPS


@dataclass(slots=True)
class Stimulus:
    """Input by input node, either as `rasters` on the grid of `dt` or as `events`; the other form is made on demand.
    `shapes`: of one sample. `moved`: by how many seconds an event was moved onto a grid, at most, so far."""

    shapes: Shapes
    samples: int
    duration: float
    given_rasters: Mapping[str, Array] | None = None
    given_events: Mapping[str, Events] | None = None
    dt: float = 0.0
    moved: float = field(default=0.0, init=False)

    def events(self) -> dict[str, Events]:
        """As events.

        Raises:
            BadInputError: a raster holds something else than counts (SC104).
        """
        if self.given_events is None:
            self.given_events = {name: Events.from_dense(values, self.dt)
                                 for name, values in (self.given_rasters or {}).items()}
        return dict(self.given_events)

    def rasters(self, dt: float) -> dict[str, Array]:
        """As (batch, columns, *shape) on the grid of `dt`. Events move to the nearest column, those before it to the
        first; what comes after the last is left out.

        Raises:
            BadInputError: there are too many columns (SC562), or as `events`.
        """
        if self.given_rasters is not None and abs(self.dt - dt) <= 1e-9 * dt:
            return dict(self.given_rasters)
        columns = max(1, round(self.duration / dt))
        faults = Diagnostics()
        check_room("SC562", float(self.samples) * columns * sum(map(prod, self.shapes.values())), faults)
        faults.raise_if_errors()
        events = self.events()
        return {name: self._raster(events.get(name), shape, columns, dt) for name, shape in self.shapes.items()}

    def _raster(self, events: Events | None, shape: tuple[int, ...], columns: int, dt: float) -> Array:
        raster = np.zeros((self.samples, columns, prod(shape)))
        if events is not None and len(events):
            plain = events.numpy()
            column = np.maximum(np.rint(plain.times / dt).astype(np.int64) - 1, 0)
            self.moved = max(self.moved, float(np.abs((column + 1) * dt - plain.times).max()))
            sample = np.repeat(np.arange(plain.batch), np.diff(plain.offsets))
            inside = column < columns
            np.add.at(raster, (sample[inside], column[inside], plain.indices[inside]), 1.0)
        return raster.reshape(self.samples, columns, *shape)


def parse_random(text: str) -> Random | None:
    """`random[:RATE[:STEPS]]` as what it means; None where the text is something else.

    Raises:
        BadInputError: it starts so and goes on otherwise (SC562).
    """
    head, *rest = text.split(":")
    if head != "random":
        return None
    try:
        rate, steps = float(rest[0]) if rest else RATE, int(rest[1]) if len(rest) > 1 else STEPS
    except ValueError:
        rate, steps = -1.0, 0
    if len(rest) > 2 or not 0 <= rate <= 1 or steps < 1:
        raise BadInputError(Diagnostic(
            "SC562", "random data read random[:RATE[:STEPS]]", value=text,
            limit="RATE: spikes of a channel and step, 0 to 1; STEPS: a whole number >= 1",
            remedy="Write random:0.2:100, for example."))
    return Random(rate, steps)


def make_stimulus(data: Any, shapes: Shapes, dt: float | None, duration: float | None = None, samples: int = 4,
                  seed: int = 0) -> Stimulus:
    """The stimulus that `data` means for inputs of these `shapes`.

    `data`: `Random` or its spelling, the path of an `.npz` of events or of an `.npy` raster, `Events`, a raster
    (batch, time, *shape), or one of the latter two by input node. `dt`: seconds a column, of rasters and random data.
    `duration`: seconds; by default a raster's own, and up to the last event. `samples`, `seed`: of random data.

    Raises:
        BadInputError: of another form, or it does not fit the inputs (SC562, SC405 and those of `Events.checked`); of
            rasters, without `dt`; a file that cannot be read (SC523, SC524).
    """
    if isinstance(data, str) and (parsed := parse_random(data)) is not None:
        data = parsed
    if isinstance(data, Random):
        rasters = _random(data, shapes, samples, seed)
        return _of_rasters(rasters, shapes, dt, duration)
    if isinstance(data, str | Path):
        data = _read(Path(data), tuple(shapes))
    by_input = _by_input(data, tuple(shapes))
    if all(isinstance(each, Events) for each in by_input.values()):
        return _of_events(by_input, shapes, duration)
    return _of_rasters({name: _array(each, name) for name, each in by_input.items()}, shapes, dt, duration)


def sizes_of(data: Any, shapes: Shapes | None, dt: float | None, duration: float | None,
             samples: int) -> list[tuple[int, ...]] | None:
    """(batch, time, *shape) of each input that `data` would be fed to; None where they do not tell it. `shapes`: those
    of the inputs, where they are known. The rest as for `make_stimulus`, and its errors."""
    if shapes is not None and dt is not None:
        stimulus = make_stimulus(data, shapes, dt, duration, samples)
        columns = max(1, round(stimulus.duration / dt))
        return [(stimulus.samples, columns, *shape) for shape in shapes.values()]
    if isinstance(data, str) and parse_random(data) is not None:
        return None
    if isinstance(data, str | Path):
        if Path(data).suffix != ".npy":
            return None
        data = _read(Path(data), ())
    found = [np.shape(each.detach().cpu() if hasattr(each, "detach") else each)
             for each in (data.values() if isinstance(data, Mapping) else (data,)) if not isinstance(each, Events)]
    return found if found and all(len(size) > 2 for size in found) else None


def _random(data: Random, shapes: Shapes, samples: int, seed: int) -> dict[str, Array]:
    faults = Diagnostics()
    check_room("SC562", float(samples) * data.steps * sum(map(prod, shapes.values())), faults)
    faults.raise_if_errors()
    draw = np.random.default_rng(seed)
    return {name: (draw.random((samples, data.steps, *shape)) < data.rate).astype(np.float64)
            for name, shape in shapes.items()}


def _read(path: Path, names: Sequence[str]) -> Any:
    if path.suffix == ".npz":
        return read_events(path, names)
    if path.suffix != ".npy":
        raise BadInputError(Diagnostic("SC562", f"'{path}' is no data for a comparison", limit=_FORM))
    return read_raster(path)


def read_raster(path: Path) -> Array:
    """The array of an `.npy` file.

    Raises:
        BadInputError: it cannot be read, or holds no array of numbers (SC523).
    """
    try:
        with open(path, "rb") as stream:
            return read_array(stream, path.stat().st_size)
    except (OSError, ValueError, EOFError) as error:
        raise BadInputError(Diagnostic("SC523", f"'{path}' cannot be read: {error}",
                                       remedy="Write it with numpy.save, as an array of numbers.")) from error


def _by_input(data: Any, names: Sequence[str]) -> dict[str, Any]:
    """Data by input node. Names that are not those of the inputs are taken in order."""
    if not isinstance(data, Mapping):
        if len(names) != 1:
            raise BadInputError(Diagnostic("SC562", "there are several inputs, and data for one",
                                           limit=", ".join(names), remedy="Give the data by input node."))
        return {names[0]: data}
    if len(data) > len(names) or not (set(data) <= set(names) or len(data) == len(names)):
        raise BadInputError(Diagnostic("SC562", "the data name other inputs than the model",
                                       value=", ".join(map(str, data)), limit=", ".join(names)))
    return dict(data) if set(data) <= set(names) else dict(zip(names, data.values(), strict=True))


def _array(value: Any, name: str) -> Array:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "biuf":
        raise BadInputError(Diagnostic("SC562", "data are numbers", node=name, value=str(array.dtype), limit=_FORM))
    return array.astype(np.float64)


def _of_rasters(rasters: Mapping[str, Array], shapes: Shapes, dt: float | None, duration: float | None) -> Stimulus:
    faults = Diagnostics()
    if dt is None:
        faults.add("SC562", "the columns of the data are of no stated length", remedy="Give dt (--dt), in seconds.")
    whole: dict[str, Array] = {}
    for name, shape in shapes.items():
        given = rasters.get(name)
        if given is None:
            continue
        if given.ndim < 2 or prod(given.shape[2:]) != prod(shape):
            faults.add("SC562", "a raster is (batch, time, *shape) of its input", node=name, value=given.shape,
                       limit=f"(batch, time, {', '.join(map(str, shape))})")
        elif not np.isfinite(given).all():
            faults.add("SC104", "a raster holds finite values", node=name)
        else:
            whole[name] = given.reshape(*given.shape[:2], *shape)
    sizes = {each.shape[:2] for each in whole.values()}
    if len(sizes) > 1:
        faults.add("SC562", "rasters agree on batch and time", value=sorted(sizes))
    faults.raise_if_errors()
    batch, columns = sizes.pop()
    if not batch or not columns:
        faults.add("SC562", "there is nothing to compare on", value=f"{batch} samples of {columns} columns",
                   limit="at least one of each")
        faults.raise_if_errors()
    seconds = float(dt or 0.0)
    if duration is not None:
        columns = max(1, round(duration / seconds))
        whole = {name: _fitted(each, columns) for name, each in whole.items()}
    for name in shapes.keys() - whole.keys():
        whole[name] = np.zeros((batch, columns, *shapes[name]))
    return Stimulus(shapes, batch, columns * seconds, given_rasters={name: whole[name] for name in shapes}, dt=seconds)


def _fitted(raster: Array, columns: int) -> Array:
    """Cut, or gone on with silence."""
    silence = np.zeros((len(raster), max(0, columns - raster.shape[1]), *raster.shape[2:]))
    return np.concatenate([raster[:, :columns], silence], axis=1)


def _of_events(events: Mapping[str, Events], shapes: Shapes, duration: float | None) -> Stimulus:
    checked = {name: each.checked(prod(shapes[name]), name).numpy() for name, each in events.items()}
    batches = {each.batch for each in checked.values()}
    if len(batches) != 1:
        raise BadInputError(Diagnostic("SC562", "inputs differ in the number of samples", value=str(sorted(batches))))
    last = max((float(each.times.max(initial=0.0)) for each in checked.values()), default=0.0)
    return Stimulus(shapes, batches.pop(), last if duration is None else duration, given_events=checked)
