"""Which losses can be taken of an output, and what a loss can do there about silent neurons."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning
from ..ir.network import Network
from .losses import LOSSES

__all__ = ["OF_READOUTS", "OF_SPIKES", "fitting_losses", "have_pseudospikes", "misfit", "name_of", "remedied",
           "usual_loss"]

_EXACT, _COUNTED = ("first-spike", "spike-time", "spike-count-mse"), ("spike-count",)
_OF_SPIKES_BY_TARGET = {"event": (*_EXACT, "pseudospike"), "clock": _COUNTED, "loihi1": _COUNTED, "loihi2": _COUNTED,
                        "xylo": _EXACT, "brainscales2": _EXACT, "generic_analog": _EXACT, "dynapse2": _EXACT}
OF_SPIKES = (*_EXACT, "pseudospike", *_COUNTED)
OF_READOUTS = ("voltage-max", "integrated-voltage")


def fitting_losses(population: Any, target: str, rule: str | None) -> tuple[str, ...]:
    """The names of the losses that can be taken of a population on a target, by the gradient `rule` (None: the usual
    one), the usual one first; none of a readout that is stated by equations."""
    if not population.spiking:
        return () if _stated(population) else OF_READOUTS
    fitting = _EXACT if rule == "exact" and target != "event" else _OF_SPIKES_BY_TARGET[target]
    closed = not _stated(population) or population.flow.dynamics.name != "equations"
    return fitting if closed else tuple(name for name in fitting if name != "pseudospike")


def _stated(population: Any) -> bool:
    """Whether its equations are stated: QIF, Theta, Equations, which are there in continuous time alone."""
    return getattr(population, "flow", None) is not None


def usual_loss(network: Any, shown: str, target: str, rule: str | None) -> str | None:
    """Of the losses that fit the population `shown`, the one to take where none was asked for."""
    fitting = fitting_losses(network.populations[shown], target, rule)
    if "pseudospike" in fitting and have_pseudospikes(network):
        return "pseudospike"
    return next(iter(fitting), None)


def have_pseudospikes(network: Any) -> bool:
    """Whether all neurons of a network have pseudospikes: QIF and Theta neurons, without delays between them
    and without cycles."""
    if not isinstance(network, Network):  # on a grid nobody has
        return False
    alone = all(len(component) == 1 for component in network.schedule)
    straight = all(each.source not in network.populations or (each.delay is None and each.source != each.target)
                   for each in network.projections)
    return alone and straight and all(each.flow is not None and each.flow.dynamics.name != "equations"
                                      for each in network.populations.values())


def name_of(loss: Any) -> str | None:
    """The name of a loss of `LOSSES`, or None of another."""
    return next((name for name, kind in LOSSES.items() if kind is type(loss)), None)


def misfit(loss: str, population: Any, output: str, target: str, rule: str | None) -> Diagnostic | None:
    """Why a loss cannot be taken of an output (SC409)."""
    fitting = fitting_losses(population, target, rule)
    if loss in fitting:
        return None
    if not fitting:
        return Diagnostic("SC409", "no loss can be taken of this output, which is a readout stated by equations",
                          node=output, value=loss, remedy="Use LI, CubaLI or I as the output, or train in a loop of "
                          "your own, by `voltage` at given times or by `end`.")
    spiking = population.spiking
    running = ("event",) if _stated(population) else tuple(_OF_SPIKES_BY_TARGET)
    other = [name for name in running if spiking and name != target and loss in fitting_losses(population, name, None)]
    kind = f"spikes, on the target '{target}'" if spiking else "is a readout"
    return Diagnostic("SC409", f"the loss '{loss}' cannot be taken of this output, which {kind}", node=output,
                      value=loss, limit=", ".join(fitting), remedy=f"Use the loss '{fitting[0]}'"
                      + (f", or compile for {', '.join(other)}, which take this one" if other else "") + ".")


def remedied(loss: Any, named: bool, network: Any, shown: str | None, module: Any) -> Any:
    """`loss`, if what it does about silent neurons can be done here. One that was `named`, so that nobody asked for a
    remedy, goes without, and warns of that (SC501).

    Raises:
        BadInputError: the remedy was asked for (SC501).
    """
    remedy = getattr(loss, "silent", None)
    faults = Diagnostics()
    instead = "Give the loss silent=None" + (
        ", or take PseudospikeCrossEntropy, which needs no remedy." if have_pseudospikes(network) else ".")
    check = getattr(module, "check_push", None)
    if remedy in ("push", "both") and shown is not None and check is not None:
        try:
            check(shown)
        except BadInputError as error:
            faults.add("SC501", f"silent neurons of this output cannot be pushed: {error.diagnostics[0].message}",
                       node=shown, value=f"silent={remedy!r}", remedy=instead)
    if remedy in ("bump", "both"):
        for name, each in network.populations.items():
            if _stated(each) and each.spiking and (remedy == "bump" or name != shown):
                faults.add("SC501", "weights of these neurons cannot be bumped: by how much is said by the threshold "
                           "of linear neurons", node=name, value=f"silent={remedy!r}", remedy=instead)
    if not faults.errors:
        return loss
    if not named:
        faults.raise_if_errors()
    for each in faults.errors:
        warnings.warn(str(replace(each, severity="warning", remedy="Nothing is done about silent neurons. " + (
            "PseudospikeCrossEntropy needs no such remedy." if have_pseudospikes(network) else
            "Start from weights by which neurons fire."))), SpikecWarning, stacklevel=4)
    return replace(loss, silent=None)
