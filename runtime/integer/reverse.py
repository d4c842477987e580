"""One population of an integer network, its columns in reverse; the equations are those of `backward`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.integer.network import LARGEST_MEMBRANE, IntegerPopulation
from ...ir.nodes import Array
from .. import jit
from ..arenas import empty
from ..clock.surrogates import Surrogate
from ..threads import run_tasks
from .kernels import HOSTS, THREADS

__all__ = ["Reverse", "reverse_source"]

_MOST = float(LARGEST_MEMBRANE)
"""Where a membrane is clipped."""
_REALS = {torch.float32: "float", torch.float64: "double"}
_FIELDS: jit.Fields = (
    *(("int64_t", name, 0) for name in (
        "tasks", "first", "last", "steps", "batch", "n", "latency", "spikes_column", "spikes_sample", "back_column",
        "back_sample", "shown_column", "shown_sample")),
    *(("double", name, 0) for name in ("alpha", "beta", "threshold", "most", "sharpness")),
    *(("const int32_t *", name, 0) for name in ("u", "v")), ("const uint8_t *", "fired", 0),
    *(("const real *", name, 0) for name in ("bias", "start", "inverse", "g_spikes", "g_back", "g_shown")),
    *(("real *", name, 0) for name in ("current", "membrane", "constant", "drive")),
)


@functools.cache
def reverse_source(machine: str, dtype: torch.dtype, surrogate: str, detach: bool, spiking: bool) -> str:
    """The text of the kernel for one kind of population."""
    return jit.render("integer_backward.jinja", machine=machine, real=_REALS[dtype], lanes=1, surrogate=surrogate,
                      detach=detach, spiking=spiking, fields=jit.structure(_FIELDS))


class Reverse:
    """`u`, `v`, `fired` (batch, columns, n) as they were recorded; `latency`, `steps`: the columns of the model, which
    begin at `latency` and are run through; gradients, in units of V, of the loss with respect to `spikes` and
    `membrane` (steps, batch, n) where it has any. `drive` (columns, batch, n): gradients with respect to what
    arrives."""

    def __init__(self, population: IntegerPopulation, u: Tensor, v: Tensor, fired: Tensor, scale: Array, latency: int,
                 steps: int, spiking: bool, surrogate: Surrogate, spikes: Tensor | None, membrane: Tensor | None,
                 dtype: torch.dtype) -> None:
        batch, columns, n = u.shape
        self.columns = range(latency, latency + steps)
        self._dtype, self._device = dtype, u.device
        self._on_host = u.device.type in HOSTS
        self._text = reverse_source("c" if self._on_host else "cuda", dtype, surrogate.name, surrogate.detach_reset,
                                    spiking)
        self.drive = empty((columns, batch, n), dtype, u.device)
        self.drive[:latency] = 0
        self.drive[latency + steps:] = 0
        self._constant = torch.zeros((batch, n), dtype=dtype, device=u.device)
        self._arguments = jit.arguments_type(_FIELDS)(
            tasks=batch if self._on_host else batch * n, steps=columns, batch=batch, n=n, latency=latency,
            alpha=(4095 - population.du) / 4096, beta=(4096 - population.dv) / 4096,
            threshold=float(population.threshold << 6), most=_MOST, sharpness=surrogate.sharpness)
        self._held: list[Tensor] = []
        bias = np.zeros(n) if population.bias is None else population.bias * 2.0**population.bias_exponent
        start = np.zeros(n) if population.v0 is None else population.v0
        self._point(u=u.contiguous(), v=v.contiguous(), fired=fired.contiguous(), bias=self._real(bias),
                    start=self._real(start), inverse=self._real(1 / scale), drive=self.drive, constant=self._constant,
                    current=torch.zeros_like(self._constant), membrane=torch.zeros_like(self._constant))
        self._nothing = torch.zeros(n, dtype=dtype, device=u.device).expand(1, 1, n)
        self._given("spikes", spikes)
        self._given("shown", membrane)
        self.feed(None)

    def feed(self, back: Tensor | None) -> None:
        """Takes the gradients of the spikes by what they arrive at, (columns, batch, n); they may still change in
        columns that are not run yet."""
        self._given("back", back)

    def run(self, columns: range) -> None:
        """Runs through columns of the chip, from the last to the first; columns after them have been."""
        if not len(columns) or not self._arguments.n:
            return
        self._arguments.first, self._arguments.last = columns.start, columns.stop
        if self._on_host:
            run_tasks(_library(self._text).reverse, self._arguments, self._arguments.tasks)
            return
        from .. import gpu

        blocks = max(1, -(-self._arguments.tasks // THREADS))
        gpu.launch(self._text, "reverse", (blocks, 1), THREADS, self._arguments, self._device)

    @property
    def constant(self) -> Tensor:
        """(n,): the gradient with respect to what every column adds."""
        return self._constant.sum(0)

    def _given(self, name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            tensor = self._nothing
        elif tensor.stride(2) != 1 and tensor.shape[2] > 1:
            tensor = tensor.contiguous()
        first, second = (0, 0) if tensor is self._nothing else tensor.stride()[:2]
        setattr(self._arguments, f"{name}_column", first)
        setattr(self._arguments, f"{name}_sample", second)
        self._point(**{f"g_{name}": tensor})

    def _real(self, values: Any) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float64)).to(self._device, self._dtype)

    def _point(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            setattr(self._arguments, name, tensor.data_ptr())
            self._held.append(tensor)


@functools.cache
def _library(text: str) -> Any:
    return jit.compile_c(text)
