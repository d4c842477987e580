"""The event engine on a CUDA device: one thread a neuron where a network is swept, one thread a sample where it loops.

Compiled by NVRTC and checked on the host (tests/test_cuda_text.py runs the same text there); not yet run on a GPU.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from . import nvrtc
from .device_events import gather_events, sort_records, sum_origins
from .loop import CALLS as LOOP_CALLS
from .loop import LoopCall
from .loop_kernels import loop_source
from .sweep import CALLS as SWEEP_CALLS
from .sweep import SweepCall
from .sweep_kernels import sweep_source

__all__ = ["DeviceLoop", "DeviceSweep", "launch"]

_sweep_text, _loop_text = functools.cache(sweep_source), functools.cache(loop_source)
_THREADS = 128
_GRADIENT_NUMBERS = 1 << 28
"""How many numbers the weight gradients of the samples may take before they are summed sample by sample."""


def launch(source: str, entry: str, grid: tuple[int, int], threads: int, arguments: ctypes.Structure,
           device: torch.device) -> None:
    """Runs a kernel of CUDA text on torch's current stream. The structure is copied, what it points to must live on.

    Raises:
        KernelError: a package is missing, or the text does not compile (SC430, SC431).
    """
    from cuda.core import LaunchConfig
    from cuda.core import launch as start

    index = torch.cuda.current_device() if device.index is None else device.index
    held = torch.frombuffer(bytearray(arguments), dtype=torch.uint8).to(device)
    start(_Stream(device), LaunchConfig(grid=grid, block=threads), _kernel(source, entry, index), held.data_ptr())


class _Stream:
    """Torch's current stream, as `cuda.core` asks for one."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._stream.cuda_stream


@functools.cache
def _kernel(source: str, entry: str, index: int) -> Any:
    from cuda.core import Device, ObjectCode

    code = nvrtc.compile_cuda(source, "sm_{}{}".format(*torch.cuda.get_device_capability(index)))
    Device(index).set_current()
    return ObjectCode.from_cubin(code).get_kernel(entry)


class DeviceSweep(SweepCall):
    """A sweep by CUDA kernels: a thread walks the events of one neuron and sample."""

    run_kernel = staticmethod(launch)

    def prepare(self) -> int:
        sweep = self.sweep
        self.text = _sweep_text("cuda", self.dtype, 1, sweep.kind, sweep.spiking, self.uniform, self.holds)
        return 1

    def gather(self) -> None:
        delays = {number: self.buffers[f"delay{number}"] for number in range(len(self.sources))
                  if f"delay{number}" in self.buffers}
        events = gather_events(self.sources, delays, self.sweep.box, self.duration, self.batch, self.probe_times,
                               self.device)
        total = len(events["event_times"])
        self.set(**events, events=total, longest=int(events["event_counts"].max()) if self.batch else 0)
        if self.uniform:
            size = self.dtype.itemsize * total
            self.carve((self.arguments,), event_em=size, event_es=size, event_k=size, event_bound=size)

    def record_counts(self) -> Tensor:
        return self.buffers["record_counts"]

    def forward(self) -> Tensor:
        sweep, batch, device = self.sweep, self.batch, self.device
        segments = batch * self.blocks
        counts = torch.zeros(segments, dtype=torch.int64, device=device)
        truncated = torch.zeros(segments, dtype=torch.uint8, device=device)
        self.set(record_counts=counts, truncated=truncated)
        while True:
            capacity = sweep._capacity.setdefault(1, 8)
            slots, real = segments * capacity, self.dtype.itemsize
            self.arguments.capacity = capacity
            self.carve((self.arguments,), record_times=8 * slots, record_neurons=4 * slots, record_events=4 * slots,
                       record_kinds=slots, record_j=real * slots, record_u=real * slots)
            self.sweep_forward()
            most = int(counts.max()) if segments else 0
            if most <= capacity:
                break
            sweep._capacity[1] = most + most // 4
        self.truncated = bool(truncated.any())
        records = {"record_kinds": torch.uint8, "record_times": torch.float64, "record_neurons": torch.int32}
        kinds, times, neurons = (self.view(name, dtype).view(segments, capacity) for name, dtype in records.items())
        found, self.spike_indices, self.spike_offsets, ranks = sort_records(counts, kinds, times, neurons, batch)
        self.set(record_ranks=ranks)
        return found

    def sweep_forward(self) -> None:
        if self.batch:
            if self.uniform:
                self.run_kernel(self.text, "prepare", (self.batch, 1), _THREADS, self.arguments, self.device)
            self._over_neurons("forward", self.batch)

    def sweep_backward(self) -> None:
        if not self.batch:
            return
        if self.arguments.want_rates:
            states = 3 if self.sweep.kind == "c" else 2
            numbers = self.arguments.chunks * self.blocks * self.arguments.longest * states
            self.set(traces=torch.empty(numbers, dtype=self.dtype, device=self.device))
        self._over_neurons("backward", self.arguments.chunks)

    def sums(self, chunks: int, rows: int) -> Tensor:
        return torch.zeros((chunks, rows, self.sweep.n), dtype=self.dtype, device=self.device)

    def chunks(self) -> int:
        """One for each sample, unless their weight gradients outgrow the memory: a function of the problem alone."""
        return max(1, min(self.batch, _GRADIENT_NUMBERS // max(1, sum(self.sweep.rows) * self.sweep.n)))

    def scatter(self) -> Tensor:
        return sum_origins(self.buffers["g_events"], self.buffers["event_sources"], self.buffers["event_origins"],
                           sum(len(source.times) for source in self.sources))

    def _over_neurons(self, entry: str, items: int) -> None:
        threads = min(_THREADS, -(-self.blocks // 32) * 32)
        self.run_kernel(self.text, entry, (items, -(-self.blocks // threads)), threads, self.arguments, self.device)


class DeviceLoop(LoopCall):
    """An event loop by CUDA kernels: a thread runs one sample, its working memory in the device's. The sizes of records
    are asked of the host's kernels, whose layout is the same."""

    run_kernel = staticmethod(launch)

    def prepare(self) -> None:
        self.text = _loop_text("cuda", self.dtype, self.dense)

    def run_workers(self, entry: str, workers: int) -> None:
        if not workers:
            return
        size = -(-self.arguments.scratch_bytes // 64) * 64
        self.set(scratch=torch.empty(size * workers, dtype=torch.uint8, device=self.device), scratch_bytes=size)
        self.run_kernel(self.text, entry, (-(-workers // 32), 1), 32, self.arguments, self.device)


SWEEP_CALLS["cuda"], LOOP_CALLS["cuda"] = DeviceSweep, DeviceLoop
