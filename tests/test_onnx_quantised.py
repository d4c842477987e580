"""Quantised networks come in as the values that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_files import RNG, check, kinds, op, saved, single

import spikec
from spikec import SpikecWarning, UnsupportedError
from spikec.ir import nodes as ir


def test_quantised_weights_come_in_as_what_they_stand_for(tmp_path: Path) -> None:
    weight, scale = RNG.integers(-127, 127, (4, 3)).astype(np.int8), np.array([0.1, 0.2, 0.05], np.float32)
    nodes = [op("DequantizeLinear", "w", "s", to="dw", axis=1), op("MatMul", "x", "dw")]
    graph = check(saved(tmp_path, nodes, [4], opset=19, w=weight, s=scale), 4)
    (linear,) = (node for node in graph.nodes.values() if isinstance(node, ir.Linear))
    np.testing.assert_array_equal(linear.weight, (weight * scale).T)


def test_quantised_signals_between_rectifiers(tmp_path: Path) -> None:
    """QDQ, as onnxruntime's quantize_static writes it: the input with a sign, what is rectified without."""
    zero = {"zi": np.int8(3), "zu": np.uint8(0)}
    nodes = [
        op("QuantizeLinear", "x", "s", "zi", to="q0", name="in"), op("DequantizeLinear", "q0", "s", "zi", to="d0"),
        op("Gemm", "d0", "w", to="h", name="fc"),
        op("QuantizeLinear", "h", "s", "zu", to="q1", name="cut"), op("DequantizeLinear", "q1", "s", "zu", to="d1"),
        op("Relu", "d1", to="r"), op("QuantizeLinear", "r", "s", "zi8", to="q2", name="again"),
        op("DequantizeLinear", "q2", "s", "zi8", to="d2"),
        op("Gemm", "d2", "v", to="o"), op("QuantizeLinear", "o", "s", "zi", to="q3", name="out"),
        op("DequantizeLinear", "q3", "s", "zi"),
    ]
    path = saved(tmp_path, nodes, [4], w=single(4, 5), v=single(5, 2), s=np.float32(0.05), zi8=np.int8(0), **zero)
    with pytest.warns(SpikecWarning, match="SC243") as told:
        graph = spikec.from_onnx(path)
    assert [each.message.args[0].split("'")[1] for each in told] == ["in", "cut", "again", "out"]
    assert "256 levels of 0.05, 0 to 12.75" in str(told[1].message)
    assert kinds(graph) == ["Input", "Linear", "Relu", "Relu", "Relu", "Linear", "Output"]
    ceilings = [float(node.ceiling) for node in graph.nodes.values() if isinstance(node, ir.Relu) and node.ceiling]
    np.testing.assert_allclose(ceilings, [12.75, 6.35])


def test_a_quantiser_with_a_sign_inside_is_refused(tmp_path: Path) -> None:
    nodes = [op("Gemm", "x", "w", to="h"), op("QuantizeLinear", "h", "s", "z", to="q", name="middle"),
             op("DequantizeLinear", "q", "s", "z", to="d"), op("Gemm", "d", "w")]
    path = saved(tmp_path, nodes, [4], w=single(4, 4), s=np.float32(0.1), z=np.int8(0))
    with pytest.raises(UnsupportedError, match=r"SC226 at 'middle'.*does not begin at 0"):
        spikec.from_onnx(path)


def test_integers_that_are_computed_with_are_refused(tmp_path: Path) -> None:
    nodes = [op("QuantizeLinear", "x", "s", "z", to="q"), op("MaxPool", "q", to="m", kernel_shape=[2, 2]),
             op("DequantizeLinear", "m", "s", "z")]
    path = saved(tmp_path, nodes, [2, 4, 4], s=np.float32(0.1), z=np.int8(0))
    with pytest.raises(UnsupportedError, match=r"SC226.*in pairs"):
        spikec.from_onnx(path)


def test_quantisers_of_qonnx(tmp_path: Path) -> None:
    domain = "qonnx.custom_op.general"
    weight, scale = single(4, 3), np.float32(0.25)
    nodes = [
        helper.make_node("Quant", ["w", "s", "z", "four"], ["qw"], domain=domain, signed=1, narrow=1),
        helper.make_node("BipolarQuant", ["v", "s"], ["qv"], domain=domain),
        op("MatMul", "x", "qw", to="h"), op("Relu", "h", to="r"),
        helper.make_node("Quant", ["r", "s", "z", "two"], ["q"], name="levels", domain=domain, signed=0, narrow=0,
                         rounding_mode="ROUND"),
        op("MatMul", "q", "qv"),
    ]
    path = saved(tmp_path, nodes, [4], w=weight, v=single(3, 2), s=scale, z=np.float32(0), four=np.float32(4),
                 two=np.float32(2))
    with pytest.warns(SpikecWarning, match="4 levels of 0.25, 0 to 0.75"):
        graph = spikec.from_onnx(path)
    first, second = (node.weight for node in graph.nodes.values() if isinstance(node, ir.Linear))
    np.testing.assert_array_equal(first, np.clip(np.rint(weight / scale), -7, 7).T * scale)
    assert set(np.unique(second)) <= {-0.25, 0.25}
    assert next(node.ceiling for node in graph.nodes.values()
                if isinstance(node, ir.Relu) and node.ceiling is not None) == 0.75
