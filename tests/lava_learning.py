"""Runs learning rules in Lava 0.10 itself, each a LearningDense between rasters, many in one network: a script for an
interpreter that has Lava (and no spikec).

    python lava_learning.py CASES.npz RESULTS.npz
"""

from __future__ import annotations

import sys
from itertools import groupby

import numpy as np
from lava_side import cases_of, import_lava

SEEN = {"weight": "weights", "tag": "tag_1", "delay": "tag_2", "x1": "x1", "x2": "x2", "y1": "y1", "y2": "y2",
        "y3": "y3", "tx": "tx", "ty": "ty"}


def rule_of(case):
    from lava.magma.core.learning.learning_rule import Loihi2FLearningRule, Loihi3FLearningRule

    traces = {f"{name}_{key}": value for name, each in case["traces"].items() for key, value in each.items()}
    texts = {target: case[target] or None for target in ("dw", "dt", "dd")}
    kind = Loihi3FLearningRule if case["three_factor"] else Loihi2FLearningRule
    return kind(**texts, **traces, t_epoch=case["epoch"], rng_seed=case["seed"])


def dense_of(case):
    from lava.magma.core.learning.constants import GradedSpikeCfg
    from lava.proc.dense.process import LearningDense
    from lava.utils.weightutils import SignMode

    return LearningDense(
        weights=case["weight"], tag_1=case["tag"], tag_2=case["delay"], learning_rule=rule_of(case),
        sign_mode=SignMode[case["sign"].upper()], num_weight_bits=case["weight_bits"], weight_exp=case["exponent"],
        num_message_bits=case["message_bits"], graded_spike_cfg=GradedSpikeCfg(int(case["graded"])))


def run(cases):
    """By case, (steps, ...) each: all of SEEN after each step, and `a`, what arrives in it."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.models import PyLearningDenseModelBitApproximate
    from player import player
    from recorder import recorder

    rasters = [raster for case in cases for raster in (case["pre"], case["post"], *case["y"])]
    source, ports, playing = player(rasters)
    wires = [dense_of(case) for case in cases]
    for wire, case in zip(wires, cases, strict=True):
        for port in ("s_in", "s_in_bap", *(["s_in_y1", "s_in_y2", "s_in_y3"] if case["three_factor"] else ())):
            ports.pop(0).connect(getattr(wire, port))
    steps = len(rasters[0])
    seen = [getattr(wire, name) for wire in wires for name in SEEN.values()]
    observer, observing = recorder(seen, [wire.a_out for wire in wires], steps)
    models = {observer: observing, source: playing, **dict.fromkeys(wires, PyLearningDenseModelBitApproximate)}
    try:
        observer.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(
            select_tag="fixed_pt", exception_proc_model_map=models))
        data = observer.data.get()
    finally:
        observer.stop()
    shapes = [each.shape for each in seen] + [wire.a_out.shape for wire in wires]
    parts = np.split(data.reshape(steps, -1), np.cumsum([np.prod(shape) for shape in shapes])[:-1], axis=1)
    parts = [part.reshape(steps, *shape) for part, shape in zip(parts, shapes, strict=True)]
    return [dict(zip(SEEN, parts[len(SEEN) * number:], strict=False)) | {"a": parts[len(seen) + number]}
            for number in range(len(cases))]


def main():
    import_lava()
    found, number = {}, 0
    for _, group in groupby(cases_of(sys.argv[1]), key=lambda case: case["group"]):
        for each in run(list(group)):
            found |= {f"{number}/{name}": value for name, value in each.items()}
            number += 1
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
