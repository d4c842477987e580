"""NIR files for the tests of the reader, made group by group."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import HealthCheck, settings

from spikec.compiler.frontends.builder import Builder
from spikec.ir.graph import Discretization, Graph

ROOT = Path(os.environ.get("SPIKEC_DATA", "")) / "nir_models"
within_tmp = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rich_graph() -> Graph:
    """Everything that NIR lacks and the metadata can hold."""
    net = Builder(Discretization(1e-3, spike="box", integrator="euler", reset="next", delay=2, unit="ms"))
    x = net.input("in", 3)
    a = net.lif("a", 4, tau=1e-2, refractory=[1e-3, 0, 0, 2e-3], reset="subtract", v0=0.25)
    b = net.cubalif("b", 2, tau_mem=1e-2, tau_syn=5e-3, reset="zero", v_reset=-1.0)
    net.connect(x, a, weight=np.ones((4, 3)), delay=np.arange(12.0).reshape(4, 3) * 1e-3, name="slow")
    net.connect(a, b, weight=([1, 0, 1], [0, 3, 2], np.float32([1.5, 0.0, 2.5])), delay=[1e-3, 2e-3, 3e-3],
                bias=[0.5, 0.25], name="few")
    net.connect(b, b, weight=([1], [0], [3.0]), name="back")
    net.output("out", b)
    own = Discretization(1e-3, integrator="semi", fires="at", delay=2)
    net.replace("b", replace(net.node("b"), v_min=np.full(2, -3.0), grid=own))
    return net.build()


def written_file(path: Path, parts: dict[str, dict[str, Any]], edges: list[tuple[str, str]], **metadata: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["version"] = "0.2.0"
        filled(file.create_group("node"), parts, edges)
        for key, value in metadata.items():
            file[f"node/metadata/{key}"] = value
    return path


def filled(group: h5py.Group, parts: dict[str, Any], edges: list[tuple[str, str]]) -> None:
    group["type"] = "NIRGraph"
    group.create_dataset("edges", data=np.array(edges, dtype=object), dtype=h5py.string_dtype())
    for name, fields in parts.items():
        inner = group.create_group(f"nodes/{name}")
        if "nodes" in fields:
            filled(inner, fields["nodes"], fields["edges"])
            continue
        for key, value in fields.items():
            inner[key] = value


def chain_parts(**changes: Any) -> dict[str, dict[str, Any]]:
    parts = {
        "in": {"type": "Input", "shape": [2]}, "fc": {"type": "Linear", "weight": np.ones((3, 2))},
        "cells": {"type": "LIF", "tau": np.full(3, 1e-2), "r": np.ones(3), "v_leak": np.zeros(3),
                  "v_threshold": np.ones(3)},
        "out": {"type": "Output", "shape": [3]},
    }
    return {**parts, **changes}


CHAIN = [("in", "fc"), ("fc", "cells"), ("cells", "out")]
