"""Runs cases in Lava 0.10 itself, its processes compiled and run as a user does: a script for an interpreter that has
Lava (and no spikec). It builds them from the numbers as they are given, weights beyond their fields among them.

    python lava_side.py CASES.npz RESULTS.npz
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).with_name("lava_recorder")))


def import_lava() -> None:
    """One of Lava's dataclasses has defaults that Python 3.11 takes for mutable."""
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
    from lava.magma.core.process.ports.ports import ReshapePort

    # numpy 2.4 has no `newshape` any more.
    ReshapePort.get_transform_func_fwd = lambda port: lambda data: data.reshape(port.shape)


def models():
    """By process, the model that `fixed_pt` selects: said beforehand, for Lava takes 30 ms a process to find it."""
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.conv.process import Conv
    from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.io.source import PySendModelFixed, RingBuffer
    from lava.proc.lif.models import PyLifModelBitAcc
    from lava.proc.lif.process import LIF
    from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
    from lava.proc.sparse.process import DelaySparse, Sparse

    return {LIF: PyLifModelBitAcc, Dense: PyDenseModelBitAcc, DelayDense: PyDelayDenseModelBitAcc,
            Sparse: PySparseModelBitAcc, DelaySparse: PyDelaySparseModelBitAcc, Conv: PyConvModelFixed,
            RingBuffer: PySendModelFixed}


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


def lava_kernel(projection):
    """(C_out, C_in, KH, KW), correlated -> (C_out, KH, KW, C_in), convolved; the weights as they are held, shifted, for
    Lava's Conv knows neither signs, nor bits, nor exponents."""
    from lava.utils.weightutils import clip_weights, truncate_weights

    sign = sign_of(projection)
    held = truncate_weights(clip_weights(projection["weight"], sign, 8), sign, projection["weight_bits"])
    return (held << projection["exponent"])[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)


def connected(case, projection, source, target):
    """The process of a projection, between ports in the flat order (C, H, W)."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.sparse.process import DelaySparse, Sparse

    if projection["kind"] == "conv":
        channels, height, width = projection["input_shape"]
        process = Conv(
            weight=np.ascontiguousarray(lava_kernel(projection)), input_shape=(height, width, channels),
            num_message_bits=projection["message_bits"],
            **{name: projection[name] for name in ("stride", "padding", "dilation", "groups")})
        source = source.reshape((channels, height, width)).transpose((1, 2, 0))
        result = process.a_out.transpose((2, 0, 1)).reshape(target.shape)
    else:
        shape = sizes_of(case, projection)
        arrays = {f"{name}s": projection[name] for name in ("weight", "delay") if name in projection}
        if projection["kind"] == "sparse":
            arrays = {name: csr_of(projection, shape, array) for name, array in arrays.items()}
        kinds = {"dense": (Dense, DelayDense), "sparse": (Sparse, DelaySparse)}[projection["kind"]]
        process = kinds["delays" in arrays](
            **arrays, weight_exp=projection["exponent"], num_weight_bits=projection["weight_bits"],
            sign_mode=sign_of(projection), num_message_bits=projection["message_bits"])
        result = process.a_out
    source.connect(process.s_in)
    result.connect(target)
    return process


def run(case):
    """By population: u, v, s, each (steps, n)."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer
    from lava.proc.lif.process import LIF
    from recorder import recorder

    steps = case["steps"]
    sources = {name: RingBuffer(data=case["rasters"][name].T.astype(np.int32)) for name in case["inputs"]}
    lifs = {name: LIF(shape=(each["n"],), u=each["u0"], v=each["v0"], du=each["du"], dv=each["dv"],
                      vth=each["threshold"], bias_mant=np.broadcast_to(each["bias"], (each["n"],)),
                      bias_exp=each["bias_exponent"])
            for name, each in case["populations"].items()}
    ports = {name: process.s_out for name, process in (sources | lifs).items()}
    wires = [connected(case, each, ports[each["source"]], lifs[each["target"]].a_in) for each in case["projections"]]
    observer, observing = recorder([each for lif in lifs.values() for each in (lif.u, lif.v)],
                                   [lif.s_out for lif in lifs.values()], steps)
    known = models()
    settings = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={
        observer: observing, **{each: known[type(each)] for each in (*sources.values(), *lifs.values(), *wires)}})
    try:
        observer.run(condition=RunSteps(num_steps=steps), run_cfg=settings)
        data = observer.data.get()
    finally:
        observer.stop()
    sizes = [each["n"] for each in case["populations"].values()]
    widths = [*np.repeat(sizes, 2), *sizes]
    parts = np.split(data.reshape(steps, -1), np.cumsum(widths)[:-1], axis=1)
    return {name: {"u": parts[2 * number], "v": parts[2 * number + 1], "s": parts[2 * len(lifs) + number]}
            for number, name in enumerate(lifs)}


def cases_of(path):
    """Arrays stand in the JSON text as {"array": name}."""
    with np.load(path) as archive:
        arrays = dict(archive)

    def restored(item):
        return arrays[item["array"]] if item.keys() == {"array"} else item

    return json.loads(str(arrays["cases"]), object_hook=restored)


def main():
    import_lava()
    warnings.filterwarnings("ignore", "Changing the sparsity structure")  # which Lava does where it truncates weights
    found = {}
    for number, case in enumerate(cases_of(sys.argv[1])):
        for name, each in run(case).items():
            for key, value in each.items():
                found[f"{number}/{name}/{key}"] = value
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
