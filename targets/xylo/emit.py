"""The files of a program for Xylo: always the same bytes for the same network."""

from __future__ import annotations

import functools
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.integer.xylo import XyloNetwork
from ...ir.npz import pack_npz
from .limits import XyloChip
from .report import LABEL

if TYPE_CHECKING:
    import jinja2

    from ...passes.quantise_xylo import QuantisedXylo

__all__ = ["CONFIG", "PROGRAM", "README", "SIMULATOR", "SPECIFICATION", "program_files", "specification"]

SPECIFICATION, CONFIG, PROGRAM, README = "spec.npz", "xylo_config.json", "program.py", "README.md"
SIMULATOR = "0.1.3"
"""Version of xylosim in which programs are tested."""


def specification(network: XyloNetwork, states: int = 1) -> dict[str, Any]:
    """Arrays and shifts under the names that rockpool's `XyloSim.from_specification` has. `states`: currents of a
    hidden neuron, of which the second is given no weights."""
    hidden, outputs = network.hidden, network.outputs

    def matrix(weights: Any) -> Any:
        return np.pad(weights[..., None], ((0, 0), (0, 0), (0, states - 1)))

    second = {"dash_syn_2": np.zeros_like(hidden.dash_syn)} if states > 1 else {}
    return {
        "weights_in": matrix(network.w_in), "weights_rec": matrix(network.w_rec), "weights_out": network.w_out,
        "dash_mem": hidden.dash_mem, "dash_mem_out": outputs.dash_mem, "dash_syn": hidden.dash_syn, **second,
        "dash_syn_out": outputs.dash_syn, "threshold": hidden.threshold, "threshold_out": outputs.threshold,
        "bias": hidden.bias, "bias_out": outputs.bias,
        **{f"weight_shift_{name}": np.int8(getattr(network, f"shift_{name}")) for name in ("in", "rec", "out")}}


def program_files(quantised: QuantisedXylo, chip: XyloChip) -> dict[str, bytes]:
    """The files by name. No text of the user's is in the program; `xylo_config.json` has the names of populations."""
    network, layout = quantised.network, quantised.layout
    facts = {"version": version("spikec"), "simulator": SIMULATOR, "inputs": network.n_in,
             "hidden": network.hidden.n, "outputs": network.outputs.n, "delay": layout.input_delay,
             "latency": max((each.latency for each in quantised.populations.values()), default=0), "label": LABEL}
    config = {
        "format": "spikec-xylo", "version": 1, "variant": chip.name, "label": LABEL, "dt": network.dt,
        "input_delay": layout.input_delay,
        "inputs": {name: [place.start, place.stop] for name, place in layout.inputs.items()},
        "populations": {name: {"block": each.block, "neurons": [each.place.start, each.place.stop],
                               "latency": each.latency} for name, each in quantised.populations.items()}}
    return {SPECIFICATION: pack_npz({name: np.asarray(value) for name, value in specification(
                network, chip.synapse_states.value).items()}),
            CONFIG: json.dumps(config, indent=1).encode() + b"\n",
            PROGRAM: _templates().get_template("program.jinja").render(**facts).encode(),
            README: _templates().get_template("readme.jinja").render(variant=chip.name, **facts).encode()}


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
                              autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
