"""Networks for Xylo in the vendor's simulator, xylosim, which is optional (`pip install xylosim`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic, UnsupportedError
from ...ir.integer.xylo import XyloNetwork
from ...ir.integer.xylo_step import XyloResult, XyloState, check_events
from ...ir.nodes import Array

__all__ = ["simulate_xylosim"]


def simulate_xylosim(network: XyloNetwork, events: Array) -> XyloResult:
    """What xylosim makes of a batch, one sample after the other; all states are shown. `clipped` is not known: zeros.

    Raises:
        UnsupportedError: xylosim is not installed (SC532).
        BadInputError: the events are malformed (SC403).
    """
    try:
        v2: Any = import_module("xylosim.v2")
    except ImportError as error:
        raise UnsupportedError(Diagnostic("SC532", "xylosim is not installed", value="xylosim",
                                          remedy="pip install xylosim==0.1.3; it needs a C++ compiler.")) from error
    counts = check_events(network, events)

    def synapses(matrix: Array) -> list[list[Any]]:
        return [[v2.XyloSynapse(int(target), 0, int(row[target])) for target in np.flatnonzero(row)] for row in matrix]

    # The layer keeps addresses of these objects, not the objects.
    held = {name: synapses(getattr(network, matrix)) for name, matrix in (
        ("synapses_in", "w_in"), ("synapses_rec", "w_rec"), ("synapses_out", "w_out"))}
    hidden, outputs = network.hidden, network.outputs
    alias = np.full(hidden.n, -1) if network.alias is None else network.alias
    settings = {
        "aliases": [[int(each)] if each >= 0 else [] for each in alias],
        "threshold": hidden.threshold.tolist(), "threshold_out": outputs.threshold.tolist(),
        "has_bias": bool(hidden.bias.any() or outputs.bias.any()),
        "bias": hidden.bias.tolist(), "bias_out": outputs.bias.tolist(),
        "weight_shift_inp": network.shift_in, "weight_shift_rec": network.shift_rec,
        "weight_shift_out": network.shift_out,
        "dash_mem": hidden.dash_mem.tolist(), "dash_mem_out": outputs.dash_mem.tolist(),
        "dash_syns": [[each, each] for each in hidden.dash_syn.tolist()],
        "dash_syns_out": [[each] for each in outputs.dash_syn.tolist()], "name": "spikec"}
    batch, steps, _ = counts.shape
    shape = {"hidden": (batch, steps, hidden.n), "outputs": (batch, steps, outputs.n)}
    i, v = ({name: np.zeros(each, dtype=np.int16) for name, each in shape.items()} for _ in range(2))
    spikes = {name: np.zeros(each, dtype=np.uint8) for name, each in shape.items()}
    for sample, raster in enumerate(counts if steps else ()):
        layer = v2.XyloLayer(**held, **settings)
        layer.evolve(raster.tolist())
        for name, end, fired in (("hidden", "", layer.rec_recurrent_spikes), ("outputs", "_out", layer.rec_out_spikes)):
            if shape[name][2]:
                i[name][sample] = np.array(getattr(layer, f"rec_i_syn{end}")).T
                v[name][sample] = np.array(getattr(layer, f"rec_v_mem{end}")).T
                spikes[name][sample] = np.array(fired)
    last = {key: {name: np.pad(each[name], ((0, 0), (1, 0), (0, 0)))[:, -1].astype(np.int32) for name in shape}
            for key, each in (("i", i), ("v", v), ("spikes", spikes))}
    return XyloResult(spikes=spikes, i=i, v=v, clipped=dict.fromkeys(shape, 0), state=XyloState(**last))
