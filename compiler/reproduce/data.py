"""The data of a result: a data set in its published split, and how it becomes events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.events import Events
from ...runtime import datasets, encoders, spectrograms
from ...runtime.datasets import Split
from .reader import Reader

__all__ = ["IMAGES", "DataChoice", "Labelled", "Parts", "encoded", "loaded", "read_data"]

Labelled = tuple[Events, np.ndarray[Any, np.dtype[np.int64]]]
_QUICK = 400
"""Samples of each part in a trial run."""


@dataclass(frozen=True, slots=True)
class Known:
    """A data set: how it is loaded, its `channels`, and its `encoders`, the usual one first."""

    load: Callable[[], datasets.Dataset]
    channels: int
    encoders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encoding:
    """What makes events of values that reach `peak`, and the `[low, high]` of each of its options, None for one that
    may be left out."""

    make: Callable[[Any, float, Mapping[str, float]], Events]
    options: Mapping[str, tuple[float, float]]
    needed: tuple[str, ...]
    more: int = 0
    """Channels beside those of the data."""


_TIME = (0.0, 1e3)
BANDS, COLUMNS = 40, 80
"""Of the spectrograms of spoken digits, whose longest last 0.8 s when the silence around them is cut off."""
_OFFICIAL, _HELD_OUT = 5, 10
"""Takes below the first are the official test part of the Free Spoken Digit Dataset; those below the second
validate."""


def spoken_digits() -> datasets.Dataset:
    """The Free Spoken Digit Dataset as (samples, columns, bands) levels of a mel spectrogram, in its official split.

    Raises:
        BadInputError: not present (SC540), or damaged.
    """
    told = datasets.load_fsdd()
    filters = spectrograms.mel_filters(BANDS, told.rate)
    found = np.stack([spectrograms.levels(told.audio[begin:end], told.rate, filters, COLUMNS)
                      for begin, end in pairwise(told.offsets)])
    test, held_out = told.index < _OFFICIAL, (told.index >= _OFFICIAL) & (told.index < _HELD_OUT)
    parts = (Split(found[rows], told.labels[rows]) for rows in (~test & ~held_out, held_out, test))
    return datasets.Dataset("fsdd", 10, 1.0, *parts)


KNOWN: dict[str, Known] = {
    "mnist": Known(datasets.load_mnist, 784, ("latency", "regular", "at-once")),
    "digits": Known(datasets.load_digits, 64, ("latency", "regular", "at-once")),
    "yin-yang": Known(datasets.load_yin_yang, 4, ("yin-yang",)),
    "fsdd": Known(spoken_digits, BANDS, ("integrated",)),
}
IMAGES = ("mnist", "digits")
ENCODINGS: dict[str, Encoding] = {
    "latency": Encoding(
        lambda values, peak, of: encoders.latency(values, of["t_max"], threshold=of.get("threshold", 0.0),
                                                  t_min=of.get("t_min", 0.0), v_max=peak),
        {"t_max": _TIME, "threshold": (-1e9, 1e9), "t_min": _TIME}, ("t_max",)),
    "at-once": Encoding(
        lambda values, peak, of: encoders.at_once(values, of["time"], threshold=of["threshold"]),
        {"time": _TIME, "threshold": (-1e9, 1e9)}, ("time", "threshold")),
    "regular": Encoding(
        lambda values, peak, of: encoders.regular(np.asarray(values, np.float64) * (of["rate"] / peak), of["t_max"]),
        {"t_max": _TIME, "rate": (0.0, 1e6)}, ("t_max", "rate")),
    "integrated": Encoding(lambda values, peak, of: spectrograms.integrated(values, of["rate"]), {"rate": (0.0, 1e6)},
                           ("rate",)),
    "yin-yang": Encoding(lambda values, peak, of: encoders.yin_yang(values, t_max=of["t_max"]),
                         {"t_max": _TIME}, ("t_max",), more=1),
}


@dataclass(frozen=True, slots=True)
class DataChoice:
    """`channels` of its events; `whole`: the training part has the samples that else validate; `encoder`: None where
    values are held as currents."""

    name: str
    encoder: str | None
    options: Mapping[str, float]
    whole: bool
    channels: int


@dataclass(frozen=True, slots=True)
class Parts:
    """`validation` is None where its samples are trained on."""

    train: Split
    validation: Split | None
    test: Split
    peak: float


def read_data(table: Reader | None, held: bool) -> DataChoice | None:
    """`[data]`; `held`: values are currents, and there is no encoder."""
    if table is None:
        return None
    name = table.text("set", known=tuple(KNOWN))
    known = KNOWN.get(name)
    whole = table.text("train", absent="train", known=("train", "train+validation")) != "train"
    if known is None:  # what else the table may have depends on the data set
        return None
    if held:
        table.end()
        return DataChoice(name, None, {}, whole, known.channels)
    encoder = table.text("encoder", known=known.encoders)
    if encoder not in ENCODINGS:
        return DataChoice(name, None, {}, whole, known.channels)
    encoding = ENCODINGS[encoder]
    options = {option: table.number(option, *span, open_low=span[0] == 0 and option in encoding.needed)
               for option, span in encoding.options.items() if option in table or option in encoding.needed}
    if options.get("t_min", 0.0) > options.get("t_max", 0.0):
        table.fault("t_min lies after t_max", "t_min", options["t_min"], f"<= {options['t_max']:g} s")
    table.end()
    return DataChoice(name, encoder, options, whole, known.channels + encoding.more)


def loaded(choice: DataChoice, quick: bool) -> Parts:
    """The split; `quick`: the first few hundred samples of each part.

    Raises:
        BadInputError: the data set is not present (SC540), or damaged.
    """
    data = KNOWN[choice.name].load()
    train, validation, test = data.train, data.validation, data.test
    if choice.whole:
        train = Split(np.concatenate([train.inputs, validation.inputs]),
                      np.concatenate([train.labels, validation.labels]))
    if quick:
        train, validation, test = (part[:_QUICK] for part in (train, validation, test))
    return Parts(train, None if choice.whole else validation, test, data.peak)


def encoded(choice: DataChoice, part: Split, peak: float) -> Labelled:
    """(events, labels).

    Raises:
        BadInputError: a value cannot be encoded so (SC511).
    """
    if choice.encoder is None:
        raise BadInputError(Diagnostic("SC511", "values that are held as currents are no events"))
    return ENCODINGS[choice.encoder].make(part.inputs, peak, choice.options), part.labels
