"""Runs of the kernel that learns in continuous time: its arguments, its memory, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....ir.diagnostics import Diagnostics, UnsupportedError
from ....ir.learning.continuous import Continuous, phases_of
from ....ir.learning.noise import Spike
from ....ir.learning.rule import Phase
from ....ir.nodes import Array
from ...signals import Spikes
from ...threads import run_tasks
from .kernel import LearnArguments, learn_library, learn_source, scratch_bytes
from .net import EventNet
from .terms import Plan

__all__ = ["EventRun", "Shown"]

HOSTS = frozenset({"cpu"})
"""Types of devices where kernels are C."""
_MOST_CHUNKS = 16
_MOST_NUMBERS = 1 << 25
"""Of updates that wait for their sum."""
_LIMIT = 1 << 22
_HELD = 4096
_FAULTS = {
    2: ("more spikes than a sample may have", str(_LIMIT), "Lower the weights or the rate."),
    4: ("more errors within one interval than there is room for", str(_HELD), "Raise the errors' threshold."),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """Of a batch: counts and membranes (batch, n_out) of the output while nothing was injected, spikes (batch, n) by
    population, errors (batch,), what projections took, (n_source, n_target), and the share of it that is not zero."""

    counts: Array
    membranes: Array
    spikes: Mapping[str, Array]
    errors: Array
    taken: Mapping[str, Array]
    changed: Mapping[str, float]


class EventRun:
    """`weights` by projection are views of what the kernel reads."""

    def __init__(self, net: EventNet, continuous: Continuous, plan: Plan, rates: Mapping[str, Mapping[str, float]],
                 faults: Diagnostics, device: torch.device) -> None:
        self.net, self.continuous, self.plan, self.device = net, continuous, plan, device
        rule, error = continuous.rule, continuous.rule.error
        self.rule = rule
        self.inputs = tuple(name for name in net.links.sizes if name not in net.links.order)
        self.code = "none" if error is None else error.code
        self.spiking = error is not None and error.spikes and error.code != "reward"
        self.first = dict(zip((*self.inputs, *net.links.order), net.arrays["block_first"].tolist(), strict=False))
        self.place = {name: number for number, name in enumerate(net.links.order)}
        sizes = [net.weights[link.name].size for link in net.links.links]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.flat = np.concatenate([net.weights[link.name].reshape(-1) for link in net.links.links])
        self.at = {link.name: (int(start), net.weights[link.name].shape)
                   for link, start in zip(net.links.links, starts, strict=False)}
        self.weights = {name: self.flat[start:start + int(np.prod(shape))].reshape(shape)
                        for name, (start, shape) in self.at.items()}
        self.awake = phases_of(rule, False)
        self._constants: dict[str, Any] = dict(net.arrays)
        self._constants |= self._of_links(starts) | self._of_rule(rates, faults)

    # ---- what does not change ---------------------------------------------------------------------------------------
    def _of_links(self, starts: Array) -> dict[str, Tensor]:
        links = self.net.links
        blocks = {name: number for number, name in enumerate((*self.inputs, *links.order))}
        return {
            "link_block": torch.tensor([blocks[link.source] for link in links.links]),
            "link_target": torch.tensor([self.place[link.target] for link in links.links]),
            "link_plastic": torch.tensor([int(link.plastic) for link in links.links]),
            "link_at": torch.from_numpy(starts[:-1].copy()),
        }

    def _of_rule(self, rates: Mapping[str, Mapping[str, float]], faults: Diagnostics) -> dict[str, Tensor]:
        continuous, rule, names = self.continuous, self.rule, [phase.name for phase in self.awake]
        phases, links = len(self.awake), self.net.links.links
        found: dict[str, Any] = {}
        for kind in "xy":
            traces = [continuous.traces[name] for name in sorted(continuous.traces) if name[0] == kind]
            width = max(1, len(traces))
            rate, takes = np.zeros((len(links), width)), np.zeros((max(1, phases), width))
            coupling = np.zeros((len(links), max(1, phases), width))
            for k, trace in enumerate(traces):
                on = np.array([not trace.phases or name in trace.phases for name in names], dtype=float)
                if trace.of == "spikes":
                    takes[:phases, k] = trace.impulse * on
                for p, link in enumerate(links):
                    mine = rates.get(link.name)
                    if mine is None:
                        continue
                    rate[p, k] = mine[trace.name]
                    if trace.of != "spikes":
                        gap = mine[trace.name] - mine[trace.of]
                        if abs(gap) < 0.01 * max(mine[trace.name], mine[trace.of]):
                            faults.add("SC516", "a trace that follows one of the same time constant has no kernel",
                                       node=link.name, value=f"{trace.name} of {trace.of}",
                                       remedy="Let the two differ by more than 1 %, or use the target clock.")
                            gap = 1.0
                        coupling[p, :phases, k] = on * trace.impulse / rule.interval / gap
            found |= {f"rate_{kind}": rate, f"takes_{kind}": takes, f"coupling_{kind}": coupling}
        found["leaks"] = np.array([[continuous.leaks.get((tag, name), 0.0) for tag in "td"] for name in names])
        found["on_flow"] = np.array([[name in flow.phases for flow in continuous.flows] or [False] for name in names])
        found["on_act"] = np.array([[act.when == "sample" or name in act.phases for act in continuous.acts] or [False]
                                    for name in names])
        found["fastest"] = np.array([self._fastest(rates.get(link.name, {})) for link in links])
        return {name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)) for name, array in found.items()}

    def _fastest(self, rates: Mapping[str, float]) -> float:
        """The largest rate of an exponential in the frame of a projection."""
        leak = {tag: max((value for (name, _), value in self.continuous.leaks.items() if name == tag), default=0.0)
                for tag in "td"}
        of = {**rates, **leak, "e": self._dendrite_rate}
        flows = [sum(of.get(name, 0.0) for name in flow.product.variables) + leak.get(flow.variable, 0.0)
                 for flow in self.continuous.flows]
        return max([*rates.values(), *leak.values(), self._dendrite_rate, *flows], default=0.0) + 1e-9

    @property
    def _dendrite_rate(self) -> float:
        error = self.rule.error
        return 1.0 / error.dendrite_tau if error is not None and error.dendrite_tau else 0.0

    # ---- runs -------------------------------------------------------------------------------------------------------
    def sample(self, inputs: Mapping[str, Spikes], labels: Array | None, feedback: Mapping[str, Array], *,
               rate: float = 1.0, mean_reward: float = 0.0, online: bool = False) -> Shown:
        """Shows a batch. Without labels nothing is learnt."""
        times, sources, offsets = _merged(inputs, self.first)
        phases = self.awake
        answering = [phase for phase in phases if phase.inject == 0.0] or list(phases)
        if labels is None:
            phases = tuple(answering)
        return self._start(
            phases, times, sources, np.ones(len(times)), offsets, labels, feedback, rate=rate, mean_reward=mean_reward,
            online=int(online), answering=torch.tensor([int(phase in answering) for phase in phases]))

    def noise(self, noise: Sequence[Sequence[Spike]], name: str, phase: Phase) -> dict[str, Array]:
        """Spike counts (samples, n) of all populations above `name`, whose spikes are `noise`."""
        every = [(number, time, self.first[name] + neuron, sign) for number, spikes in enumerate(noise)
                 for time, _, neuron, sign in spikes]
        samples, times, sources, signs = np.array(every, dtype=np.float64).reshape(-1, 4).T
        offsets = np.searchsorted(samples, np.arange(len(noise) + 1))
        reached = self.net.links.downstream(name)
        shown = self._start(
            (phase,), times, sources.astype(np.int64), signs, offsets, None, {}, noise_from=self.place[name],
            awake=torch.tensor([int(each in reached) for each in self.net.links.order]),
            answering=torch.tensor([1]))
        return dict(shown.spikes)

    def _start(self, phases: Sequence[Phase], times: Array, sources: Array, signs: Array, offsets: Array,
               labels: Array | None, feedback: Mapping[str, Array], **settings: Any) -> Shown:
        links, error, rule = self.net.links, self.rule.error, self.rule
        batch, n = len(offsets) - 1, len(self._constants["a"])
        n_out, total = links.sizes[links.output], len(self.flat)
        learns = labels is not None
        chunks = max(1, min(batch, _MOST_CHUNKS, _MOST_NUMBERS // max(1, total)))
        flat = torch.from_numpy(self.flat).to(self.device)
        values: dict[str, Any] = dict(self._constants) | {
            "n": n, "inputs": len(self.inputs), "n_inputs": int(self._constants["block_first"][len(self.inputs)]),
            "populations": len(links.order), "n_links": len(links.links), "n_weights": total, "batch": batch,
            "chunks": chunks, "phases": len(phases), "n_out": n_out, "output": self.place[links.output],
            "learns": int(learns), "noise_from": -1, "limit": _LIMIT, "held_room": _HELD, "interval": rule.interval,
            "layered": int(rule.feedback is not None and rule.feedback.path == "layered"),
            "holds": int(error is not None and error.dendrite_tau is None), "dendrite_rate": self._dendrite_rate,
            "holds_back": int(bool((self._constants["refractory"] > 0).any())), "rate": 1.0,
            "steps": sum(phase.duration for phase in self.awake) / rule.interval,
            "scratch_bytes": scratch_bytes(self.plan, n, int(self._constants["block_first"][len(self.inputs)]),
                                           len(links.order), _HELD, [
                (links.sizes[link.source], links.sizes[link.target], link.plastic and learns) for link in links.links]),
            "durations": torch.tensor([phase.duration for phase in phases], dtype=torch.float64),
            "inject": torch.tensor([phase.inject * learns for phase in phases], dtype=torch.float64),
            "teaches": torch.tensor([int(phase.teach and error is not None) for phase in phases]),
            "awake": torch.ones(len(links.order), dtype=torch.int64),
            "times": torch.from_numpy(np.ascontiguousarray(times)), "signs": torch.from_numpy(np.ascontiguousarray(
                signs, dtype=np.float64)),
            "sources": torch.from_numpy(np.ascontiguousarray(sources)),
            "offsets": torch.from_numpy(offsets.astype(np.int64)),
            "labels": torch.from_numpy(np.zeros(batch, np.int64) if labels is None else labels), "weights": flat,
            "taken": torch.from_numpy(np.zeros((chunks if learns else 1, total if learns else 1))),
            "answers": torch.zeros((batch, n_out), dtype=torch.float64),
            "membranes": torch.zeros((batch, n_out), dtype=torch.float64),
            "errors": torch.zeros(batch, dtype=torch.float64),
            "spike_counts": torch.zeros((batch, n), dtype=torch.float64),
            "faults": torch.zeros(batch, dtype=torch.int64),
        }
        if error is not None:
            values |= {"start": error.start, "margin": error.margin, "spike_at": error.threshold, "high": error.high,
                       "low": error.low, "period": error.period}
        if rule.bounds is not None:
            values |= {"least": rule.bounds[0], "most": rule.bounds[1]}
        values |= self._of_feedback(feedback) | settings
        buffers = self._call(values, chunks if batch else 0)
        return self._shown(buffers, flat, chunks, learns)

    def _of_feedback(self, feedback: Mapping[str, Array]) -> dict[str, Tensor]:
        links = self.net.links
        dendrites = np.array([int(name == links.output or name in feedback) for name in links.order])
        at, of, parts, start = np.zeros(len(dendrites), np.int64), np.full(len(dendrites), -1), [np.zeros(1)], 1
        layered = self.rule.feedback is not None and self.rule.feedback.path == "layered"
        for number, name in enumerate(links.order):
            if name in feedback:
                at[number], start = start, start + feedback[name].size
                above = links.above(name)[0].target if layered else links.output
                of[number] = self.place[above]
                parts.append(feedback[name].T.reshape(-1))
        return {"dendrites": torch.from_numpy(dendrites), "feedback_at": torch.from_numpy(at),
                "feedback_of": torch.from_numpy(of), "feedback": torch.from_numpy(np.concatenate(parts))}

    def _call(self, values: Mapping[str, Any], tasks: int) -> dict[str, Tensor]:
        arguments = LearnArguments()
        buffers = {}
        for name, value in values.items():
            if isinstance(value, Tensor):
                buffers[name] = value = value.to(self.device).contiguous()
                value = value.data_ptr()
            setattr(arguments, name, value)
        self.run_kernel(arguments, tasks, buffers)
        return buffers

    def run_kernel(self, arguments: Any, tasks: int, buffers: dict[str, Tensor]) -> None:
        """Runs it, a chunk a task."""
        if self.device.type in HOSTS:
            text = learn_source("c", self.plan, self.code, self.spiking)
            run_tasks(learn_library(text).learn, arguments, tasks)
            return
        from ... import gpu

        buffers["scratch"] = torch.empty(arguments.scratch_bytes * tasks, dtype=torch.uint8, device=self.device)
        arguments.scratch = buffers["scratch"].data_ptr()
        text = learn_source("cuda", self.plan, self.code, self.spiking)
        gpu.launch(text, "learn", (-(-tasks // 32), 1), 32, arguments, self.device)

    def _shown(self, buffers: Mapping[str, Tensor], flat: Tensor, chunks: int, learns: bool) -> Shown:
        host = {name: buffers[name].cpu().numpy() for name in (
            "answers", "membranes", "errors", "spike_counts", "faults", "taken")}
        faults = Diagnostics()
        for code, (message, limit, remedy) in _FAULTS.items():
            if (host["faults"] & code).any():
                faults.add("SC417", message, value=f"sample {int(np.argmax(host['faults'] & code))}", limit=limit,
                           remedy=remedy)
        faults.raise_if_errors(UnsupportedError)
        if flat.device.type != "cpu":
            self.flat[...] = flat.cpu().numpy()
        links, spikes, start = self.net.links, {}, 0
        for name in links.order:
            spikes[name] = host["spike_counts"][:, start:start + links.sizes[name]]
            start += links.sizes[name]
        taken, changed = {}, {}
        for link in links.plastic() if learns else ():
            start, shape = self.at[link.name]
            mine = host["taken"][:, start:start + shape[0] * shape[1]]
            changed[link.name] = float((mine != 0).mean())
            taken[link.name] = _tree(mine).reshape(shape)
        return Shown(host["answers"], host["membranes"], spikes, host["errors"], taken, changed)


def _tree(parts: Array) -> Array:
    """The sum over the first axis, always in the same order."""
    while len(parts) > 1:
        half = len(parts) // 2
        paired = parts[:half] + parts[half:2 * half]
        parts = np.concatenate([paired, parts[2 * half:]])
    return np.array(parts[0])


def _merged(inputs: Mapping[str, Spikes], first: Mapping[str, int]) -> tuple[Array, Array, Array]:
    """Times, sources numbered through, and offsets of all inputs together, in order of time."""
    parts = []
    for name, spikes in inputs.items():
        offsets = spikes.offsets.numpy()
        samples = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        parts.append((samples, spikes.times.detach().numpy(), spikes.indices.numpy() + first[name]))
    samples, times, sources = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((times, samples))
    return times[order], sources[order], np.searchsorted(samples[order], np.arange(len(offsets)))
