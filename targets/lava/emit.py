"""The files of a program for Lava, made from an integer network: always the same bytes for the same network."""

from __future__ import annotations

import json

from ...ir.integer.network import IntegerNetwork
from ...ir.npz import pack_npz
from .parts import (
    NETWORK,
    PARAMETERS,
    PROGRAM,
    README,
    arrays_of,
    described_network,
    facts_of_inputs,
    facts_of_population,
    facts_of_projection,
    import_lines,
    keys_of,
    keys_of_projections,
    model_lines,
    orders_of,
    parts_of,
    rendered,
    shared_facts,
    wired,
)

__all__ = ["FORMAT", "UNTESTED", "program_files"]

FORMAT = "spikec-integer-network"
UNTESTED = ["program.py --hardware loihi1", "program.py --hardware loihi2"]
"""What no test could run: there is no board."""
_EDGE_MODELS = ("from lava.proc.io.reset import PyResetFixed", "from lava.proc.io.sink import PyReadFixed",
                "from lava.proc.io.sink import PyReceiveModelFixed", "from lava.proc.io.source import PySendModelFixed")


def program_files(network: IntegerNetwork) -> dict[str, bytes]:
    """The files by name.

    Raises:
        UnsupportedError: Lava has no process for a part of it (SC559).
    """
    keys, synapses = keys_of(network), keys_of_projections(network, network.projections)
    orders, there = orders_of(network), wired(network.projections)
    outputs = list(dict.fromkeys(keys[population] for population in network.outputs.values()))
    projections = [facts_of_projection(network, each, synapses[each.name], keys, orders) for each in there]
    processes = {"LIF", *(each["process"] for each in projections)}
    shared, inputs = shared_facts(), facts_of_inputs(network, there, keys)
    program = rendered(
        "program.jinja", **shared, inputs=inputs, outputs=outputs, reshapes="Conv" in processes,
        imports=import_lines(processes), models=model_lines(processes, _EDGE_MODELS),
        populations=[facts_of_population(each, keys, orders) for each in network.populations.values()],
        projections=projections, parts=parts_of(network, there, keys), made="dict.fromkeys(key for key, _ in STATE)",
        state=[*((keys[name], variable) for name in network.populations for variable in ("u", "v")),
               *((each["key"], "a_buf" if each["process"] == "Conv" else "a_buff") for each in projections)],
        orders=[(keys[name], network.size(name), channels) for name, channels in orders.items() if channels > 1])
    readme = rendered("readme.jinja", **shared, inputs=[each["key"] for each in inputs], outputs=outputs,
                      neurons=sum(each.n for each in network.populations.values()),
                      synapses=sum(each.connection.weight.size for each in network.projections))
    described = json.dumps(described_network(network, keys, synapses, FORMAT, untested=UNTESTED), indent=1)
    return {PROGRAM: program.encode(),
            PARAMETERS: pack_npz(arrays_of(network, network.projections, keys, synapses)),
            NETWORK: described.encode() + b"\n", README: readme.encode()}
