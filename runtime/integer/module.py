"""An integer program as a `torch.nn.Module`: the forward pass is the chip's arithmetic, bit for bit, the backward pass
that of a surrogate at the states that it went through. Training with it is quantisation-aware training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.derived import evaluate, expr_of, leaves
from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.integer.network import IntegerConv, IntegerProjection, IntegerSparse
from ...ir.network import Network
from ...ir.nodes import Array
from ..clock.outputs import ClockOutputs
from ..clock.surrogates import Surrogate
from ..graph_module import GraphModule
from .activity import IntegerActivity
from .backward import Chip, Measured, backward
from .engine import IntegerEngine
from .program import IntegerProgram, Scaled

__all__ = ["IntegerModule"]

MOST_STATES = 1 << 33
"""Bytes of u and v that one call may record."""


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """A chip, and the weights and biases that it was set to, float64."""

    chip: Chip
    scaled: Scaled
    values: Mapping[tuple[str, str], Tensor]

    def is_at(self, values: Mapping[tuple[str, str], Tensor], dtype: torch.dtype) -> bool:
        """Whether it was set to these. Values are compared: a write through `.data` leaves no other trace."""
        return self.chip.dtype is dtype and all(
            self.values[key].device == each.device and torch.equal(self.values[key], each)
            for key, each in values.items())


class IntegerModule(GraphModule):
    """A network as a `torch.nn.Module`; `LoihiProgram.module` makes it, and a call gives `ClockOutputs`. Its parameters
    are those of the model graph, as `GraphModule` says: real numbers, of which each call makes the core's whole ones on
    the program's scales. Gradients pass through the rounding as if it were not there, and not through weights and
    biases that are cut off. What is folded into weights and biases trains; all else, a time constant or a threshold, is
    part of the scales.

    Outputs are in the columns of the model: what the chip does later than the model, its latency, is taken off.

    Raises:
        BadInputError: `dtype` is not one of the engine, or `train` names no parameter (SC412), or one that does not
            train here (SC480).
    """

    _program: IntegerProgram
    _setting: _Setting | None
    surrogate: Surrogate

    def __init__(self, program: IntegerProgram, surrogate: Surrogate, dtype: torch.dtype = torch.float32,
                 train: Iterable[str] | None = None) -> None:
        super().__init__(program.graph, dtype, train)
        self._program, self._setting, self.surrogate = program, None, surrogate
        self._arrays = _arrays_of(program.split.network)
        self._used = {(leaf.node, leaf.param) for array in self._arrays.values() for leaf in leaves(expr_of(array))}
        self._check_fixed(self._by_node())

    def forward(self, events: Any, duration: float | None = None, state: None = None, dt: float | None = None,
                record: Iterable[str] = ()) -> ClockOutputs:
        """Runs a batch on the emulator. `events`: as for `LoihiProgram.run`. `record`: spiking nodes whose membrane
        will be asked for. `state`: there is none (SC403).

        Raises:
            BadInputError: a parameter is NaN, infinite or out of its range (SC103, SC104), or differs from the
                program's though it does not train here (SC480); the states of the batch take more memory than a call
                may (SC481); or as `LoihiProgram.run`.
        """
        if state is not None:
            raise BadInputError(Diagnostic("SC403", "a stream does not go on here: every call starts anew",
                                           value=type(state).__name__, remedy="Leave out state, or use run."))
        parameters = self._legal_by_node()
        self._check_fixed(parameters)
        values = self._values(parameters)
        setting = self._set_to(values)
        rasters, steps, batch = self._program.inputs.rasters(events, duration, dt)
        training = torch.is_grad_enabled() and any(each.requires_grad for each in values.values())
        shown = self._shown(record)
        measured = self._measured(setting.chip, rasters, steps, batch, setting.chip.network.populations if training
                                  else shown)
        spiking = [name for name in setting.chip.network.populations if name in setting.chip.spiking]
        found = _Chain.apply(_Plan(self.surrogate, setting, measured, tuple(values), spiking, shown), *values.values())
        fired = {name: measured.of_model(measured.result.spikes[name], name) for name in spiking}
        return ClockOutputs(IntegerActivity(
            self._program.network.outputs, self._spiking, self._program.split.parts, steps, self._program.grid.dt,
            fired, dict(zip(spiking, found, strict=False)), dict(zip(shown, found[len(spiking):], strict=True))))

    @property
    def _spiking(self) -> dict[str, bool]:
        """By population of the model, whether it spikes."""
        return {name: each.spiking for name, each in self._program.network.populations.items()}

    def _shown(self, record: Iterable[str]) -> list[str]:
        """Parts of populations whose membrane is wanted: of readouts, and of the nodes asked for."""
        network, parts = self._program.network, self._program.split.parts
        nodes = {network.outputs.get(name, name) for name in record}
        return [part for name, each in network.populations.items() if not each.spiking or name in nodes
                for part in parts.get(name, (name,))]

    def _measured(self, chip: Chip, rasters: Mapping[str, Array], steps: int, batch: int,
                  states: Iterable[str]) -> Measured:
        columns, recorded = steps + chip.late, list(states)
        size = 8 * batch * columns * sum(chip.network.size(name) for name in recorded)
        if size > MOST_STATES:
            raise BadInputError(Diagnostic(
                "SC481", "the states of a batch take more memory than one call may", value=f"{size / 2**30:.1f} GiB",
                limit=f"{MOST_STATES / 2**30:g} GiB", remedy="Take smaller batches, or fewer columns."))
        return Measured(chip, rasters, chip.engine.run(rasters, columns, states=recorded), steps, batch)

    def _values(self, parameters: Mapping[tuple[str, str], Tensor]) -> dict[tuple[str, str], Tensor]:
        """Weights and biases of the network as the parameters make them, float64."""
        wide = {key: parameters[key].double() for key in self._used}
        device = next((each.device for each in parameters.values()), torch.device("cpu"))
        return {key: evaluate(expr_of(array), wide, lambda constant: torch.from_numpy(np.array(constant)).to(
            device, torch.float64)) for key, array in self._arrays.items()}

    def _set_to(self, values: Mapping[tuple[str, str], Tensor]) -> _Setting:
        """The chip with these weights and biases; the last one is kept."""
        now, dtype = {key: each.detach() for key, each in values.items()}, self._common_dtype()
        kept = self._setting
        if kept is None or not kept.is_at(now, dtype):
            network = self._program.split.network
            numbers = {key: each.cpu().numpy() for key, each in now.items()}
            scaled = self._program.requantised(replace(
                network,
                populations={name: replace(each, bias=numbers[_BIAS, name])
                             for name, each in network.populations.items()},
                projections=tuple(replace(each, connection=replace(each.connection, weight=numbers[_WEIGHT, each.name]))
                                  for each in network.projections)))
            device = next((each.device for each in now.values()), torch.device("cpu"))
            chip = Chip(IntegerEngine(scaled.network, device),
                        {name: each.scale for name, each in scaled.populations.items()},
                        {name: each.latency for name, each in scaled.populations.items()},
                        frozenset(name for name, each in network.populations.items() if each.spiking),
                        # No parameter is in a reset that is a spike of a neuron onto itself.
                        frozenset(each.name for each in network.projections
                                  if not leaves(expr_of(self._arrays[_WEIGHT, each.name]))), dtype, device)
            kept = self._setting = _Setting(chip, scaled, now)
        return kept

    def _check_fixed(self, parameters: Mapping[tuple[str, str], Tensor]) -> None:
        """Raises BadInputError where a parameter that does not train here is to, or has changed (SC480)."""
        faults = Diagnostics()
        for key, each in parameters.items():
            if key in self._used:
                continue
            before = self._held(*key, getattr(self._graph.nodes[key[0]], key[1]), each.dtype)
            if each.requires_grad:
                faults.add("SC480", "only weights, biases and what is folded into them train on a chip's arithmetic",
                           node=key[0], value=key[1], remedy="Train it on the target clock, then compile again.")
            elif not torch.equal(each.detach().cpu(), before):
                faults.add("SC480", "a parameter is not that of the program, whose scales depend on it", node=key[0],
                           value=key[1], remedy="Compile again: program.recompile(graph).module().")
        faults.raise_if_errors()

    def __deepcopy__(self, memo: dict[int, Any]) -> IntegerModule:
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        shared = {"_graph", "_program", "_arrays", "_setting"}
        twin.__dict__.update({key: value if key in shared else copy.deepcopy(value, memo)
                              for key, value in self.__dict__.items()})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": None, "_setting": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._arrays = _arrays_of(self._program.split.network)


_WEIGHT, _BIAS = "weight", "bias"


def _arrays_of(network: Network) -> dict[tuple[str, str], Array]:
    """What trains of a network: (kind, projection or population) -> the array."""
    return {**{(_WEIGHT, each.name): each.connection.weight for each in network.projections},
            **{(_BIAS, name): each.bias for name, each in network.populations.items()}}


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """One call of the network: all that torch need not know of. `keys`: of the values; `spiking`, `shown`: populations
    whose spikes, and whose membranes, it gives."""

    surrogate: Surrogate
    setting: _Setting
    measured: Measured
    keys: tuple[tuple[str, str], ...]
    spiking: list[str]
    shown: list[str]


class _Chain(torch.autograd.Function):
    """Weights and biases -> carriers of the spikes' gradients, and membranes, (steps, batch, n) by population."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.plan, measured, scaled = plan, plan.measured, plan.setting.scaled.populations
        chip = measured.chip
        none = torch.zeros(1, dtype=chip.dtype, device=chip.device)
        carriers = [none.expand(measured.steps, measured.batch, chip.network.size(name)) for name in plan.spiking]
        membranes = []
        for name in plan.shown:
            core = measured.of_model(measured.result.v[name], name)
            scale, offset = (torch.from_numpy(np.array(each)).to(chip.device)
                             for each in (scaled[name].scale, scaled[name].offset))
            membranes.append((core / scale + offset).to(chip.dtype))
        return (*carriers, *membranes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        plan: _Plan = ctx.plan
        count = len(plan.spiking)
        spikes = {name: each for name, each in zip(plan.spiking, given[:count], strict=True) if each is not None}
        membranes = {name: each for name, each in zip(plan.shown, given[count:], strict=True) if each is not None}
        wanted = [key for key, need in zip(plan.keys, ctx.needs_input_grad[1:], strict=True) if need]
        found = backward(plan.measured, plan.surrogate, spikes, membranes,
                         *(frozenset(name for kind, name in wanted if kind == each) for each in (_WEIGHT, _BIAS)))
        gradients = {**{(_WEIGHT, name): _of_weights(plan.setting, name, each) for name, each in found.weights.items()},
                     **{(_BIAS, name): _of_biases(plan.setting, name, each) for name, each in found.biases.items()}}
        return (None, *(gradients.get(key) for key in plan.keys))


def _of_weights(setting: _Setting, name: str, gradient: Tensor) -> Tensor:
    """With respect to the weights of a projection, from that with respect to V an arriving spike: none where they are
    cut off. Writes over `gradient`."""
    projection = next(each for each in setting.chip.network.projections if each.name == name)
    record, values = setting.scaled.projections[name], setting.values[_WEIGHT, name]

    def each(of_target: Array) -> Tensor:
        return torch.from_numpy(_each_weight(projection, of_target)).to(gradient.device)

    gradient *= each(64 * record.factor / setting.chip.scale[projection.target]).to(gradient.dtype)
    if record.saturated:
        low, high = (each(bound) for bound in _held_range(projection, record.factor))
        gradient.masked_fill_((values < low) | (values > high), 0)
    return gradient.double()


def _held_range(projection: IntegerProjection, factor: Array) -> tuple[Array, Array]:
    """Lowest and highest weight onto each target that are rounded, and not cut off, (n_target,)."""
    step = 1 << (9 if projection.sign == "mixed" else 8) - projection.weight_bits
    most = 256 - step
    low, high = {"mixed": (-256, most), "excitatory": (0, most), "inhibitory": (-most, 0)}[projection.sign]
    unit = np.where(factor == 0, np.inf, 2.0**projection.exponent / np.where(factor == 0, 1, factor))
    ends = (low - step / 2) * unit, (high + step / 2) * unit
    return np.minimum(*ends), np.maximum(*ends)


def _of_biases(setting: _Setting, name: str, gradient: Tensor) -> Tensor:
    by_bias = torch.from_numpy(np.array(setting.scaled.populations[name].by_bias))
    return (gradient * by_bias.to(gradient)).double()


def _each_weight(projection: IntegerProjection, values: Array) -> Array:
    """What belongs to the target of each weight, in a form that broadcasts over the weights."""
    connection = projection.connection
    if isinstance(connection, IntegerSparse):
        return np.repeat(values, np.diff(connection.indptr))
    if isinstance(connection, IntegerConv):
        return np.ascontiguousarray(values.reshape(connection.output_shape)[:, :1, :1, None])
    return np.ascontiguousarray(values[:, None])
