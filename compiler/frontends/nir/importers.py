"""How the importers of other frameworks read NIR, as data: `IMPORTERS`, a rule for each kind of neuron.

NIR states no grid, so each importer has its own: a time step, what a spike amounts to, which fields it takes, how a
membrane is reset. A rule gives the fields from which its importer makes a wanted step

    leaky    V' = kept V + gain x + offset
    cuba     I' = kept_syn I + (gain / share) x;  V' = kept V + share I'        (share: any, I is in its own units)

and the gain and offset that it then has; what a gain lacks goes into the weights before the neuron, an offset into
their biases. Each rule names the file it was read in; `tests/test_nir_importers.py` runs each against the importer.
Versions: snnTorch 1.0.0, Norse 1.1.0, sinabs 2.0.3, SpikingJelly 2.0.0, nirtorch 2.6, nir 1.0.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ....ir.nodes import (
    IF,
    LI,
    LIF,
    Affine,
    Array,
    AvgPool2d,
    Conv1d,
    Conv2d,
    CubaLIF,
    Flatten,
    Linear,
    Membrane,
    Node,
    SparseLinear,
    SumPool2d,
)

__all__ = ["IMPORTERS", "SUBTRACTING", "Importer", "Rule", "Step", "Written"]

_FOREVER = 1e-30
"""The share that a membrane without a leak loses in a step, where it is written as one with a leak: 1 - 1e-30 is 1."""


class Step(NamedTuple):
    """One step of a neuron on its grid; arrays of the neuron's shape. `kept_syn`: 0 where there is no current."""

    dt: float
    kept: Array
    kept_syn: Array
    gain: Array
    v_reset: Array

    @property
    def lost(self) -> Array:
        lost: Array = np.maximum(1 - self.kept, _FOREVER)
        return lost


class Written(NamedTuple):
    """The NIR fields for a step, and what the importer makes of them."""

    fields: Mapping[str, Array]
    gain: Array
    offset: Array


@dataclass(frozen=True, slots=True)
class Rule:
    """How one importer reads one kind of neuron.

    `kind`: what it is written as; `write`: its fields; `source`: where the importer's arithmetic stands. `reset`: what
    a spike does; `fires`, `spikes`: as in `Discretization`. `starts_at_reset`: the membrane starts at v_reset.
    `alike`: fields in which all neurons of a node must be alike. `floor`: the membrane is kept above minus the
    threshold. `flat`: neurons of one axis only.
    """

    kind: type[Membrane]
    write: Callable[[Step], Written]
    source: str
    reset: Literal["zero", "v_reset", "subtract", "none"]
    fires: Literal["above", "at"] = "above"
    spikes: Literal["one", "many"] = "one"
    starts_at_reset: bool = False
    alike: tuple[str, ...] = ()
    floor: bool = False
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Importer:
    """How one framework reads a NIR graph.

    `call`: what its user calls. `neurons`: a rule for each of spikec's kinds that it can run; `stateless`: the other
    nodes it reads rightly. `nested`: a neuron with its recurrent weights is read rightly as a nested graph only.
    `chain`: nodes run in the order in which a walk finds them, so paths that join again are read wrongly. `biased`:
    Linear is passed over in silence, and must be Affine.
    """

    call: str
    neurons: Mapping[type[Node], Rule]
    stateless: frozenset[type[Node]]
    nested: bool = False
    chain: bool = False
    biased: bool = False


def _exact(step: Step, **fields: Array) -> Written:
    return Written(fields, step.gain, np.zeros_like(step.gain))


def _unit(step: Step, **fields: Array) -> Written:
    return Written(fields, np.ones_like(step.gain), np.zeros_like(step.gain))


def _tau(dt: float, kept: Array, above: float = 0.0) -> Array:
    """tau with 1 - dt/tau = kept; NaN where kept is below what the importer takes."""
    return np.where(kept >= above, dt / np.maximum(1 - kept, _FOREVER), np.nan)


def _snntorch_leaky(step: Step) -> Written:
    """dt is 1e-4 whatever the file was made for: beta = 1 - dt/tau; the threshold is divided by r dt/tau."""
    return _unit(step, tau=_tau(1e-4, step.kept), r=1 / step.lost, v_leak=np.zeros_like(step.gain))


def _snntorch_synaptic(step: Step) -> Written:
    """alpha = 1 - dt/tau_syn, beta = 1 - dt/tau_mem; r = tau_mem/dt is demanded."""
    return _unit(step, tau_mem=_tau(1e-4, step.kept), tau_syn=_tau(1e-4, step.kept_syn), r=1 / step.lost,
                 w_in=1 / (1 - step.kept_syn), v_leak=np.zeros_like(step.gain))


def _norse_box(step: Step) -> Written:
    """V' = V + dt/tau (v_leak - V + x); r is passed over."""
    ones = np.ones_like(step.gain)
    return Written({"tau": step.dt / step.lost, "r": ones, "v_leak": 0 * ones}, step.lost, 0 * ones)


def _norse_cuba(step: Step) -> Written:
    """I' = I + dt/tau_syn (w_in x - I); V' = V + dt/tau_mem (r I' - V). v_leak would reach both."""
    lost_syn = 1 - step.kept_syn
    return _exact(step, tau_mem=step.dt / step.lost, tau_syn=step.dt / lost_syn, r=1 / step.lost,
                  w_in=step.gain / lost_syn, v_leak=np.zeros_like(step.gain))


def _integrate(step: Step) -> Written:
    """V' = V + x; r is passed over (Norse), or is 1 in its own exports (sinabs)."""
    return _unit(step, r=np.ones_like(step.gain))


def _sinabs_leaky(step: Step) -> Written:
    """tau counts steps: V' = exp(-1/tau) V + x; r must be 1 (LI), or is passed over (LIF)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = -1 / np.log(step.kept)
    return _unit(step, tau=tau, r=np.ones_like(step.gain), v_leak=np.zeros_like(step.gain))


def _spikingjelly_lif(step: Step) -> Written:
    """r = tau/dt: the input does not decay, V' = V - dt/tau (V - v_reset) + x; v_leak = v_reset is demanded."""
    tau = _tau(step.dt, step.kept, above=np.nextafter(0, 1))
    written = _unit(step, tau=tau, r=1 / step.lost, v_leak=step.v_reset)
    return written._replace(offset=step.lost * step.v_reset)


def _spikingjelly_if(step: Step) -> Written:
    """V' = V + x; r = 1/dt is demanded."""
    return _unit(step, r=np.full_like(step.gain, 1 / step.dt))


def _spikingjelly_cuba(step: Step) -> Written:
    """I' = (1 - dt/tau_syn) I + x; V' = (1 - dt/tau_mem) V + I'; r = tau_mem/dt and w_in = tau_syn/dt are demanded."""
    return _unit(step, tau_mem=_tau(step.dt, step.kept), tau_syn=_tau(step.dt, step.kept_syn), r=1 / step.lost,
                 w_in=1 / (1 - step.kept_syn), v_leak=np.zeros_like(step.gain))


_SNNTORCH = "snntorch/import_nir.py (_nir_to_snntorch_module), snntorch/_neurons"
_NORSE = "norse/torch/utils/import_nir.py (_import_norse_module), norse/torch/functional"
_SINABS = "sinabs/nir.py (_import_sinabs_module), sinabs/layers/functional/lif.py"
_JELLY = "spikingjelly/activation_based/nir_exchange/from_nir.py, spikingjelly/activation_based/neuron"
_ALL_ALIKE = ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset")
_LAYERS = frozenset((Affine, Linear, SparseLinear, Conv1d, Conv2d, Flatten, SumPool2d, AvgPool2d))

_norse_subtract = Rule(CubaLIF, _norse_cuba, _NORSE, reset="subtract")

IMPORTERS: Mapping[str, Importer] = {
    "snntorch": Importer(
        call="snntorch.import_nir.import_from_nir(nir.read(path))",
        neurons={
            LIF: Rule(LIF, _snntorch_leaky, _SNNTORCH, reset="zero", alike=("v_threshold",)),
            # Its IF becomes a Leaky of beta 0.9 that fails when it is called.
            IF: Rule(LIF, _snntorch_leaky, _SNNTORCH, reset="zero", alike=("v_threshold",)),
            CubaLIF: Rule(CubaLIF, _snntorch_synaptic, _SNNTORCH, reset="zero", alike=("v_threshold",)),
        },
        stateless=_LAYERS, nested=True,
    ),
    "norse": Importer(
        call="norse.torch.from_nir(nir.read(path), dt={dt})",
        neurons={
            LIF: Rule(LIF, _norse_box, _NORSE, reset="zero"),
            IF: Rule(IF, _integrate, _NORSE, reset="zero"),
            CubaLIF: Rule(CubaLIF, _norse_cuba, _NORSE, reset="zero"),
        },
        stateless=_LAYERS - {Conv1d, AvgPool2d}, chain=True,
    ),
    "sinabs": Importer(
        call="sinabs.nir.from_nir(nir.read(path), batch_size=…)",
        neurons={
            LIF: Rule(LIF, _sinabs_leaky, _SINABS, reset="subtract", spikes="many", flat=True),
            IF: Rule(IF, _integrate, _SINABS, reset="subtract", spikes="many", floor=True),
            LI: Rule(LI, _sinabs_leaky, _SINABS, reset="none", flat=True),
        },
        stateless=_LAYERS - {AvgPool2d}, chain=True, biased=True,
    ),
    "spikingjelly": Importer(
        call="spikingjelly.activation_based.nir_exchange.import_from_nir(path, dt={dt})",
        neurons={
            LIF: Rule(LIF, _spikingjelly_lif, _JELLY, "v_reset", "at", starts_at_reset=True, alike=_ALL_ALIKE),
            IF: Rule(IF, _spikingjelly_if, _JELLY, "v_reset", "at", starts_at_reset=True, alike=_ALL_ALIKE),
            CubaLIF: Rule(CubaLIF, _spikingjelly_cuba, _JELLY, "v_reset", "at", starts_at_reset=True,
                          alike=_ALL_ALIKE),
        },
        stateless=_LAYERS,
    ),
}
"""By the name that `to_nir(reader=…)` takes."""

SUBTRACTING: Mapping[str, Importer] = {
    "norse": Importer(
        call="norse.torch.from_nir(nir.read(path), dt={dt}, "
             "reset_method=norse.torch.functional.reset.reset_subtract)",
        neurons={LIF: _norse_subtract, IF: _norse_subtract, CubaLIF: _norse_subtract},
        stateless=_LAYERS - {Conv1d, AvgPool2d}, chain=True,
    ),
}
"""The same, for graphs whose neurons are reset by subtraction, where an importer can be told so for all at once: Norse
passes it to current-based neurons alone, and one whose current is forgotten in each step is a LIF."""
