"""The files for a DYNAP-SE2 board, made from what its cores hold: always the same bytes for the same network.

`config.json` has, of what is used, the fields by the names and in the layout in which the vendor's library writes them
as JSON (rockpool 3.1.0, `devices/dynapse/samna_alias`): lists of fixed length are objects with keys value0, value1, …;
a synapse has a dendrite (its kind), a weight (the mask), a tag; a destination has a mask of cores, hops, a tag; a
parameter has the code of its type's letter, a coarse and a fine value. `run_samna.py` sets them on a configuration of
the library's own, whose other fields stay as they are, and drives the board. It has no name of the network in it, and
has not been run on silicon.
"""

from __future__ import annotations

import functools
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cores import Held
from .limits import AMPA, CLOCK_TAG, CORES, DESTINATIONS, GABA, OUTSIDE, SYNAPSES
from .place import ends

if TYPE_CHECKING:
    import jinja2

__all__ = ["CONFIG", "FORMAT", "READ_ME", "RUN", "configuration", "dynapse2_files"]

FORMAT = "spikec-dynapse2-1"
"""What `config.json` calls itself."""
CONFIG, RUN, READ_ME = "config.json", "run_samna.py", "README.md"


def dynapse2_files(held: Held) -> dict[str, bytes]:
    """The files by name."""
    document = configuration(held)
    facts = {"version": version("spikec"), "format": FORMAT}
    program = _template("run_samna.jinja").render(
        **facts, synapses=int(SYNAPSES.value), destinations=int(DESTINATIONS.value), clock_tag=CLOCK_TAG,
        outside=OUTSIDE)
    used = [neuron for chip in document["chips"] for core in chip["cores"] for neuron in core["neurons"]]
    readme = _template("readme.jinja").render(
        **facts, chips=len(document["chips"]), cores=held.placement.cores, neurons=len(used),
        synapses=sum(len(neuron["synapses"]) for neuron in used), watched=len(document["watched"]))
    return {CONFIG: json.dumps(document, separators=(",", ":")).encode(), RUN: program.encode(),
            READ_ME: readme.encode()}


def configuration(held: Held) -> dict[str, Any]:
    """What `config.json` says. `chips`: those in use, with their number, of each its cores, of each its parameters and
    the neurons that are used. `inputs`: by name, for each channel where its events go. `watched`: what a tag that comes
    out stands for."""
    placement, network = held.placement, held.placement.network
    synapses = _synapses(held)
    reached = _reached(held)
    cores: dict[int, dict[str, Any]] = {}
    for number, biases in enumerate(held.biases):
        cores[number] = {"core": number % int(CORES.value), "parameters": [
            {"key": name, "value": {"type": ord(name[-1]), "coarseValue": coarse, "fineValue": fine}}
            for name, (coarse, fine) in biases.items()], "neurons": []}
    watched = []
    for name, population in network.populations.items():
        for neuron in range(population.n):
            number = int(placement.core[name][neuron])
            tag, watch = int(placement.tags[name][neuron]), int(placement.watch_tags[name][neuron])
            goes = [_destination(mask, chip - number // int(CORES.value), 0, tag)
                    for chip, mask in sorted(reached[name].get(neuron, {}).items())]
            if watch >= 0:
                goes.append(_destination([True] * int(CORES.value), OUTSIDE, OUTSIDE, watch))
                watched.append({"tag": watch, "population": name, "neuron": neuron})
            cores[number]["neurons"].append({
                "neuron": int(placement.slot[name][neuron]), "latchSoDc": True,
                "synapses": _listed(synapses[name].get(neuron, [])), "destinations": _listed(goes)})
    chips = sorted({number // int(CORES.value) for number in cores})
    return {
        "format": FORMAT,
        "chips": [{"chip": chip, "cores": [core for number, core in cores.items()
                                           if number // int(CORES.value) == chip]} for chip in chips],
        "inputs": {name: [_listed(_destination(mask, chip, 0, int(placement.tags[name][channel]))
                                  for chip, mask in sorted(reached[name].get(channel, {}).items()))
                          for channel in range(network.size(name))] for name in network.inputs},
        "watched": watched,
    }


def _synapses(held: Held) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """By population and neuron, in the order of the projections."""
    placement = held.placement
    found: dict[str, dict[int, list[dict[str, Any]]]] = {name: {} for name in placement.network.populations}
    for projection in placement.network.projections:
        masks, signs = held.masks[projection.name], held.signs[projection.name]
        rows, columns = ends(projection)
        tags = placement.tags[projection.source]
        for entry in np.flatnonzero(masks).tolist():
            found[projection.target].setdefault(int(rows[entry]), []).append({
                "dendrite": AMPA if signs[entry] > 0 else GABA, "stp": False,
                "weight": _listed(bool(masks[entry] >> bit & 1) for bit in range(4)), "preciseDelay": False,
                "mismatchedDelay": False, "tag": int(tags[columns[entry]])})
    return found


def _reached(held: Held) -> dict[str, dict[int, dict[int, list[bool]]]]:
    """By input or population and its source, the chips with the cores of each that have a synapse for it."""
    placement, network = held.placement, held.placement.network
    found: dict[str, dict[int, dict[int, list[bool]]]] = {name: {} for name in (*network.inputs, *network.populations)}
    for projection in network.projections:
        kept = np.flatnonzero(held.masks[projection.name])
        rows, columns = ends(projection)
        pairs = np.unique(np.stack([columns[kept], placement.core[projection.target][rows[kept]]], axis=1), axis=0)
        for source, core in pairs.tolist():
            chip, within = divmod(core, int(CORES.value))
            mask = found[projection.source].setdefault(source, {}).setdefault(chip, [False] * int(CORES.value))
            mask[within] = True
    return found


def _destination(mask: list[bool], x_hop: int, y_hop: int, tag: int) -> dict[str, Any]:
    return {"core": _listed(mask), "xHop": x_hop, "yHop": y_hop, "tag": tag}


def _listed(values: Any) -> dict[str, Any]:
    return {f"value{number}": value for number, value in enumerate(values)}


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
                              autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def _template(name: str) -> jinja2.Template:
    return _templates().get_template(name)
