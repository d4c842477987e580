"""One run of a system of graded synapses, and the way back through it.

Forward, blocks of samples go on by chunks of attempts. Of each chunk stay its first state and, for each attempt, the
length of the step and where it stood: so memory grows by some 40 bytes an attempt and sample, and the states come in
between, one for each chunk. Backward, a chunk is integrated once more from its first state, at the recorded lengths,
and gone back through: the gradient is that of the steps that were taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...ir.diagnostics import Diagnostics
from .. import jit
from ..threads import run_tasks
from .kernels import FIELDS, LANES, attempts_of, graded_source

__all__ = ["Course", "Stimulus", "System", "integrate"]

_ARGS = jit.arguments_type(FIELDS)
_MOST = 20_000
"""Attempts between two instants at which something happens: a course that needs more does not come to an end."""
_FIRST = 0.05
"""The first step, of the shortest time constant."""


@dataclass(frozen=True, slots=True)
class System:
    """Neurons as numbers, float64, those on a circle first: `recurrent` (n, n) or None, `tau`, `tau_syn`, `zone` (n,),
    `jumps` (channels, n) what one impulse of a channel moves a membrane by, times tau. All but `circles` may ask for
    gradients."""

    circles: int
    recurrent: Tensor | None
    tau: Tensor
    tau_syn: Tensor
    zone: Tensor
    jumps: Tensor

    @property
    def n(self) -> int:
        return len(self.tau)


@dataclass(frozen=True, slots=True)
class Stimulus:
    """`drive` (batch, samples, n) at 0, dt, 2 dt, …; impulses by sample: `offsets` (batch + 1,), `arrivals` seconds,
    `columns`."""

    drive: Tensor
    dt: float
    offsets: Tensor
    arrivals: Tensor
    columns: Tensor


@dataclass(slots=True)
class _Chunk:
    """A chunk of attempts: the state before it (blocks, 2, padded, lanes), and of each attempt (blocks, attempts,
    lanes) its length, where in its interval between samples it began and which that is, the sample that it landed on or
    -1, and the impulses there (first, count)."""

    state: Tensor
    lengths: Tensor
    begins: Tensor
    intervals: Tensor
    landed: Tensor
    struck: Tensor

    def addresses(self) -> dict[str, int]:
        names = ("lengths", "begins", "intervals", "landed", "struck")
        return {name: getattr(self, name).data_ptr() for name in names}


@dataclass(slots=True)
class Course:
    """What was done: `currents` and, where asked for, `membranes` (from the middle of the gate), (batch, samples, n);
    `passages`: (sample, neuron, time) tensors; `last`: x and q at the end, (batch, n) each; `steps`: of all samples."""

    currents: Tensor
    membranes: Tensor | None
    passages: tuple[Tensor, Tensor, Tensor]
    last: tuple[Tensor, Tensor]
    steps: int
    chunks: list[_Chunk] = field(default_factory=list)


def integrate(system: System, stimulus: Stimulus, x: Tensor, q: Tensor, tolerance: float, neurons: list[str],
              membranes: bool = False) -> tuple[Tensor, Course]:
    """The currents, differentiable with respect to everything that asks for gradients, and the course. `x`, `q`:
    (batch, n), the state at 0. `neurons`: names for diagnostics."""
    course: list[Course] = []
    recurrent = system.recurrent if system.recurrent is not None else torch.zeros(0, 0, dtype=torch.float64)
    currents: Tensor = _Integration.apply(
        recurrent, stimulus.drive, system.tau, system.tau_syn, system.zone, system.jumps, x, q, system.circles,
        stimulus, tolerance, membranes, neurons, course)
    return currents, course[0]


class _Integration(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recurrent: Tensor, drive: Tensor, tau: Tensor, tau_syn: Tensor, zone: Tensor, jumps: Tensor,
                x: Tensor, q: Tensor, circles: int, stimulus: Stimulus, tolerance: float, membranes: bool,
                neurons: list[str], course: list[Course]) -> Tensor:
        run = _Run(recurrent, drive, tau, tau_syn, zone, jumps, circles, stimulus, tolerance)
        done = run.forward(x, q, membranes, keep=any(ctx.needs_input_grad), names=neurons)
        ctx.run, ctx.chunks = run, done.chunks
        course.append(done)
        return done.currents

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        return (*ctx.run.backward(ctx.chunks, slopes), *(None,) * 6)


class _Run:
    """Arrays in the form of the kernel."""

    def __init__(self, recurrent: Tensor, drive: Tensor, tau: Tensor, tau_syn: Tensor, zone: Tensor, jumps: Tensor,
                 circles: int, stimulus: Stimulus, tolerance: float) -> None:
        self.n, self.batch, self.samples = len(tau), drive.shape[0], drive.shape[1]
        self.padded, self.blocks = -(-self.n // 8) * 8, -(-self.batch // LANES)
        self.attempts = attempts_of(self.n)
        self.kernel = jit.compile_c(graded_source(self.attempts))
        self.channels = len(jumps)
        self.dt, self.shortest = stimulus.dt, float(torch.minimum(tau, tau_syn).min())
        self.held = {
            "tau": tau.contiguous(), "tau_syn": tau_syn.contiguous(), "zone": zone.contiguous(),
            "drive": drive.contiguous(), "jumps": jumps.contiguous(), "offsets": stimulus.offsets,
            "arrivals": stimulus.arrivals, "columns": stimulus.columns,
        }
        if recurrent.numel():
            self.held |= {"weight": self._packed(recurrent), "transposed": self._packed(recurrent.t())}
        self.numbers = {"n": self.n, "padded": self.padded, "circles": circles, "batch": self.batch,
                        "samples": self.samples, "channels": self.channels, "recurrent": int(bool(recurrent.numel())),
                        "most": _MOST, "capacity": self.attempts * self.n, "dt": self.dt, "tolerance": tolerance}

    def _packed(self, matrix: Tensor) -> Tensor:
        """Rows in groups of 8: (groups, columns, 8)."""
        whole = torch.nn.functional.pad(matrix, (0, 0, 0, self.padded - self.n))
        return whole.reshape(self.padded // 8, 8, self.n).transpose(1, 2).contiguous()

    def _lanes(self, rows: Tensor) -> Tensor:
        """(batch, n) -> (blocks, padded, lanes)."""
        whole = torch.nn.functional.pad(rows, (0, self.padded - self.n, 0, self.blocks * LANES - self.batch))
        return whole.reshape(self.blocks, LANES, self.padded).transpose(1, 2)

    def _rows(self, lanes: Tensor) -> Tensor:
        """The reverse."""
        return lanes.transpose(1, 2).reshape(self.blocks * LANES, self.padded)[:self.batch, :self.n].contiguous()

    def _call(self, entry: str, **arrays: Tensor | int) -> None:
        pointers = {name: each.data_ptr() if isinstance(each, Tensor) else each
                    for name, each in {**self.held, **arrays}.items()}
        run_tasks(getattr(self.kernel, entry), _ARGS(**self.numbers, **pointers), self.blocks)

    def forward(self, x: Tensor, q: Tensor, membranes: bool, keep: bool, names: list[str]) -> Course:
        lanes, attempts, whole = (self.blocks, LANES), (self.blocks, self.attempts, LANES), torch.int64
        state = torch.stack([self._lanes(x), self._lanes(q)], 1).contiguous()
        now = {
            "state": state, "time": torch.zeros(lanes, dtype=torch.float64),
            "control": torch.full(lanes, min(_FIRST * self.shortest, self.dt), dtype=torch.float64),
            "next": torch.zeros(lanes, dtype=whole), "since": torch.zeros(lanes, dtype=whole),
            "event": torch.nn.functional.pad(self.held["offsets"][:-1], (0, self.blocks * LANES - self.batch)),
            "running": torch.zeros(self.blocks, dtype=whole), "counts": torch.zeros(self.batch, dtype=whole),
            "faults": torch.zeros(self.batch, dtype=whole),
            "currents": torch.zeros(self.batch, self.samples, self.n, dtype=torch.float64),
            "passed_at": torch.empty(self.batch, self.attempts * self.n, dtype=torch.float64),
            "passed": torch.empty(self.batch, self.attempts * self.n, dtype=torch.int32),
        }
        if membranes:
            now["membranes"] = torch.zeros_like(now["currents"])
        done = Course(now["currents"], now.get("membranes"), _NOTHING, (x, q), 0)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        while True:
            chunk = _Chunk(
                state.clone() if keep else state, torch.zeros(attempts, dtype=torch.float64),
                torch.zeros(attempts, dtype=torch.float64), torch.zeros(attempts, dtype=torch.int32),
                torch.full(attempts, -1, dtype=torch.int32), torch.zeros(*attempts, 2, dtype=torch.int32))
            now["counts"].zero_()
            self._call("play", **now, **chunk.addresses())
            found.append(_passages(now["counts"], now["passed_at"], now["passed"]))
            done.steps += int(torch.count_nonzero(chunk.lengths))
            if keep:
                done.chunks.append(chunk)
            if not bool(now["running"].any()):
                break
        self._refuse(now, names)
        done.passages = tuple(torch.cat(each) for each in zip(*found, strict=True))  # type: ignore[assignment]
        done.last = self._rows(state[:, 0]), self._rows(state[:, 1])
        return done

    def _refuse(self, now: Mapping[str, Tensor], names: list[str]) -> None:
        faults = Diagnostics()
        for sample in torch.nonzero(now["faults"]).reshape(-1).tolist()[:3]:
            time = float(now["time"].reshape(-1)[sample])
            faults.add("SC464", "the integration does not come to an end: something changes too fast for steps",
                       node=names[int(now["faults"][sample]) - 1], value=f"sample {sample}, after t = {time:g} s",
                       limit=f"{_MOST:,} steps from one sample of the input to the next",
                       remedy="Check the sizes of weights and inputs, or allow a larger tolerance.")
        faults.raise_if_errors()

    def backward(self, chunks: list[_Chunk], slopes: Tensor) -> tuple[Tensor | None, ...]:
        lanes, wide = torch.zeros(self.blocks, self.n, LANES, dtype=torch.float64), torch.float64
        into = {
            "adjoint": torch.zeros(self.blocks, 2, self.padded, LANES, dtype=wide),
            "to_drive": torch.zeros(self.batch, self.samples, self.n, dtype=wide),
            "to_weight": torch.zeros(self.blocks, self.n, self.n, dtype=wide),
            "to_tau": lanes, "to_syn": torch.zeros_like(lanes), "to_zone": torch.zeros_like(lanes),
            "to_jumps": torch.zeros(self.blocks, self.channels, self.n, dtype=wide),
            "to_currents": slopes.to(wide).contiguous(),
        }
        for chunk in reversed(chunks):
            self._call("play_back", **into, state=chunk.state, **chunk.addresses())
        recurrent = into["to_weight"].sum(0) if self.numbers["recurrent"] else None
        return (recurrent, into["to_drive"], into["to_tau"].sum((0, 2)), into["to_syn"].sum((0, 2)),
                into["to_zone"].sum((0, 2)), into["to_jumps"].sum(0), self._rows(into["adjoint"][:, 0]),
                self._rows(into["adjoint"][:, 1]))


_NOTHING = (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64))


def _passages(counts: Tensor, times: Tensor, neurons: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(sample, neuron, time) of what a chunk noted."""
    if not bool(counts.any()):
        return _NOTHING
    most = int(counts.max())
    sample, place = torch.nonzero(torch.arange(most) < counts[:, None], as_tuple=True)
    return sample, neurons[sample, place].to(torch.int64), times[sample, place]
