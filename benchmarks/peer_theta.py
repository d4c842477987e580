"""Oscillating theta neurons by the method of Klos & Memmesheimer (arXiv 2309.14523), in JAX: one queue of events for
the whole network. Each step of a scan takes the next event, be it the neuron whose phase is largest or the next input,
adds its column of weights to all neurons, and goes on, for a number of events that is fixed beforehand; gradients are
reverse differentiation of the scan. Written from the published method's description, not from its code.

Pixels that spike at the same instant are one input whose weights are summed by a product of matrices beforehand, as the
method does; otherwise each event of an image adds its own column.
"""

from __future__ import annotations

import time
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from worker import LEARNING_RATE, load_task, parse_arguments, serve


def build(task: SimpleNamespace) -> Any:
    """(parameters) -> (loss, (times (batch, events), neurons)), for the task's inputs and labels."""
    import jax.numpy as jnp

    kind = np.float32 if task.float32 else np.float64
    sizes = [int(size) for size in task.sizes]
    first = np.cumsum([0, *sizes[1:]])
    total, tau, duration = int(first[-1]), float(task.tau), float(task.duration)
    root = np.sqrt(float(task.i0) - 0.25)
    samples = len(task.labels)
    together = bool(task.together)
    lengths = np.diff(task.offsets)
    width = 1 if together else int(lengths.max())
    arrivals, rows = np.full((samples, width), np.inf, dtype=kind), np.zeros((samples, width), dtype=np.int32)
    pixels = np.zeros((samples, sizes[0]), dtype=kind)
    for sample, (begin, end) in enumerate(zip(task.offsets[:-1], task.offsets[1:], strict=True)):
        if together:
            arrivals[sample, 0] = task.times[begin]
            pixels[sample, task.indices[begin:end]] = 1
        else:
            arrivals[sample, :end - begin], rows[sample, :end - begin] = task.times[begin:end], task.indices[begin:end]
    start = np.pi / 2 * np.ones(total, dtype=kind)  # V = 1/2, half of a period
    labels = jnp.asarray(task.labels)

    def kicked(angle: Any, weight: Any) -> Any:
        """Angle a in [0, pi], V = 1/2 - R cot a, after V has moved by `weight`."""
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        return jnp.arctan2(sine, cosine - weight / root * sine)

    def run(parameters: Any, arrival: Any, row: Any, pixel: Any) -> Any:
        inner = jnp.zeros((total, total), dtype=kind)
        for layer, weight in enumerate(parameters[1:]):
            inner = inner.at[first[layer]:first[layer + 1], first[layer + 1]:first[layer + 2]].set(weight.T)
        entry = jnp.zeros((1 if together else sizes[0], total), dtype=kind)
        entry = entry.at[:, :sizes[1]].set((parameters[0] @ pixel)[None] if together else parameters[0].T)
        padded = jnp.append(arrival, jnp.inf)

        def step(carry: Any, _: Any) -> Any:
            now, angle, next_input = carry
            neuron = jnp.argmax(angle)
            wait = (np.pi - angle[neuron]) * tau / root
            until = padded[next_input] - now
            spikes = wait <= until
            gap = jnp.minimum(jnp.where(spikes, wait, until), duration - now)
            ends = jnp.minimum(wait, until) > duration - now
            moved = angle + gap * root / tau
            moved = moved.at[neuron].set(jnp.where(spikes & ~ends, 0.0, moved[neuron]))
            column = jnp.where(spikes, inner[neuron], entry[0 if together else row[jnp.minimum(next_input, width - 1)]])
            moved = jnp.where(ends, moved, kicked(moved, column))
            fired = spikes & ~ends
            after = (now + gap, moved, next_input + jnp.where(spikes | ends, 0, 1))
            return after, (jnp.where(fired, now + gap, jnp.inf), jnp.where(fired, neuron, -1), ends)

        begun = (jnp.zeros((), dtype=kind), jnp.asarray(start), jnp.zeros((), dtype=jnp.int32))
        _, (times, neurons, ended) = jax.lax.scan(step, begun, None, length=int(task.events))
        shown = jnp.arange(first[-2], first[-1])
        hits = jnp.where(neurons[:, None] == shown, times[:, None], jnp.inf).min(0)
        return jnp.where(jnp.isfinite(hits), hits, 2 * duration), times, neurons, ended[-1]

    def loss(parameters: Any) -> Any:
        hits, times, neurons, ended = jax.vmap(run, (None, 0, 0, 0))(
            parameters, jnp.asarray(arrivals), jnp.asarray(rows), jnp.asarray(pixels))
        chosen = jax.nn.log_softmax(-hits)[jnp.arange(samples), labels]
        return -chosen.mean(), (times, neurons, ended)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def main() -> None:
    """Worker: see `worker`."""
    options = parse_arguments(__doc__)
    task = load_task(options.task)
    jax.config.update("jax_enable_x64", not task.float32)
    import jax.numpy as jnp

    kind = np.float32 if task.float32 else np.float64
    step_of = build(task)
    held = [jnp.asarray(getattr(task, f"weight{layer}"), dtype=kind) for layer in range(len(task.sizes) - 1)]
    began = time.perf_counter()
    (value, (times, neurons, ended)), gradients = jax.block_until_ready(step_of(held))
    compiled = time.perf_counter() - began
    written = options.task.with_name("answer.npz")
    np.savez(written, times=times, neurons=neurons, ended=ended,
             **{f"gradient{layer}": np.asarray(each) for layer, each in enumerate(gradients)})

    def step() -> None:
        found = jax.block_until_ready(step_of(held)[1])
        for layer, each in enumerate(found):
            held[layer] = held[layer] - LEARNING_RATE * each
        jax.block_until_ready(held)

    serve(step, {"loss": float(value), "compile_s": compiled, "answer": str(written),
                 "versions": {"jax": metadata.version("jax")}})


if __name__ == "__main__":
    main()
