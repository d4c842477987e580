"""The text of a rule's kernel in continuous time, its library, and the arguments it takes."""

from __future__ import annotations

import ctypes
import functools

from ... import jit
from .terms import Plan

__all__ = ["LearnArguments", "learn_library", "learn_source", "scratch_bytes"]

_FIELDS: jit.Fields = (
    *(("int64_t", name, 0) for name in (
        "n", "inputs", "n_inputs", "populations", "n_links", "n_weights", "batch", "chunks", "phases", "n_out",
        "output", "learns", "online", "measures", "layered", "holds", "holds_back", "noise_from", "limit", "period",
        "held_room", "scratch_bytes", "failed")),
    *(("double", name, 0) for name in (
        "rate", "interval", "steps", "start", "margin", "spike_at", "high", "low", "dendrite_rate", "mean_reward",
        "least", "most")),
    *(("const double *", name, 0) for name in (
        "a", "b", "rho", "gain", "theta", "reset", "drop", "u0", "j0", "rest", "refractory", "rate_x", "rate_y",
        "coupling_x", "coupling_y", "takes_x", "takes_y", "leaks", "on_flow", "on_act", "inject", "durations",
        "fastest", "feedback", "times", "signs")),
    *(("const int64_t *", name, 0) for name in (
        "block_first", "size", "population", "moves_u", "subtract", "link_block", "link_target", "link_plastic",
        "link_at", "dendrites", "feedback_at", "feedback_of", "awake", "teaches", "answering", "offsets", "sources",
        "labels")),
    *(("double *", name, 0) for name in (
        "weights", "taken", "answers", "membranes", "errors", "spike_counts")),
    ("int64_t *", "faults", 0), ("char *", "scratch", 0),
)
LearnArguments = jit.arguments_type(_FIELDS)


def learn_source(machine: str, plan: Plan, code: str, spiking_error: bool) -> str:
    """`code`: of the rule's error, or "none"; `spiking_error`: whether interneurons make spikes of it."""
    return jit.render("learn.jinja", machine=machine, fields=jit.structure(_FIELDS), code=code,
                      spiking_error=spiking_error, **plan.variables())


@functools.cache
def learn_library(source: str) -> ctypes.CDLL:
    return jit.compile_c(source)


def scratch_bytes(plan: Plan, neurons: int, n_inputs: int, populations: int, held: int,
                  links: list[tuple[int, int, bool]]) -> int:
    """What one sample needs to work in. `links`: (sources, targets, plastic)."""
    line = 128
    names = plan.variables()
    channels, nested, pieces, outer = (len(names[name]) for name in ("channels", "nested", "pieces", "outer"))
    total = (24 + 2 * 16) * (8 * neurons + line) + 2 * (8 * (n_inputs + neurons) + line) + 12 * held + 64 * line
    total += 16 * populations + len(links) * 8192
    for sources, targets, plastic in links:
        if plastic:
            by_target = len(plan.ys) + 2 * len(plan.gates) + 2 + channels + pieces + nested * (1 + channels)
            by_target += outer * (1 + pieces)
            by_synapse = len(plan.tags) + channels + nested * (1 + channels)
            total += by_target * (8 * targets + line) + len(plan.xs) * (8 * sources + line)
            total += by_synapse * (8 * sources * targets + line)
    return -(-total // 4096) * 4096
