"""From model units to the currents of DYNAP-SE2's circuits, and back.

The circuits are those of `ir/analog/dpi.py`. In their linear regime a membrane current follows

    tau_mem dI/dt = (I_gain / I_leak) (I_syn + I_dc - I_leak) - I,        tau = C U_T / (kappa I_leak)

and is reset to the dark current, nearly zero. So a membrane V of the model is the current I = S (V - v_reset), with S
such that V_threshold is the threshold current; the way from reset to rest becomes the constant current, I_dc = I_leak
(1 + S (v_leak - v_reset) / I_gain); and a spike of weight w, which moves the model's current by w_in w / tau_syn, adds
S I_leak / I_gain r w_in w / tau_syn to I_syn. A synapse makes that of its weight current I_w:

    (I_gain,syn / I_leak,syn) I_w (1 - exp(-pulse / tau_syn)),        tau_syn = C_syn U_T / (kappa I_leak,syn)

Pulses are C V / I long, and so are refractory periods (`limits.py`). A `leaky` population, which impulses move at once,
gets a short synapse.

How linear it is depends on currents that are free: `Operating`. The positive feedback of the circuit, as DynapSim has
it, is the larger the smaller I_leak is, so fast membranes are more linear than slow ones. Where no threshold is given,
it is the one of the least `linear_error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.analog.dpi import DpiPopulation, linear_error
from ...ir.diagnostics import Diagnostics, UnsupportedError
from ...ir.network import Network, Population
from ...ir.nodes import Array
from .bias import current_of, reach
from .limits import C_AMPA, C_GABA, C_MEM, C_PULSE, C_REFRACTORY, DARK, KAPPA, THERMAL, TRANSISTOR

__all__ = ["Circuit", "Currents", "Operating", "biases_of", "circuit_of", "currents_of"]

_THRESHOLDS = np.geomspace(2e-12, 1e-8, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """Amperes and seconds that the model leaves open: of a membrane's `gain` and `threshold` (None: the most linear
    one), how long a synapse is open (`pulse`), the ratio of a synapse's gain to its leak, and the time constant of the
    synapses of a `leaky` population over that of its membrane. Pulse and ratio are Rockpool's defaults."""

    gain: float = 2e-12
    threshold: float | None = None
    pulse: float = 10e-6
    synapse_ratio: float = 100.0
    short_synapse: float = 0.1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Currents:
    """What the neurons of a population want of their circuits: arrays (n,), in amperes and seconds. `jump`: what a unit
    of weight adds to the synaptic current. `scale`: amperes of the membrane for a unit of V over the reset."""

    tau_mem: Array
    tau_syn: Array
    refractory: Array
    leak: Array
    gain: Array
    threshold: Array
    dc: Array
    jump: Array
    scale: Array

    @property
    def alike(self) -> Array:
        """(n, 5): neurons of equal rows, to one part in a million, can share a core."""
        rows = np.stack([self.tau_mem, self.tau_syn, self.refractory, self.threshold, self.dc], axis=1)
        with np.errstate(divide="ignore"):
            return np.where(rows > 0, np.rint(np.log(rows) * 1e6), -np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """What the biases of a core make of its neurons: seconds and amperes. `jump_exc`, `jump_inh`: what an ampere of
    weight current adds to the synaptic current; `levels` (4,): the currents that weights are made of."""

    tau_mem: float
    tau_exc: float
    tau_inh: float
    refractory: float
    leak: float
    gain: float
    threshold: float
    dc: float
    jump_exc: float
    jump_inh: float
    levels: tuple[float, float, float, float]

    def neurons(self, n: int, *, feedback: bool = True) -> DpiPopulation:
        """`n` neurons of this core, without mismatch; `feedback`: the circuit's, as DynapSim computes it."""
        numbers = {
            "tau_mem": self.tau_mem, "tau_exc": self.tau_exc, "tau_inh": self.tau_inh, "gain": self.gain,
            "leak": self.leak, "dc": self.dc, "dark": DARK, "threshold": self.threshold,
            "refractory": self.refractory, "feedback": DARK / self.leak if feedback else 0.0,
            "exponent": KAPPA / (KAPPA + 1), "surge": 0.0, "surge_at": 0.0, "surge_width": 0.0}
        return DpiPopulation(**{name: np.full(n, value) for name, value in numbers.items()})


def _leak(capacity: float, tau: Array | float) -> Array | float:
    """The current that makes a time constant, or the time constant that a current makes."""
    return capacity * THERMAL / (KAPPA * tau)


def currents_of(network: Network, operating: Operating | None = None,
                diagnostics: Diagnostics | None = None) -> dict[str, Currents]:
    """The currents of every population.

    Raises:
        UnsupportedError: what the circuits cannot do (SC352), all at once.
    """
    operating, faults = operating or Operating(), Diagnostics() if diagnostics is None else diagnostics
    for name, population in network.populations.items():
        _check(name, population, faults)
    for projection in network.projections:
        if projection.delay is not None and np.any(np.asarray(projection.delay) != 0):
            faults.add("SC352", "a delay; none is set on DYNAP-SE2", node=projection.name,
                       value=f"{float(np.max(projection.delay)):g} s", remedy="Remove the delays.")
    faults.raise_if_errors(UnsupportedError)
    grid = network.discretization
    impulse = grid.dt if grid is not None and grid.spike == "box" else 1.0
    return {name: _currents(population, operating, impulse) for name, population in network.populations.items()}


def _check(name: str, population: Population, faults: Diagnostics) -> None:
    def refuse(what: str, remedy: str, **facts: object) -> None:
        faults.add("SC352", what, node=name, remedy=remedy, **facts)

    if not population.spiking:
        refuse("a readout; the chip's outputs are spikes", "Let the output show a spiking population.")
        return
    if population.kind == "integrator":
        refuse("a membrane without a leak", "Use LIF or CubaLIF.")
        return
    if population.reset == "subtract":
        refuse("a reset by subtraction; the circuits are reset to a value", 'Use reset="zero" or "v_reset".')
    if np.any(np.asarray(population.bias) != 0):
        refuse("a bias; a core has one constant current", "Leave the biases out.")
    reset, rest = _reset(population), np.asarray(population.v_leak)
    if np.any(reset > rest):
        refuse("a reset above the resting value; the circuits are reset to their lowest current",
               "Reset to the resting value or below.", value=f"{reset.max():g} over {rest.min():g}")
    gains = np.asarray(population.r) * (1.0 if population.w_in is None else np.asarray(population.w_in))
    if np.any(gains == 0):
        refuse("r w_in of zero: no spike would reach the membrane", "Give other values, or leave the layer out.",
               value=f"of {int((gains == 0).sum())} neurons")
    if np.any(np.asarray(population.v_threshold) <= np.maximum(reset, rest)):
        refuse("a threshold that is not above rest and reset", "Raise the threshold.")
    if np.any(np.asarray(population.v0) != rest):
        faults.add("SC355", "an initial membrane; the circuits start discharged", node=name, severity="warning",
                   remedy="Start at the resting value, or let inputs come later.")


def _reset(population: Population) -> Array:
    zero = np.zeros(population.n)
    return zero if population.reset == "zero" or population.v_reset is None else np.asarray(population.v_reset)


def _currents(population: Population, operating: Operating, impulse: float) -> Currents:
    n = population.n
    tau_mem = np.asarray(population.tau_mem, dtype=np.float64)
    cuba = population.kind == "cuba"
    tau_syn = np.asarray(population.tau_syn, np.float64) if cuba else operating.short_synapse * tau_mem
    leak = np.asarray(_leak(C_MEM, tau_mem))
    gain = np.full(n, operating.gain)
    if operating.threshold is not None:
        threshold = np.full(n, operating.threshold)
    else:
        found, place = np.unique(leak, return_inverse=True)
        threshold = np.array([_most_linear(float(each), operating.gain) for each in found])[place.reshape(-1)]
    reset = _reset(population)
    scale = threshold / (np.asarray(population.v_threshold) - reset)
    rest = scale * (np.asarray(population.v_leak) - reset)
    gains = np.asarray(population.r) * (np.asarray(population.w_in) if cuba else 1.0)
    refractory = np.zeros(n) if population.refractory is None else np.asarray(population.refractory, np.float64)
    return Currents(tau_mem=tau_mem, tau_syn=tau_syn, refractory=refractory, leak=leak, gain=gain,
                    threshold=threshold, dc=leak * (1 + rest / gain),
                    jump=scale * leak / gain * gains * impulse / tau_syn, scale=scale)


def _most_linear(leak: float, gain: float) -> float:
    """The threshold of the least error of the linear regime."""
    numbers = dict.fromkeys(DpiPopulation.__slots__, 0.0) | {
        "gain": gain, "leak": leak, "dark": DARK, "feedback": DARK / leak, "exponent": KAPPA / (KAPPA + 1)}
    spread = {name: np.full(_THRESHOLDS.shape, value) for name, value in numbers.items()}
    return float(_THRESHOLDS[linear_error(DpiPopulation(**spread | {"threshold": _THRESHOLDS})).argmin()])


def biases_of(currents: Currents, neuron: int, levels: Array, operating: Operating) -> dict[str, float]:
    """Amperes of every bias of a core with neurons like this one, whose weights are sums of `levels` (4,)."""
    tau_syn, refractory = float(currents.tau_syn[neuron]), float(currents.refractory[neuron])
    found = {
        "SOIF_LEAK_N": float(currents.leak[neuron]), "SOIF_GAIN_N": float(currents.gain[neuron]),
        "SOIF_DC_P": float(currents.dc[neuron]), "SOIF_SPKTHR_P": float(currents.threshold[neuron]),
        "SOIF_REFR_N": C_REFRACTORY * TRANSISTOR / refractory if refractory > 0 else reach("SOIF_REFR_N")[1],
        "SYPD_EXT_N": C_PULSE * TRANSISTOR / operating.pulse, "SOAD_W_N": 0.0}
    for leak, gain, capacity in (("DEAM_ETAU_P", "DEAM_EGAIN_P", C_AMPA), ("DEGA_ITAU_P", "DEGA_IGAIN_P", C_GABA)):
        found[leak] = float(_leak(capacity, tau_syn))
        found[gain] = operating.synapse_ratio * found[leak]
    return found | {f"SYAM_W{number}_P": float(level) for number, level in enumerate(levels)}


def circuit_of(biases: Mapping[str, tuple[int, int]]) -> Circuit:
    """What coarse and fine values make of the neurons of a core."""
    now = {name: current_of(name, *values) for name, values in biases.items()}
    pulse = C_PULSE * TRANSISTOR / now["SYPD_EXT_N"]

    def synapse(leak: str, gain: str, capacity: float) -> tuple[float, float]:
        tau = float(_leak(capacity, now[leak]))
        return tau, now[gain] / now[leak] * -float(np.expm1(-pulse / tau))

    tau_exc, jump_exc = synapse("DEAM_ETAU_P", "DEAM_EGAIN_P", C_AMPA)
    tau_inh, jump_inh = synapse("DEGA_ITAU_P", "DEGA_IGAIN_P", C_GABA)
    return Circuit(
        tau_mem=float(_leak(C_MEM, now["SOIF_LEAK_N"])), tau_exc=tau_exc, tau_inh=tau_inh,
        refractory=C_REFRACTORY * TRANSISTOR / now["SOIF_REFR_N"], leak=now["SOIF_LEAK_N"], gain=now["SOIF_GAIN_N"],
        threshold=now["SOIF_SPKTHR_P"], dc=now["SOIF_DC_P"], jump_exc=jump_exc, jump_inh=jump_inh,
        levels=(now["SYAM_W0_P"], now["SYAM_W1_P"], now["SYAM_W2_P"], now["SYAM_W3_P"]))
