"""The kernels of integer.jinja: their structures, and how they are started on the host's cores or on a GPU."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import jit
from ..threads import run_tasks

__all__ = [
    "ARGS", "HOSTS", "MOST_LANES", "PATH", "POPULATION", "THREADS", "Call", "blocks_of", "integer_source", "lanes_of",
]

MOST_LANES = 256
"""Neurons of a block: eight registers of 64 bytes."""
_REGISTER = 32
_TOGETHER = 4
"""Samples of a task."""
THREADS = 128
"""Of a block on a GPU."""
HOSTS = frozenset({"cpu"})
"""Kinds of devices whose kernels are C's."""


def _fields(whole: str, **pointers: str) -> tuple[tuple[str, str, int], ...]:
    return (*(("int64_t", name, 0) for name in whole.split()),
            *((f"{kind} *", name, 0) for name, kind in pointers.items()))


_PATH = _fields(
    "kind source n columns n_table most exponent delay groups group_channels height width out_height out_width "
    "kernel_height kernel_width pad_top pad_left step_down step_right hole_down hole_right",
    begins="const int64_t", ends="const int64_t", indices="const int32_t", values="const int32_t",
    table="const int16_t", starts="const int64_t", places="const int32_t", drive="int32_t")
_POPULATION = _fields("n left_u left_v threshold", bias="const int32_t", own="const int32_t", drive="const int32_t",
                      u="int32_t", v="int32_t", spikes="uint8_t", u_shown="int32_t", v_shown="int32_t")
_ARGS = _fields("tasks steps batch chunks n_paths n_populations most", paths="const Path",
                populations="const Population", listed="int32_t", scratch="int32_t")
PATH, POPULATION, ARGS = (jit.arguments_type(each) for each in (_PATH, _POPULATION, _ARGS))


def lanes_of(n: int) -> int:
    """Neurons of a block: whole registers, in blocks of about equal size."""
    blocks = -(-n // MOST_LANES)
    return -(-n // (blocks * _REGISTER)) * _REGISTER


def blocks_of(n: int, lanes: int) -> int:
    return -(-n // lanes)


@functools.cache
def integer_source(machine: str, lanes: int) -> str:
    """The text of the kernels, for blocks of `lanes` neurons."""
    return jit.render("integer.jinja", machine=machine, lanes=lanes, together=_TOGETHER if machine == "c" else 1,
                      path_fields=jit.structure(_PATH), population_fields=jit.structure(_POPULATION),
                      fields=jit.structure(_ARGS))


@functools.cache
def _library(lanes: int) -> ctypes.CDLL:
    return jit.compile_c(integer_source("c", lanes))


class Call:
    """One call of a kernel: its arguments, and what keeps the memory they point to alive."""

    def __init__(self, device: torch.device, lanes: int, steps: int, batch: int) -> None:
        self.device, self.lanes = device, lanes
        self.on_host = device.type in HOSTS
        self.arguments = ARGS(steps=steps, batch=batch)
        self.held: list[Any] = []
        self.paths: list[jit.Arguments] = []
        self.populations: list[jit.Arguments] = []

    def add(self, kind: type[jit.Arguments], numbers: Mapping[str, int], tensors: Mapping[str, Tensor | None]) -> None:
        """Adds a path or a population."""
        item = kind(**numbers)
        self._point(item, tensors)
        (self.paths if kind is PATH else self.populations).append(item)

    def run(self, entry: str, tasks: int, **tensors: Tensor | None) -> None:
        """`tasks`: those of the host; `deliver` has one a column and sample on a GPU."""
        self._point(self.arguments, tensors)
        self.arguments.n_paths, self.arguments.n_populations = len(self.paths), len(self.populations)
        for name, items in (("paths", self.paths), ("populations", self.populations)):
            packed = torch.frombuffer(bytearray(b"".join(map(bytes, items)) or b"\0"), dtype=torch.uint8)
            self._point(self.arguments, {name: packed.to(self.device)})
        if self.on_host:
            run_tasks(getattr(_library(self.lanes), entry), self.arguments, tasks)
            return
        from .. import gpu

        self.arguments.tasks = tasks
        gpu.launch(integer_source("cuda", 1), entry, (max(1, -(-tasks // THREADS)), 1), THREADS, self.arguments,
                   self.device)

    def chunks(self) -> int:
        """Chunks of samples; notes them."""
        together = _TOGETHER if self.on_host else 1
        self.arguments.chunks = -(-int(self.arguments.batch) // together)
        return int(self.arguments.chunks)

    def _point(self, item: ctypes.Structure, tensors: Mapping[str, Tensor | None]) -> None:
        for name, tensor in tensors.items():
            setattr(item, name, 0 if tensor is None else tensor.data_ptr())
            self.held.append(tensor)
