"""An emulated DYNAP-SE2: the circuits' own equations (`runtime/analog/dpi.py`), whose numbers deviate from neuron to
neuron by a pattern that the chip's serial number says, with noise from run to run.

What deviates, each by a log-normal factor, so that none is negative: of a neuron its membrane's capacitance, its
currents (leak, gain, constant current, threshold, refractory period), the time constant and the gain of each of its
synapses, and the weight of every entry of its list of synapses. Rockpool varies these and a few constants besides
(rockpool 3.1.0, transform/mismatch.py), by normal factors. A pattern belongs to places on the chip, not to a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...ir.analog.dpi import DpiNetwork, DpiPopulation
from ...ir.events import Events
from ...ir.nodes import Array
from ...runtime.analog.dpi import run_dpi
from .cores import Held, dpi_network
from .limits import NEURONS, SYNAPSES
from .place import ends

__all__ = ["QUANTITIES", "THRESHOLD_NOISE", "DpiDevice", "DpiEmulator"]

QUANTITIES = ("capacitance", "leak", "gain", "dc", "threshold", "refractory", "tau_exc", "tau_inh", "gain_exc",
              "gain_inh")
"""Of a neuron."""
THRESHOLD_NOISE = 0.01
"""Standard deviation of a threshold from run to run, relative: an assumption, for which no figure was found."""
_RUN = 1 << 62
"""A kind of random numbers, in the second word of the generator's key: none is that of a pattern."""
_WEIGHTS = len(QUANTITIES)


@dataclass(frozen=True, slots=True)
class DpiDevice:
    """A chip with its serial number; `cv`: the coefficient of variation of all that deviates."""

    seed: int
    cv: float

    def factors(self, quantity: str, core: Array, slot: Array) -> Array:
        """(n,) of the neurons at these places."""
        found = np.ones(len(core))
        for number in np.unique(core).tolist():
            here = core == number
            found[here] = self._drawn(QUANTITIES.index(quantity), number, int(NEURONS.value))[slot[here]]
        return found

    def synapses(self, core: int, slot: int) -> Array:
        """(synapses of a neuron,): of its list."""
        return self._drawn(_WEIGHTS, core << 8 | slot, int(SYNAPSES.value))

    def _drawn(self, kind: int, place: int, count: int) -> Array:
        draw = np.random.Generator(np.random.Philox(key=[self.seed, kind << 32 | place]))
        return np.asarray(np.exp(np.sqrt(np.log1p(self.cv**2)) * draw.standard_normal(count)))


class DpiEmulator:
    """`held`: what the cores hold. `noise`: whether runs differ; with the same `seed` the first run is the same, and so
    are those after it."""

    def __init__(self, held: Held, device: DpiDevice, *, noise: bool = True, feedback: bool = True,
                 seed: int = 0) -> None:
        self.held, self.device, self.noise, self.feedback, self.seed = held, device, noise, feedback, seed
        self.runs = 0
        self.populations = {name: self._deviating(name, each)
                            for name, each in dpi_network(held, feedback=feedback).populations.items()}
        self._factors = self._of_synapses()

    def network(self, codes: Mapping[str, Array]) -> DpiNetwork:
        """The circuits of this chip with masks and signs as `codes` says, without noise."""
        flat = {}
        for each in self.held.placement.network.projections:
            rows, columns = ends(each)
            flat[each.name] = np.asarray(codes[each.name])[rows, columns]
        held = replace(self.held, masks={name: np.abs(each).astype(np.uint8) for name, each in flat.items()},
                       signs={name: np.sign(each).astype(np.int8) for name, each in flat.items()})
        plain = dpi_network(held, feedback=self.feedback)
        return replace(plain, populations=self.populations, projections=tuple(
            replace(each, weight=each.weight * np.where(each.weight > 0, *self._factors[each.name]))
            for each in plain.projections))

    def measure(self, codes: Mapping[str, Array], spikes: Mapping[str, Events], duration: float) -> dict[str, Events]:
        """One run on the chip, as `runtime.analog.in_the_loop.Measure` says. `codes`: by projection, (n_target,
        n_source), masks 0..15, less than 0 where a synapse inhibits."""
        network = self.network(codes)
        draw = np.random.Generator(np.random.Philox(key=[self.seed, _RUN | self.runs]))
        self.runs += 1
        if self.noise:
            network = replace(network, populations={
                name: replace(each, threshold=_above(each.threshold * (
                    1 + THRESHOLD_NOISE * draw.standard_normal(each.n)), each.dark))
                for name, each in network.populations.items()})
        if duration == 0:  # nothing has happened yet
            batch = min((each.batch for each in spikes.values()), default=1)
            return {name: Events.from_samples([((), ())] * batch) for name in network.populations}
        return run_dpi(network, spikes, duration)

    def _deviating(self, name: str, plain: DpiPopulation) -> DpiPopulation:
        core, slot = self.held.placement.core[name], self.held.placement.slot[name]
        by = {quantity: self.device.factors(quantity, core, slot) for quantity in QUANTITIES}
        return replace(
            plain, tau_mem=plain.tau_mem * by["capacitance"] / by["leak"], leak=plain.leak * by["leak"],
            feedback=plain.feedback / by["leak"], gain=plain.gain * by["gain"], dc=plain.dc * by["dc"],
            threshold=_above(plain.threshold * by["threshold"], plain.dark),
            refractory=plain.refractory / by["refractory"], tau_exc=plain.tau_exc / by["tau_exc"],
            tau_inh=plain.tau_inh / by["tau_inh"])

    def _of_synapses(self) -> dict[str, tuple[Array, Array]]:
        """By projection, (n_target, n_source) factors of weights that excite and that inhibit. A synapse's place is
        that in its neuron's list as the network was placed."""
        placement = self.held.placement
        taken = {name: np.zeros(each.n, np.int64) for name, each in placement.network.populations.items()}
        found = {}
        for each in placement.network.projections:
            core, slot = placement.core[each.target], placement.slot[each.target]
            factors = np.ones((placement.network.size(each.target), placement.network.size(each.source)))
            rows, columns = ends(each)
            kept = np.asarray(each.connection.weight).reshape(-1) != 0
            for neuron in np.unique(rows[kept]).tolist():
                heard = columns[kept & (rows == neuron)]
                first = int(taken[each.target][neuron])
                factors[neuron, heard] = self.device.synapses(int(core[neuron]), int(slot[neuron]))[
                    first:first + len(heard)]
                taken[each.target][neuron] += len(heard)
            # no factor for the synapse's leak: what a spike adds to the current is the same for every leak (units.py)
            excites, inhibits = (self.device.factors(kind, core, slot)[:, None] for kind in ("gain_exc", "gain_inh"))
            found[each.name] = factors * excites, factors * inhibits
        return found


def _above(threshold: Array, dark: Array) -> Array:
    """A threshold of the dark current would never be passed from below."""
    return np.asarray(np.maximum(threshold, 2 * dark))
