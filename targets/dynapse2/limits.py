"""What DYNAP-SE2 has, and the constants of its circuits: every number with where it is published."""

from __future__ import annotations

from ..support import Limit

__all__ = [
    "AMPA", "CHIPS", "CLOCK_TAG", "CORES", "C_AMPA", "C_GABA", "C_MEM", "C_PULSE", "C_REFRACTORY", "DARK",
    "DESTINATIONS", "GABA", "KAPPA", "NEURONS", "OUTSIDE", "REACH", "SYNAPSES", "TAGS", "THERMAL", "TRANSISTOR",
]

_DEFAULTS = "rockpool 3.1.0, devices/dynapse/lookup/defaults.py"
_ALIAS = "rockpool 3.1.0, devices/dynapse/samna_alias"
_BOARD = "rockpool 3.1.0, devices/dynapse/hardware/interface/samna.py"

CHIPS = Limit(4, "chips of a board, in a row", _DEFAULTS)
CORES = Limit(4, "cores of a chip", _DEFAULTS)
NEURONS = Limit(256, "neurons of a core, which share its currents", _DEFAULTS)
SYNAPSES = Limit(64, "synapses of a neuron, each with a tag of its own to listen for", _DEFAULTS)
DESTINATIONS = Limit(4, "destinations of a neuron, each some cores of one chip; one is taken by watching it", _DEFAULTS)
TAGS = Limit(2048, "tags; one an input, and for a neuron one inside and one for watching it", _DEFAULTS)
REACH = Limit(7, "chips that an event goes along an axis", _ALIAS)

OUTSIDE = -7
"""Hops along both axes that take an event off the chips, to the board's computer (`_BOARD`)."""
CLOCK_TAG = 2047
"""With those hops, the tag that the board answers with its time (`_BOARD`)."""
AMPA, GABA = 1024, 512
"""The kinds of synapses that add to the membrane's input and take from it (`_ALIAS`)."""

C_MEM, C_AMPA, C_GABA = 3e-12, 24.5e-12, 25e-12
"""Farads of the membrane and of the two synapses (`_DEFAULTS`). Other sources give the neuron 7.7 pF; that is not
settled."""
C_PULSE, C_REFRACTORY = 0.5e-12, 1.5e-12
"""Farads that set how long a synapse is open, and how long a neuron is silent (`_DEFAULTS`)."""
TRANSISTOR = 0.7
"""Volts over which those are discharged (`_DEFAULTS`)."""
KAPPA = (0.75 + 0.66) / 2
"""Slope factor of the transistors, the mean of both types (`_DEFAULTS`)."""
THERMAL = 25e-3
"""Thermal voltage (`_DEFAULTS`)."""
DARK = 0.5e-12
"""Amperes that flow where nothing does (`_DEFAULTS`)."""
