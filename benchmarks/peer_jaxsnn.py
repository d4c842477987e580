"""jaxsnn: event-based simulation with the EventProp backward pass, optax's Adam, everything in one jitted function.

Its loop runs a fixed number of events a layer: taken from a first, generous run, so that none is cut off and none is
wasted. Outputs always spike (it has no event-based readout without threshold), with the mean-square loss on first-spike
times of its examples.
"""

from __future__ import annotations

import time
from functools import partial
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxsnn.event.loss import mse_loss
from jaxsnn.event.modules import LIF, Linear, Source
from jaxsnn.event.modules.lif.lif import LIFParameters
from jaxsnn.event.topology import Topology
from jaxsnn.event.training import update
from jaxsnn.event.types import OptState, Spike
from jaxsnn.examples.event.utils import loss_wrapper
from worker import LEARNING_RATE, load_task, parse_arguments, serve


def build(task: SimpleNamespace, hidden_steps: int, output_steps: int) -> tuple[Any, Any, int]:
    """(parameters, apply function, index of the input layer)."""
    neuron = LIFParameters(tau_syn=float(task.tau_syn), tau_mem=float(task.tau_mem), v_th=1.0, v_reset=0.0)
    topology = Topology(t_max=float(task.duration), backprop_method="eventprop")
    modules = {
        "inp": Source(task.w_hidden.shape[1]),
        "hidden": LIF(task.w_hidden.shape[0], hidden_steps, neuron),
        "out": LIF(task.w_output.shape[0], output_steps, neuron),
        "fc1": Linear(pre_weights=task.w_hidden.T), "fc2": Linear(pre_weights=task.w_output.T),
    }
    edges = [("inp", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "out")]
    if task.w_recurrent is not None:
        modules["rec"] = Linear(pre_weights=task.w_recurrent.T)
        edges += [("hidden", "rec"), ("rec", "hidden")]
    topology.add(modules)
    topology.connect(edges)
    initialise, apply = topology.done()
    return initialise(jax.random.PRNGKey(0)), apply, topology.node_index_mapping["inp"]


def input_spikes(task: SimpleNamespace, layer: int) -> Spike:
    """Events padded to the longest sample with events at the end of time, which never happen."""
    lengths = np.diff(task.offsets)
    shape = (len(lengths), int(lengths.max()))
    times, indices = np.full(shape, float(task.duration), dtype=np.float32), np.zeros(shape, dtype=np.int32)
    for sample, (begin, end) in enumerate(zip(task.offsets[:-1], task.offsets[1:], strict=True)):
        times[sample, : end - begin], indices[sample, : end - begin] = task.times[begin:end], task.indices[begin:end]
    return Spike(time=jnp.asarray(times), idx=jnp.asarray(indices), current=jnp.zeros(shape),
                 layer_idx=jnp.full(shape, layer), internal=jnp.ones(shape, dtype=bool))


def main() -> None:
    """Worker: see `worker`."""
    options = parse_arguments(__doc__)
    began = time.perf_counter()
    task = load_task(options.task)
    longest = int(np.diff(task.offsets).max())
    deliveries = 2 if task.w_recurrent is not None else 1
    cap = longest + deliveries * int(4 * options.hidden_spikes + 20)
    parameters, apply, layer = build(task, cap, cap)
    events = jax.jit(apply)({"inp": input_spikes(task, layer)}, parameters)
    used = {name: int((np.asarray(events[name].idx) >= 0).sum(-1).max()) for name in ("hidden", "out")}
    if max(used.values()) >= cap:
        raise SystemExit(f"jaxsnn: {used} events reach the cap of {cap}")

    parameters, apply, layer = build(task, used["hidden"], used["out"])
    inputs = {"inp": input_spikes(task, layer)}
    outputs, labels = task.w_output.shape[0], np.asarray(task.labels)
    targets = np.full((len(labels), outputs), 1.2 * task.duration / 2, dtype=np.float32)
    targets[np.arange(len(labels)), labels] = 0.8 * task.duration / 2
    batch = (inputs, jnp.asarray(targets))
    optimizer = optax.adam(LEARNING_RATE)
    loss = partial(loss_wrapper, apply, mse_loss, float(task.tau_mem), "out", outputs)
    train = jax.jit(partial(update, optimizer, loss))
    state = OptState(optimizer.init(parameters), parameters, jax.random.PRNGKey(0))

    def step() -> None:
        nonlocal state
        state, result = train(state, batch)
        jax.block_until_ready((state.params, result))

    events = jax.jit(apply)(inputs, parameters)
    spikes = {name: float(np.asarray(events[name].internal & (events[name].idx >= 0)).sum()) / len(labels)
              for name in ("hidden", "out")}
    step()
    serve(step, {"versions": {"jaxsnn": metadata.version("jaxsnn"), "jax": jax.__version__},
                 "hidden_spikes": spikes["hidden"], "output_spikes": spikes["out"], "events": used,
                 "setup_s": time.perf_counter() - began})


if __name__ == "__main__":
    main()
