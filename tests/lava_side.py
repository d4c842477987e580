"""Runs cases with Lava 0.10 itself: a script for an interpreter that has Lava (and no spikec).

    python lava_side.py CASES.npz RESULTS.npz [--runtime]

By default Lava's own model classes (`fixed_pt`) are wired up with queues in the place of its channels, each model in a
thread, which costs milliseconds a network; `--runtime` compiles and runs processes, as a user does.
"""

from __future__ import annotations

import dataclasses
import json
import queue
import sys
import threading

import numpy as np


def import_lava() -> None:
    """Before Lava's first import: one of its dataclasses has defaults that Python 3.11 takes for mutable."""
    original = dataclasses.dataclass

    def hashable(cls=None, /, **settings):
        if cls is not None and cls.__name__ == "ByteEncoder":
            settings["unsafe_hash"] = True
        return original(cls, **settings)

    dataclasses.dataclass = hashable
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = original


class Sender:
    """An OutPort: what is sent is cut to the 32 bits of a channel."""

    def __init__(self):
        self.queues = []

    def send(self, data):
        sent = np.zeros(np.shape(data), dtype=np.int32)
        sent[:] = data[:]
        for each in self.queues:
            each.put(sent)


class Receiver:
    """An InPort: sums what comes in, as PyInPortVectorDense does. `reshape`: from the flat layout of the sender."""

    def __init__(self, shape, dtype, reshape=None):
        self.shape, self.dtype, self.queues, self.reshape = shape, dtype, [], reshape

    def recv(self):
        total = np.zeros(self.shape, self.dtype)
        for each in self.queues:
            value = each.get(timeout=60)
            total = total + (self.reshape(value) if self.reshape else value)
        return total

    def connect(self, sender):
        channel = queue.SimpleQueue()
        sender.queues.append(channel)
        self.queues.append(channel)


def model_of(process, settings, **variables):
    """A model of a process, its variables typed as Lava's builder does; `settings`: parameters of the process."""
    model = process(settings)
    for name, (shape, value) in variables.items():
        declared = getattr(type(model), name)
        if issubclass(declared.cls, np.ndarray):
            array = np.zeros(shape, declared.d_type)
            array[:] = value
            setattr(model, name, array)
        else:
            setattr(model, name, value)
    return model


def lif_model(population):
    from lava.proc.lif.models import PyLifModelBitAcc

    shape = (population["n"],)
    model = model_of(PyLifModelBitAcc, {}, u=(shape, population["u0"]), v=(shape, population["v0"]),
                     du=((1,), population["du"]), dv=((1,), population["dv"]), vth=((1,), population["threshold"]),
                     bias_mant=(shape, population["bias"]), bias_exp=(shape, population["bias_exponent"]))
    model.a_in, model.s_out = Receiver(shape, np.int16), Sender()
    return model


def csr_of(case, shape, values):
    from scipy.sparse import csr_matrix

    return csr_matrix((values, case["indices"], case["indptr"]), shape=shape)


def sign_of(projection):
    from lava.utils.weightutils import SignMode

    return SignMode[projection["sign"].upper()]


def sizes_of(case, projection):
    lengths = {name: int(np.prod(shape)) for name, shape in case["inputs"].items()}
    lengths |= {name: population["n"] for name, population in case["populations"].items()}
    return lengths[projection["target"]], lengths[projection["source"]]


def flat_to_chw(shape):
    """(C, H, W) in one row -> (H, W, C)."""
    return lambda value: value.reshape(shape).transpose(1, 2, 0)


def connection_model(case, projection):
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
    from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc

    post, pre = sizes_of(case, projection)
    kind, weight, delay = projection["kind"], projection["weight"], projection.get("delay")
    settings = {"weight_exp": projection["exponent"], "num_weight_bits": projection["weight_bits"],
                "sign_mode": sign_of(projection)}
    bits = ((1,), projection["message_bits"])
    if kind == "conv":
        shapes = [(*shape[1:], shape[0]) for shape in (projection["input_shape"], projection["output_shape"])]
        kernel = lava_kernel(projection)
        model = model_of(PyConvModelFixed, {}, weight=(kernel.shape, kernel), kernel_size=((2,), kernel.shape[1:3]),
                         a_buf=(shapes[1], 0), num_message_bits=bits, groups=((1,), projection["groups"]),
                         **{name: ((2,), projection[name]) for name in ("stride", "padding", "dilation")})
        model.s_in = Receiver(shapes[0], np.int32, flat_to_chw(projection["input_shape"]))
    elif delay is None:
        if kind == "sparse":
            weight = csr_of(projection, (post, pre), weight)
        model = model_of(PyDenseModelBitAcc if kind == "dense" else PySparseModelBitAcc, settings,
                         weights=((post, pre), weight), a_buff=((post,), 0), num_message_bits=bits)
        model.s_in = Receiver((pre,), bool)
    else:
        most = int(np.max(delay, initial=0))
        if kind == "sparse":
            weight, delay = (csr_of(projection, (post, pre), each) for each in (weight, delay))
        model = model_of(PyDelayDenseModelBitAcc if kind == "dense" else PyDelaySparseModelBitAcc, settings,
                         weights=((post, pre), weight), delays=((post, pre), delay), num_message_bits=bits,
                         a_buff=((post, most + 1), 0))
        model.s_in = Receiver((pre,), bool)
    model.a_out = Sender()
    return model


def lava_kernel(projection):
    """(C_out, C_in, KH, KW), correlated -> (C_out, KH, KW, C_in), convolved; the weights as they are held, shifted, for
    Lava's Conv knows neither signs, nor bits, nor exponents."""
    from lava.utils.weightutils import clip_weights, truncate_weights

    sign = sign_of(projection)
    held = truncate_weights(clip_weights(projection["weight"], sign, 8), sign, projection["weight_bits"])
    return (held << projection["exponent"])[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)


def run_models(case):
    """Every model in a thread, for all steps, as every process of Lava is on its own."""
    steps = case["steps"]
    lifs = {name: lif_model(population) for name, population in case["populations"].items()}
    sources = {name: Sender() for name in case["inputs"]}
    connections = []
    for projection in case["projections"]:
        model = connection_model(case, projection)
        model.s_in.connect(sources.get(projection["source"]) or lifs[projection["source"]].s_out)
        channel = Receiver((), np.int32)
        channel.connect(model.a_out)
        if projection["kind"] == "conv":  # back to the flat layout
            plain = channel.queues[0]
            model.a_out.queues = [Flattened(plain)]
        lifs[projection["target"]].a_in.queues.append(channel.queues[0])
        connections.append(model)
    seen = {name: {key: [] for key in ("u", "v", "s")} for name in lifs}
    failures = []

    def guarded(work):
        def run():
            try:
                for step in range(steps):
                    work(step)
            except Exception as error:  # told in the main thread
                failures.append(error)
        return threading.Thread(target=run, daemon=True)

    def lif_step(name):
        def work(step):
            lifs[name].run_spk()
            for key, value in (("u", lifs[name].u), ("v", lifs[name].v), ("s", lifs[name].s_out_buff)):
                seen[name][key].append(np.array(value))
        return work

    threads = [guarded(lif_step(name)) for name in lifs]
    threads += [guarded(lambda step, model=model: model.run_spk()) for model in connections]
    threads += [guarded(lambda step, name=name: sources[name].send(case["rasters"][name][step])) for name in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {name: {key: np.array(values) for key, values in each.items()} for name, each in seen.items()}


class Flattened:
    """A channel into which (H, W, C) goes, and out of which (C, H, W) comes, in one row."""

    def __init__(self, channel):
        self.channel = channel

    def put(self, value):
        self.channel.put(value.transpose(2, 0, 1).reshape(-1))


def run_processes(case):
    """As a user of Lava: processes, compiled and run. Dense and sparse projections only."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.io.source import RingBuffer
    from lava.proc.lif.process import LIF
    from lava.proc.monitor.process import Monitor
    from lava.proc.sparse.process import DelaySparse, Sparse

    steps = case["steps"]
    ports = {name: RingBuffer(data=case["rasters"][name].T.astype(np.int32)).s_out for name in case["inputs"]}
    lifs = {name: LIF(shape=(each["n"],), u=each["u0"], v=each["v0"], du=each["du"], dv=each["dv"],
                      vth=each["threshold"], bias_mant=np.broadcast_to(each["bias"], (each["n"],)),
                      bias_exp=each["bias_exponent"])
            for name, each in case["populations"].items()}
    ports |= {name: lif.s_out for name, lif in lifs.items()}
    for each in case["projections"]:
        post, pre = sizes_of(case, each)
        weight, delay = each["weight"], each.get("delay")
        if each["kind"] == "sparse":
            weight = csr_of(each, (post, pre), weight)
            delay = None if delay is None else csr_of(each, (post, pre), delay)
        kinds = {"dense": (Dense, DelayDense), "sparse": (Sparse, DelaySparse)}[each["kind"]]
        connection = kinds[delay is not None](
            weights=weight, weight_exp=each["exponent"], num_weight_bits=each["weight_bits"], sign_mode=sign_of(each),
            num_message_bits=each["message_bits"], **({} if delay is None else {"delays": delay}))
        ports[each["source"]].connect(connection.s_in)
        connection.a_out.connect(lifs[each["target"]].a_in)
    monitors = {}
    for name, lif in lifs.items():
        for key, value in (("u", lif.u), ("v", lif.v), ("s", lif.s_out)):
            monitors[name, key] = Monitor()
            monitors[name, key].probe(value, steps)
    first = next(iter(lifs.values()))
    first.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    found = {name: {} for name in lifs}
    for (name, key), monitor in monitors.items():
        (by_variable,) = monitor.get_data().values()
        (found[name][key],) = by_variable.values()
    first.stop()
    return found


def cases_of(path):
    """Arrays stand in the JSON text as {"array": name}."""
    with np.load(path) as archive:
        arrays = dict(archive)

    def restored(item):
        return arrays[item["array"]] if item.keys() == {"array"} else item

    return json.loads(str(arrays["cases"]), object_hook=restored)


def main():
    import_lava()
    run = run_processes if "--runtime" in sys.argv else run_models
    found = {}
    for number, case in enumerate(cases_of(sys.argv[1])):
        for name, each in run(case).items():
            for key, value in each.items():
                found[f"{number}/{name}/{key}"] = value
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
