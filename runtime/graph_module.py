"""A `torch.nn.Module` over the parameters of a model graph: how they are held, named, shown, and written back."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..ir.diagnostics import Diagnostics
from ..ir.graph import Graph
from ..ir.nodes import Array, about, params, with_params
from ..ir.text import to_arrays, to_text
from .parameter_checks import check_parameters

__all__ = ["GraphModule"]

_FIXED = "refractory"
"""What kernels hold as a constant; no parameter of equations is called so."""


class GraphModule(nn.Module):
    """Base of the modules of all targets. Parameters are those of the model graph: `fc1.weight`, `hidden.tau_mem`, ….
    Weights, biases and scales require grad from the start; every other parameter can
    (`module.get_parameter("hidden.tau_mem").requires_grad_()`, or `train=("weight", "tau_mem")`). `units`: what a
    parameter of the graph is multiplied by here.

    Raises:
        BadInputError: `dtype` is not one of the engines, or `train` names no parameter (SC412).
    """

    _graph: Graph
    _dtype: torch.dtype
    _map: dict[str, tuple[str, str]]

    def __init__(self, graph: Graph, dtype: torch.dtype, train: Iterable[str] | None,
                 units: Mapping[tuple[str, str], Array] | None = None) -> None:
        super().__init__()
        chosen = None if train is None else {train} if isinstance(train, str) else set(train)
        _check_settings(graph, dtype, chosen)
        self._graph, self._dtype, self._map = graph, dtype, {}
        self._units = {key: np.array(unit) for key, unit in (units or {}).items()}
        for name, node in graph.nodes.items():
            for param, value in params(node).items():
                trained = (about(node, param).trained if chosen is None
                           else param in chosen or f"{name}.{param}" in chosen)
                held = self._held(name, param, value, dtype)
                self._hold(name, param, nn.Parameter(held, requires_grad=bool(trained)))

    def parameter_map(self) -> dict[str, tuple[str, str]]:
        """Name of each parameter here -> (node, parameter) of the model graph; invert it for the other direction."""
        return dict(self._map)

    def stated(self) -> dict[str, Any]:
        """What of the model no training changes, as plain values: "model", its text with zeros for parameters that
        require grad, and "constants", a checksum of the larger arrays of the others."""
        learnt: dict[str, dict[str, Array]] = {}
        for label, (node, param) in self._map.items():
            if self.get_parameter(label).requires_grad:
                learnt.setdefault(node, {})[param] = np.zeros_like(params(self._graph.nodes[node])[param])
        graph = replace(self._graph, metadata={}).with_nodes(
            {node: with_params(self._graph.nodes[node], values) for node, values in learnt.items()})
        code = 0
        for name, values in sorted(to_arrays(graph).items()):
            code = zlib.crc32(np.ascontiguousarray(values).data, zlib.crc32(name.encode(), code))
        return {"model": to_text(graph), "constants": code}

    def to_graph(self) -> Graph:
        """The model graph with the parameters as they are now; what was not changed is kept bit by bit."""
        changed: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for label, (node, param) in self._map.items():
            now = self.get_parameter(label).detach().cpu()
            before = params(self._graph.nodes[node])[param]
            if not torch.equal(now, self._held(node, param, before, now.dtype)):
                changed.setdefault(node, {})[param] = self._graphs(node, param, now).numpy().astype(before.dtype)
        return self._graph.with_nodes(
            {node: with_params(self._graph.nodes[node], values) for node, values in changed.items()})

    def _by_node(self) -> dict[tuple[str, str], Tensor]:
        """The parameters by (node, parameter) of the model graph, in its units."""
        return {self._map[label]: self._graphs(*self._map[label], each) for label, each in self.named_parameters()}

    def _held(self, node: str, param: str, value: Array, dtype: torch.dtype) -> Tensor:
        """A parameter of the graph as the module holds it."""
        unit = self._units.get((node, param))
        return _layout(value if unit is None else value * unit, dtype)

    def _graphs(self, node: str, param: str, held: Tensor) -> Tensor:
        """The reverse; what has a unit of its own comes in float64, so that nothing is lost on the way."""
        unit = self._units.get((node, param))
        return held if unit is None else held.double() / torch.from_numpy(unit).to(held.device)

    def _legal_by_node(self) -> dict[tuple[str, str], Tensor]:
        """The same, looked at.

        Raises:
            BadInputError: naming each that is NaN, infinite or out of its range (SC103, SC104, SC155).
        """
        parameters = self._by_node()
        check_parameters(parameters)
        return parameters

    def _common_dtype(self) -> torch.dtype:
        dtypes = {parameter.dtype for parameter in self.parameters() if parameter.is_floating_point()}
        return self._dtype if len(dtypes) != 1 else dtypes.pop()

    def _hold(self, node: str, param: str, parameter: nn.Parameter) -> None:
        room: nn.Module = self
        path = [_free_name(part) for part in node.split(".")]
        for part in path:
            if part not in room._modules:
                room.add_module(part, _Room())
            room = room._modules[part]  # type: ignore[assignment]
        cast(_Room, room).kind = type(self._graph.nodes[node]).__name__
        room.register_parameter(_free_name(param), parameter)
        self._map[".".join([*path, _free_name(param)])] = (node, param)

    def _apply(self, fn: Any, recurse: bool = True) -> GraphModule:
        sample = next(iter(self.parameters()), torch.zeros(1))
        _check_move(fn, torch.zeros(1, dtype=sample.dtype, device=sample.device))
        super()._apply(fn, recurse)
        return self


class _Room(nn.Module):
    """The parameters of one node, shown under the name of its kind; or what the parts of dotted names lie in."""

    kind: str = "Nodes"

    def _get_name(self) -> str:
        return self.kind

    def extra_repr(self) -> str:
        alike: dict[str, list[str]] = {}
        for name, each in self._parameters.items():
            alike.setdefault("" if each is None else _form_of(each), []).append(name)
        return "; ".join(f"{', '.join(names)} {form}" for form, names in alike.items())


def _form_of(parameter: Tensor) -> str:
    form = f"{tuple(parameter.shape)} {str(parameter.dtype).removeprefix('torch.')}"
    return f"{form} trained" if parameter.requires_grad else form


def _check_settings(graph: Graph, dtype: Any, chosen: set[str] | None) -> None:
    faults = Diagnostics()
    _dtype_fault(dtype, faults)
    known = {name: params(node) for name, node in graph.nodes.items()}
    names = {param for held in known.values() for param in held}
    names |= {f"{name}.{param}" for name, held in known.items() for param in held}
    fixed = {name for name in names if name.rpartition(".")[2] == _FIXED}
    for each in sorted(set() if chosen is None else chosen - (names - fixed), key=str):
        what = f"{_FIXED} is fixed when the network is compiled" if each in fixed else "train names no parameter"
        faults.add("SC412", what, value=repr(each), limit=", ".join(sorted(names - fixed)))
    faults.raise_if_errors()


def _check_move(fn: Any, sample: Tensor) -> None:
    """Refuses what `fn`, of `Module._apply`, would make of parameters, tried on a sample before it touches them."""
    faults = Diagnostics()
    devices = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
    remedy = "Leave the module on the CPU; `spikec doctor` shows what is there."
    try:
        moved = fn(sample)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say that a device is not there
        why = str(error).strip().partition("\n")[0]
        faults.add("SC412", "torch cannot move the module there", value=why, limit=devices, remedy=remedy)
    else:
        _dtype_fault(moved.dtype, faults)
        if moved.device.type not in ("cpu", "cuda"):
            faults.add("SC412", "the engine does not run on this device", value=moved.device, limit=devices,
                       remedy=remedy)
    faults.raise_if_errors()


def _dtype_fault(dtype: Any, faults: Diagnostics) -> None:
    if dtype not in (torch.float32, torch.float64):
        faults.add("SC412", "dtype is not one that the engine computes in", value=repr(dtype),
                   limit="torch.float32, torch.float64", remedy="Use module.float() or module.double().")


def _layout(value: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
    """As a tensor; matrices (out, in) lie in memory by input, as the kernels read them."""
    plain = np.array(value)
    tensor = torch.from_numpy(plain).to(dtype)
    return tensor.t().contiguous().t() if tensor.dim() == 2 else tensor


def _free_name(name: str) -> str:
    """A name that hides no attribute of `nn.Module`."""
    return f"{name}_" if hasattr(nn.Module, name) or name in ("training",) or name.startswith("_") else name
