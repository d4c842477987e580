"""Each operator of ONNX that a graph can say, against the reference evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_files import check, evaluated, kinds, op, saved, single

import spikec
from spikec import SpikecWarning, UnsupportedError


@pytest.mark.parametrize(("nodes", "shape", "constants"), [
    ([op("Gemm", "x", "w", "b", alpha=0.5, beta=2.0)], [4], {"w": single(4, 3), "b": single(3)}),
    ([op("Gemm", "x", "w", "b", transB=1)], [4], {"w": single(3, 4), "b": single(1)}),
    ([op("MatMul", "x", "w", to="h"), op("Add", "b", "h")], [4], {"w": single(4, 3), "b": single(1, 3)}),
    ([op("Clip", "x", "lo", "hi")], [4], {"lo": np.float32(0), "hi": np.float32(0.7)}),
    ([op("Clip", "x", "lo")], [4], {"lo": np.float32(0)}),
    ([op("Add", "x", "c")], [3, 2, 2], {"c": single(3, 1, 1)}),
    ([op("Sub", "c", "x")], [4], {"c": single(4)}),
    ([op("Mul", "c", "x")], [3, 2, 2], {"c": single(2, 2)}),
    ([op("Div", "x", "c")], [3, 2, 2], {"c": single(1, 3, 1, 1)}),
    ([op("Add", "x", "x")], [4], {}),
    ([op("Neg", "x", to="h"), op("Sum", "x", "h", "c", "x")], [4], {"c": single(4)}),
    ([op("Max", "zero", "x", to="h"), op("Min", "h", "c")], [4], {"zero": np.float32(0), "c": abs(single(4))}),
    ([op("Neg", "x")], [4], {}),
    ([op("Relu", "w", to="u"), op("MatMul", "x", "u")], [4], {"w": single(4, 3)}),
    ([op("Dropout", "x", "r", "off")], [4], {"r": np.float32(0.5), "off": np.array(False)}),
    ([op("Dropout", "x", "r", "on")], [4], {"r": np.float32(0), "on": np.array(True)}),
    ([op("Conv", "x", "w", kernel_shape=[3, 2])], [2, 6, 6], {"w": single(3, 2, 3, 2)}),
    ([op("GlobalAveragePool", "x", to="h"), op("Squeeze", "h", "axes")], [3, 4, 5], {"axes": np.array([2, 3])}),
    ([op("GlobalAveragePool", "x", to="h"), op("Flatten", "h")], [3, 6], {}),
    ([op("ReduceMean", "x", "axes", keepdims=0)], [3, 4, 5], {"axes": np.array([-1, -2])}),
    ([op("Flatten", "x", axis=1)], [3, 4, 5], {}),
    ([op("Reshape", "x", "to")], [3, 4, 5], {"to": np.array([0, 0, -1])}),
    ([op("Reshape", "x", "to")], [3, 4, 5], {"to": np.array([-1, 12, 5])}),
    ([op("Pad", "x", "pads", to="h"), op("AveragePool", "h", kernel_shape=[2, 2], strides=[2, 2])], [2, 4, 4],
     {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
    ([op("AveragePool", "x", kernel_shape=[3, 3], ceil_mode=1, strides=[2, 2])], [2, 7, 7], {}),
    ([op("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], [2, 5, 6], {}),
    ([op("AveragePool", "x", kernel_shape=[3], strides=[2])], [2, 9], {}),
    ([op("Constant", to="c", value_floats=[1.0, 2.0, 3.0]), op("Mul", "x", "c")], [3], {}),
    ([op("Shape", "x", to="s"), op("Gather", "s", "i", to="b"), op("Concat", "b", "m", to="t", axis=0),
      op("Reshape", "x", "t")], [3, 4], {"i": np.array([0]), "m": np.array([-1])}),
    ([op("Transpose", "w", to="t"), op("Slice", "t", "a", "e", "ax", to="s"), op("MatMul", "x", "s")], [4],
     {"w": single(6, 4), "a": np.array([1]), "e": np.array([3]), "ax": np.array([1])}),
])
def test_operators(nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, Any], tmp_path: Path) -> None:
    check(saved(tmp_path, nodes, shape, **constants), *shape)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_convolutions_of_every_padding(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    axes = data.draw(st.sampled_from([1, 2]))
    each = lambda low, high: data.draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))  # noqa: E731
    kernel, strides, dilations, groups = each(1, 4), each(1, 3), each(1, 2), data.draw(st.sampled_from([1, 2]))
    auto = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    extra: dict[str, Any] = {"auto_pad": auto}
    if auto == "NOTSET":
        extra["pads"] = each(0, 3) + each(0, 3)
    weight = single(4, 2 // groups, *kernel)
    shape = [2, *each(7, 9)]
    path = saved(tmp_path_factory.mktemp("conv"), [op("Conv", "x", "w", "b", strides=strides, dilations=dilations,
                                                      group=groups, **extra)], shape, w=weight, b=single(4))
    value = single(2, *shape)
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is optional")
    runtime.set_default_logger_severity(3)
    try:  # SAME with dilation is computed by few runtimes alike
        (wanted,) = runtime.InferenceSession(path.read_bytes()).run(None, {"x": value})
    except Exception:
        return
    if wanted.size == 0:
        return
    try:
        graph = spikec.from_onnx(path)
    except UnsupportedError as error:
        assert "unequal padding that the dilation does not divide" in str(error)  # noqa: PT017
        return
    np.testing.assert_allclose(evaluated(graph, value), wanted, atol=2e-5)


def test_a_softmax_at_the_end_is_left_out_and_told(tmp_path: Path) -> None:
    nodes = [op("Gemm", "x", "w", to="h"), op("Softmax", "h", name="probabilities")]
    path = saved(tmp_path, nodes, [4], w=single(4, 3))
    with pytest.warns(SpikecWarning, match="SC243 at 'probabilities': Softmax"):
        graph = spikec.from_onnx(path)
    assert kinds(graph) == ["Input", "Linear", "Output"]


def test_functions_are_written_out(tmp_path: Path) -> None:
    body = [op("Gemm", "a", "w", to="h", name="product"), op("Constant", to="lo", value_float=0.0),
            op("Constant", to="hi"), op("Clip", "h", "lo", "hi", to="b", name="cut")]
    layer = helper.make_function("own", "Layer", ["a", "w"], ["b"], body, [helper.make_opsetid("", 18)], ["ceiling"])
    attribute = layer.node[2].attribute.add()
    attribute.name, attribute.ref_attr_name, attribute.type = "value_float", "ceiling", onnx.AttributeProto.FLOAT
    nodes = [op("Layer", "x", "u", to="h", name="one", domain="own", ceiling=0.5),
             op("Layer", "h", "v", name="two", domain="own", ceiling=2.0)]
    graph = check(saved(tmp_path, nodes, [4], functions=[layer], u=single(4, 5), v=single(5, 3)), 4)
    assert list(graph.nodes) == ["x", "one.product", "one.cut", "two.product", "two.cut", "y"]
    assert [float(graph.nodes[f"{name}.cut"].ceiling) for name in ("one", "two")] == [0.5, 2.0]
