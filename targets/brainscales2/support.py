"""What BrainScaleS-2 (HICANN-X v3) can do with each kind of node. Its circuits run a thousand times faster than the
model; time constants are compared after that. The numbers that a program is held against are those of `chip.toml`."""

from __future__ import annotations

from math import ceil

from ...ir.nodes import IF, LI, LIF, SPIKING, CubaLI, CubaLIF, Delay, I
from ..chips import CHIP_RULES
from ..conditions import (
    CONNECTIONS,
    FOLDED,
    MEMBRANES,
    WEIGHTED,
    above,
    biased,
    delayed,
    fan_in_beyond,
    on_a_grid,
    subtracts,
    tau_outside,
)
from ..model import Model
from ..support import Capacity, Limit, Rule, Support

__all__ = ["SUPPORT"]

_CALIX = "calix (e573081), calix/spiking/neuron.py, check_target"
_TS13 = "brainscales2-demos (11e31d8), ts_13-network_partitioning"
_MISMATCH = "fastAndDeep (33e4876), experiment_configs/yin_yang_hwAware.yaml"
_DELAYS = "fastAndDeep (33e4876), hardware_lif_neuron_as_delay.py: extra neurons stand for delays"
_CADC = "hxtorch (3bfc7aa), CADC"
SPEED_UP = 1000.0
CIRCUITS = Limit(512, "neuron circuits, one for every 128 signed inputs of a neuron", _TS13)
FAN_IN = Limit(128 * 512, "signed inputs, with all circuits merged", _TS13)
TAU_MEM = Limit(0.5e-6, "s", _CALIX), Limit(60e-6, "s", _CALIX)
TAU_SYN = Limit(0.3e-6, "s", _CALIX), Limit(30e-6, "s", _CALIX)
REFRACTORY = Limit(32e-3, "s, 32 us on the chip", _CALIX)


def circuits(model: Model) -> int:
    """Neuron circuits of a whole model: those of a neuron are merged for a larger fan-in."""
    return sum(model.size(name) * max(1, ceil(model.fan_in(name) / 128)) for name in model.neuron_nodes)


SUPPORT = Support(
    (
        *CHIP_RULES,
        Rule(WEIGHTED, "approximate", "weights become integers from -63 to 63", source="hxtorch (3bfc7aa), Synapse"),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them",
             source="hxtorch (3bfc7aa), Synapse"),
        Rule(CONNECTIONS, "approximate", "the bias moves the leak potential, an analog value of 10 bits", biased,
             source=_CALIX),
        Rule((CubaLIF,), "approximate", "analog circuits: thresholds off by 5 ± 3 % of their distance from rest, noise",
             source=_MISMATCH),
        Rule((LIF,), "approximate", "analog circuits, and the shortest synapse (0.3 us) in place of an impulse",
             source=_CALIX),
        Rule((CubaLI, LI), "approximate", "the membrane is read in 8 bits, every 1.7 us at best", source=_CADC),
        Rule((I, IF), "unsupported", "a membrane without a leak; the longest time constant is 60 us", source=_CALIX),
        Rule(MEMBRANES, "approximate", "runs in continuous time; the model states steps", on_a_grid),
        Rule(MEMBRANES, "unsupported", "time constant of the membrane out of range at a speed-up of 1000 (0.5..60 us)",
             tau_outside("tau_mem", *TAU_MEM, SPEED_UP), source=_CALIX, measured=True),
        Rule(MEMBRANES, "unsupported", "time constant of the synapse out of range at a speed-up of 1000 (0.3..30 us)",
             tau_outside("tau_syn", *TAU_SYN, SPEED_UP), source=_CALIX, measured=True),
        Rule(SPIKING, "unsupported", "reset by subtraction; the circuits are reset to a potential", subtracts,
             source=_CALIX),
        Rule(SPIKING, "unsupported", "the refractory period is too long", above("refractory", REFRACTORY.value),
             limit=REFRACTORY, measured=True),
        Rule(MEMBRANES, "unsupported", "more inputs than a neuron can have", fan_in_beyond(FAN_IN), limit=FAN_IN,
             measured=True),
        Rule((Delay,), "approximate", "a neuron for each delayed axon, 2 to 3.5 tau_syn late, with jitter",
             source=_DELAYS),
        Rule(WEIGHTED, "approximate", "a neuron for each delayed axon, 2 to 3.5 tau_syn late, with jitter", delayed,
             source=_DELAYS),
    ),
    (Capacity(circuits, CIRCUITS),),
    "judged by published facts; whether the events of a model can be routed only the chip's own router can say",
)
