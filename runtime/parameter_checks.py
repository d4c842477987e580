"""Checks of parameters as they are now: an optimizer or a user may have written what no network can have.

The checks of the graph see only what it was compiled from. These run whenever an engine reads its parameters, so the
usual case costs a sum; the fault is looked for only where that shows one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..ir.diagnostics import Diagnostics
from ..ir.flow.checks import check_oscillates
from ..ir.network import Population
from ..ir.nodes import Array
from ..ir.ranges import NOT_NEGATIVE, POSITIVE, check_finite, check_range, check_reset

__all__ = ["check_delay", "check_flow", "check_parameters", "check_population", "check_refractory", "check_weight"]

Parameters = Mapping[tuple[str, str], Tensor]
"""Those of the model graph that an array is made from."""

_FEW = 4096
"""Elements up to which arrays are joined before they are looked at."""
_REMEDY = "Check what wrote the parameter: a lower lr, a gradient_clip, or a clamp after each step keep it legal."


def check_parameters(parameters: Parameters) -> None:
    """Raises BadInputError where a parameter by itself is NaN, infinite or out of its range (SC103, SC104). While a GPU
    trains, nothing is looked at: it would have to wait."""
    looked = {key: tensor for key, tensor in parameters.items()
              if tensor.numel() and (tensor.device.type == "cpu" or not torch.is_grad_enabled())}
    if not looked:
        return
    few = [tensor.detach() for tensor in looked.values() if tensor.numel() <= _FEW]
    many = [tensor.detach() for tensor in looked.values() if tensor.numel() > _FEW]
    legal = all(math.isfinite(tensor.sum().item()) for tensor in (*many, _joined(few)))
    for names, least in ((POSITIVE, math.ulp(0.0)), (NOT_NEGATIVE, 0.0)):
        bounded = [tensor.detach() for (_, name), tensor in looked.items() if name in names]
        legal = legal and (not bounded or _joined(bounded).amin().item() >= least)
    if not legal:
        _report({}, "", looked)


def _joined(tensors: list[Tensor]) -> Tensor:
    """Their elements in a row: one call of torch for all costs less than one for each."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors]) if tensors else torch.zeros(1)


def check_weight(weight: Tensor, name: str, used: Callable[[], Parameters]) -> None:
    """Raises BadInputError where a weight of projection `name` is NaN or infinite (SC104)."""
    if not math.isfinite(weight.detach().sum().item()):
        _report({"weight": weight}, name, used())


def check_delay(delay: Tensor, name: str, used: Callable[[], Parameters]) -> None:
    """Raises BadInputError where a delay of projection `name` is negative, NaN or infinite (SC103, SC104)."""
    if len(delay):
        least, most = torch.aminmax(delay.detach())
        if not (bool(least >= 0) and bool(most < torch.inf)):
            _report({"delay": delay}, name, used())


def check_population(population: Population, values: Mapping[str, Tensor], used: Callable[[], Parameters]) -> None:
    """Raises BadInputError where a parameter of a population is NaN, infinite or out of its range (SC103, SC104).

    `values`: its arrays (n,) by name, float64.
    """
    plain = {name: value.detach() for name, value in values.items()}
    legal = torch.stack(list(plain.values())).isfinite().all()
    for name in POSITIVE & plain.keys():
        legal = legal & (plain[name] > 0).all()
    if population.spiking:
        low = plain["v_reset"] if population.reset == "v_reset" else 0.0
        legal = legal & (plain["v_threshold"] > low).all()
    if not bool(legal):
        _report(values, population.name, used(), population.reset if population.spiking else None)


def check_flow(population: Population, values: Mapping[str, Tensor], used: Callable[[], Parameters]) -> None:
    """The same of a population that is stated by equations; a theta neuron oscillates (SC155)."""
    plain = {name: value.detach() for name, value in values.items()}
    legal = torch.stack(list(plain.values())).isfinite().all()
    for name in POSITIVE & plain.keys():
        legal = legal & (plain[name] > 0).all()
    if not bool(legal):
        _report(values, population.name, used())
    if population.flow is not None and population.flow.dynamics.name == "theta":
        faults = Diagnostics()
        check_oscillates(population.name, _array(plain["i0"] + plain.get("bias", 0.0)), faults)
        faults.found[:] = [replace(found, remedy=_REMEDY) for found in faults.found]
        faults.raise_if_errors()


def check_refractory(now: Tensor, compiled: Tensor, node: str, used: Callable[[], Parameters]) -> None:
    """Raises BadInputError where a refractory period is out of its range (SC103, SC104), or is another than the one
    that was compiled (SC412): the kernels hold it as a constant."""
    if torch.equal(now.to(torch.float32), compiled.to(now.device, torch.float32)):
        return
    _report({"refractory": now}, node, used())
    faults = Diagnostics()
    faults.add("SC412", "refractory is fixed when the network is compiled", node=node,
               remedy="Compile again: program.recompile(module.to_graph()).")
    faults.raise_if_errors()


def _report(values: Mapping[str, Tensor], node: str, used: Parameters, reset: str | None = None) -> None:
    """Names the parameters of the model graph that are at fault; where each by itself is legal, what is made of them.
    """
    faults = Diagnostics()
    for (owner, param), tensor in used.items():
        _check(param, tensor, owner, faults)
    if not faults.found:
        for name, tensor in values.items():
            _check(name, tensor, node, faults)
    if not faults.found and reset is not None:
        threshold = _array(values["v_threshold"])
        check_reset(reset, threshold, _array(values["v_reset"]) if reset == "v_reset" else threshold, node, faults)
    faults.found[:] = [replace(found, remedy=_REMEDY) for found in faults.found]
    faults.raise_if_errors()


def _check(name: str, tensor: Tensor, node: str, faults: Diagnostics) -> None:
    check_finite(name, _array(tensor), node, faults)
    if name in POSITIVE | NOT_NEGATIVE:
        check_range(name, _array(tensor), node, faults)


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu())
