"""Whether a network for Xylo fits the chip: neurons, fan-out, synapses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.chip import ChipLimit
from ...ir.diagnostics import Diagnostics, DoesNotFitError
from ...ir.integer.xylo import XyloNetwork
from .limits import XyloChip

__all__ = ["Use", "check_fit", "uses"]


@dataclass(frozen=True, slots=True)
class Use:
    """What a network takes of something, and what there is of it. `what`: as messages call it."""

    what: str
    used: int
    limit: int
    source: str


def uses(network: XyloNetwork, chip: XyloChip) -> tuple[Use, ...]:
    """What a network takes of a chip. A weight of zero takes no synapse."""
    inputs = (network.w_in != 0).sum(1)

    def use(what: str, used: int, limit: ChipLimit, value: int | None = None) -> Use:
        return Use(what, used, limit.value if value is None else value, limit.source)

    return (
        use("input channels", network.n_in, chip.inputs), use("hidden neurons", network.hidden.n, chip.hidden),
        use("output neurons", network.outputs.n, chip.outputs),
        use("synapses of one hidden neuron", int(network.fan_out.max(initial=0)), chip.fan_out),
        use("synapses of one input channel", int(inputs.max(initial=0)), chip.fan_out),
        use("synapses of all hidden neurons", int(network.fan_out.sum()), chip.mean_fan_out, chip.synapses),
    )


def check_fit(network: XyloNetwork, chip: XyloChip, hidden: Mapping[str, slice]) -> None:
    """Nothing where it fits. `hidden`: places of the populations, which messages name.

    Raises:
        DoesNotFitError: naming everything that there is too little of (SC340).
    """
    faults = Diagnostics()
    for each in uses(network, chip):
        if each.used > each.limit:
            node = None
            if each.what == "synapses of one hidden neuron":
                worst = int(np.argmax(network.fan_out))
                node = next((name for name, place in hidden.items() if place.start <= worst < place.stop), None)
            faults.add("SC340", f"the network needs more {each.what} than {chip.name} has", node=node,
                       value=f"{each.used:,}", limit=f"{each.limit:,} ({each.source})",
                       remedy="Take fewer, or sparser connections"
                              + ("." if chip.name == "imu" else "; or variant='imu', which has more synapses each."))
    faults.raise_if_errors(DoesNotFitError)
