"""Events as files: an `.npz` with `times`, `indices` and `offsets`; for several nodes `<node>/times` and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .diagnostics import BadInputError, Diagnostic, Diagnostics
from .events import Events
from .nodes import Array
from .npz import read_npz, write_npz

__all__ = ["PROBES", "read_events", "read_labelled", "read_samples", "write_events"]

MEANINGS = {
    "times": "Add it: seconds of every event, ascending within a sample.",
    "indices": "Add it: the channel of every event, counted from 0.",
    "offsets": "Add it: batch + 1 whole numbers; events offsets[b] to offsets[b + 1] are those of sample b.",
}
FIELDS = tuple(MEANINGS)
PROBES = "probes"
"""Arrays `probes/<name>` beside the events are what was probed; they are not read as events."""


def read_events(path: str | Path, nodes: Sequence[str]) -> dict[str, Events]:
    """The events of a file by node; without node names in the file, those of the only one of `nodes`.

    Raises:
        BadInputError: naming every fault: no path (SC525), not readable (SC523), an array missing or unknown, of the
            wrong type, a node that is not one of `nodes` (SC524). Order and range are checked when the events are used.
    """
    return _events(path, read_npz(path), nodes)


def read_samples(path: str | Path, nodes: Sequence[str]) -> tuple[dict[str, Events], Array]:
    """Events as `read_events`, and the array `labels`, one a sample, that lies beside them.

    Raises:
        BadInputError: as `read_events`, or there are no labels (SC524).
    """
    events, labels = read_labelled(path, nodes)
    if labels is None:
        raise BadInputError(Diagnostic("SC524", f"'{path}' lacks the array 'labels'",
                                       remedy="Add it: one whole number a sample, counted from 0."))
    return events, labels


def read_labelled(path: str | Path, nodes: Sequence[str]) -> tuple[dict[str, Events], Array | None]:
    """Events as `read_events`, and the array `labels` that may lie beside them.

    Raises:
        BadInputError: as `read_events`.
    """
    arrays = read_npz(path)
    labels = arrays.pop("labels", None)
    return _events(path, arrays, nodes), labels


def write_events(path: str | Path, events: Mapping[str, Events], probes: Mapping[str, Array] | None = None) -> None:
    """Writes events by node, without names where there is one node alone, and probed arrays as `probes/<name>`.

    Raises:
        BadInputError: no path (SC525), or the file cannot be written (SC522); what was there before stays.
    """
    arrays: dict[str, Array] = {}
    for node, given in events.items():
        plain = given.numpy()
        prefix = "" if len(events) == 1 else f"{node}/"
        arrays |= {f"{prefix}{name}": getattr(plain, name) for name in FIELDS}
    write_npz(path, arrays | {f"{PROBES}/{name}": array for name, array in (probes or {}).items()})


def _events(path: str | Path, arrays: Mapping[str, Array], nodes: Sequence[str]) -> dict[str, Events]:
    groups: dict[str, dict[str, Array]] = {}
    faults = Diagnostics()
    for key, array in arrays.items():
        node, _, entry = key.rpartition("/")
        if node == PROBES and entry not in FIELDS:
            continue
        if entry in FIELDS:
            groups.setdefault(node, {})[entry] = array
        else:
            faults.add("SC524", f"'{path}' holds an unknown array '{key}'", limit=", ".join(FIELDS),
                       remedy="Leave it out, or name it as one of these.")
    if list(groups) == [""] and len(nodes) == 1:
        groups = {nodes[0]: groups[""]}
    if not groups:
        faults.add("SC524", f"'{path}' holds no events", remedy=f"It needs the arrays {', '.join(FIELDS)}.")
    for node, group in groups.items():
        if node not in nodes:
            faults.add("SC524", f"'{path}' holds events of '{node}'" if node else f"'{path}' does not name its node",
                       limit=", ".join(nodes), remedy="Name the arrays <node>/times, <node>/indices, <node>/offsets.")
        faults.extend(_faults_of(group, node, path))
    faults.raise_if_errors()
    return {node: Events(group["times"].astype(np.float64), group["indices"].astype(np.int64),
                         group["offsets"].astype(np.int64)) for node, group in groups.items()}


def _faults_of(arrays: Mapping[str, Array], node: str, path: str | Path) -> list[Diagnostic]:
    found = Diagnostics()
    for name in FIELDS:
        if name not in arrays:
            found.add("SC524", f"'{path}' lacks the array '{name}'", node=node or None, remedy=MEANINGS[name])
        elif arrays[name].ndim != 1:
            found.add("SC524", f"'{name}' in '{path}' is not one-dimensional", node=node or None,
                      value=arrays[name].shape,
                      remedy="The events of all samples follow each other; `offsets` says where each sample begins.")
        elif arrays[name].size and arrays[name].dtype.kind not in ("f" if name == "times" else "iu"):
            found.add("SC524", f"'{name}' in '{path}' has the wrong type", node=node or None, value=arrays[name].dtype,
                      limit="floats" if name == "times" else "integers",
                      remedy=f"Write np.asarray({name}, np.{'float64' if name == 'times' else 'int64'}).")
    return found.found
