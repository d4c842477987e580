"""Training data: events with labels, cut into shuffled mini-batches."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.events import Events
from ..ir.nodes import Array
from .losses import label_faults, wanted_faults
from .optimizers import choice_name

__all__ = ["Order", "Samples", "Vary"]

Vary = Callable[[int, Array], "Events | Mapping[str, Events]"]
"""(epoch, numbers of samples) -> their events then."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """`events` by input node, or one batch of them for the only input; `labels` (samples, ...): class numbers, or
    wanted times. `vary`: gives the events of chosen samples as they are in an epoch, in the form of `events`, where
    they change; it must be a function of (epoch, sample) alone."""

    events: Events | Mapping[str, Events]
    labels: torch.Tensor
    vary: Vary | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, data: Any) -> Samples:
        """From `Samples`, a pair (events, labels), an object with these attributes (and `vary`, if it likes), or a data
        set in torch's sense whose items are ((times, indices), label).

        Raises:
            BadInputError: none of these, or the numbers of samples differ.
        """
        if isinstance(data, Samples):
            return data
        if isinstance(data, DataLoader):
            raise BadInputError(_form("DataLoader", "Give its data set, loader.dataset, with items ((times, indices), "
                                      "label): the trainer shuffles and makes the mini-batches itself (batch_size)."))
        if hasattr(data, "events") and hasattr(data, "labels"):
            events, labels = data.events, data.labels
        elif isinstance(data, tuple) and len(data) == 2:
            events, labels = data
        elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            events, labels = _collected(data)
        else:
            raise BadInputError(_form(type(data).__name__))
        streams = list(events.values()) if isinstance(events, Mapping) else [events]
        if not streams or not all(isinstance(stream, Events) for stream in streams):
            raise BadInputError(_form(" of ".join(type(each).__name__ for each in (data, events))))
        try:
            tensor = torch.as_tensor(np.asarray(labels) if isinstance(labels, list | tuple) else labels)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInputError(Diagnostic("SC506", "labels are no numbers", value=type(labels).__name__,
                                           remedy="Give class numbers, (samples,).")) from error
        if not tensor.ndim:
            raise BadInputError(Diagnostic("SC506", "labels have no axis of samples", value=str(tensor.item()),
                                           remedy="Give class numbers, (samples,)."))
        if not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
            tensor = tensor.to(torch.int64)
        faults = Diagnostics()
        for stream in streams:
            if stream.batch != len(tensor):
                faults.add("SC505", "events and labels differ in number",
                           value=f"{stream.batch} samples of events, {len(tensor)} labels",
                           remedy="Give one label for each sample.")
        faults.raise_if_errors()
        plain = ({name: stream.numpy() for name, stream in events.items()} if isinstance(events, Mapping)
                 else events.numpy())
        return cls(plain, tensor, getattr(data, "vary", None))

    def checked(self, channels: Mapping[str, int], classes: int | None, numbers: bool | None = None) -> Samples:
        """Itself, with events and labels checked once for all batches that are taken. `numbers`: whether labels are
        class numbers (True) or wanted times (False); None where that is not known.

        Raises:
            BadInputError: naming every fault of the events and labels.
        """
        faults = Diagnostics()
        for name, stream in self.streams(channels).items():
            try:
                stream.checked(channels[name], name)
            except BadInputError as error:
                faults.extend(error.diagnostics)
        if not len(self):
            faults.add("SC505", "there are no samples", value=0, remedy="Give one sample at least.")
        elif numbers is False:
            faults.extend(wanted_faults(self.labels))
        elif numbers or (not self.labels.is_floating_point() and self.labels.ndim == 1):
            faults.extend(label_faults(self.labels, len(self), classes))
        faults.raise_if_errors()
        return self

    def streams(self, channels: Mapping[str, int]) -> Mapping[str, Events]:
        """Events by input node."""
        if isinstance(self.events, Mapping):
            unknown = sorted(set(self.events) - set(channels))
            if unknown:
                raise BadInputError(Diagnostic("SC505", "events for inputs that the network has not",
                                               value=", ".join(unknown), limit=", ".join(channels)))
            return self.events
        if len(channels) != 1:
            raise BadInputError(Diagnostic("SC505", "the network has several inputs: give events by input node",
                                           limit=", ".join(channels)))
        return dict.fromkeys(channels, self.events)

    def take(self, chosen: Array, keep: Mapping[str, Array] | Array | None = None) -> tuple[Any, torch.Tensor]:
        """(events, labels) of the chosen samples, events in the form they were given in."""
        labels = self.labels.index_select(0, torch.from_numpy(np.asarray(chosen, dtype=np.int64)))
        if isinstance(self.events, Mapping):
            masks = keep if isinstance(keep, Mapping) else {}
            return {name: stream.take(chosen, masks.get(name)) for name, stream in self.events.items()}, labels
        return self.events.take(chosen, keep), labels

    def fingerprint(self) -> int:
        """A checksum of labels and events, to tell one data set from another."""
        streams = list(self.events.values()) if isinstance(self.events, Mapping) else [self.events]
        code = zlib.crc32(self.labels.numpy().tobytes())
        for stream in streams:
            for values in (stream.offsets, stream.times, stream.indices):
                code = zlib.crc32(np.ascontiguousarray(values).data, code)
        if self.vary is not None:
            code = zlib.crc32(choice_name(getattr(self.vary, "__self__", self.vary)).encode(), code)
        return code


class Order:
    """The shuffled mini-batches of one epoch, and which events it drops: a function of (seed, epoch) alone, so that an
    interrupted epoch goes on as if nothing had happened."""

    def __init__(self, data: Samples, batch_size: int, dropout: float, seed: int, epoch: int) -> None:
        draw = np.random.default_rng([seed, epoch])
        self._draw = seed, epoch
        self._dropout = dropout
        self._data = data
        self._size = batch_size
        self._order = draw.permutation(len(data))
        self._keep: Any = None
        if data.vary is not None:
            return
        if dropout > 0 and isinstance(data.events, Mapping):
            self._keep = {name: _kept(draw, stream, dropout) for name, stream in data.events.items()}
        elif dropout > 0:
            self._keep = _kept(draw, data.events, dropout)

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __getitem__(self, number: int) -> tuple[Any, torch.Tensor]:
        chosen = self._order[number * self._size : (number + 1) * self._size]
        if self._data.vary is None:
            return self._data.take(chosen, self._keep)
        varied = Samples.of((self._data.vary(self._draw[1], chosen), self._data.labels[torch.from_numpy(chosen)]))
        if self._dropout == 0:
            return varied.events, varied.labels
        draw = np.random.default_rng([*self._draw, number])
        keep = ({name: _kept(draw, stream, self._dropout) for name, stream in varied.events.items()}
                if isinstance(varied.events, Mapping) else _kept(draw, varied.events, self._dropout))
        return varied.take(np.arange(len(chosen)), keep)


def _kept(draw: np.random.Generator, stream: Any, dropout: float) -> Array:
    return draw.random(len(stream), dtype=np.float32) >= dropout


def _collected(data: Any) -> tuple[Events, Any]:
    samples, labels = [], []
    for number in range(len(data)):
        item = data[number]
        if not (isinstance(item, tuple | list) and len(item) == 2
                and isinstance(item[0], tuple | list) and len(item[0]) == 2):
            raise BadInputError(_form(f"item {number}: {type(item).__name__}"))
        samples.append(tuple(np.asarray(each) for each in item[0]))
        labels.append(np.asarray(item[1]))
    return Events.from_samples(samples), np.array(labels)  # type: ignore[arg-type]


def _form(found: str, remedy: str = "Encode rasters and values first, with spikec.encoders.") -> Diagnostic:
    return Diagnostic("SC505", "training data are a pair (Events, labels), or items ((times, indices), label)",
                      value=found, remedy=remedy)
