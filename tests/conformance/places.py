"""Every network of the suite by its place, so that processes can share the work: what makes a network is no data."""

from __future__ import annotations

import functools
import importlib
import logging
from dataclasses import dataclass
from itertools import islice

import torch

from . import networks, public, suite, versions
from .case import Case


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network is found again by another process: `number` in the list of its `part`, or of its `framework`."""

    part: str
    framework: str
    number: int
    label: str


def places() -> list[Place]:
    """All networks of the suite."""
    found = [Place("frameworks", framework, number, f"{framework} {case.kind} {case.settings}")
             for framework in versions.FRAMEWORKS for number, case in enumerate(_cases(framework))]
    found += [Place("networks", "spikec", number, f"spikec {each.kind} {each.settings}")
              for number, each in enumerate(networks.networks())]
    files = public.FILES if public.folder() is not None else ()
    return found + [Place("public", "nir", number, f"nir {each.path}") for number, each in enumerate(files)]


def row_of(place: Place, steps: int) -> suite.Row:
    """What is found for the network at that place."""
    if place.part == "frameworks":
        case = _cases(place.framework)[place.number]
        return suite.run(place.framework, versions.pins()[place.framework], case, steps=steps)
    if place.part == "networks":
        return networks.row(next(islice(networks.networks(), place.number, None)), steps)
    folder = public.folder()
    if folder is None:
        raise FileNotFoundError("the folder SPIKEC_DATA is gone")
    return public.row(folder, public.FILES[place.number], steps)


@functools.cache
def _cases(framework: str) -> list[Case]:
    found: list[Case] = importlib.import_module(f".{framework}_cases", __package__).cases()
    return found


def quiet() -> None:
    """Of a process: one thread, and no messages of the frameworks."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
