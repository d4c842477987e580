"""What a graph cannot say is refused, all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import op, saved, single

import spikec
from spikec import BadInputError, UnsupportedError


def test_all_unsupported_operators_are_told_at_once(tmp_path: Path) -> None:
    nodes = [op("Sigmoid", "x", to="a", name="squash"), op("LSTM", "a", "w", "w", to="b", name="memory"),
             op("Erf", "b", to="c", name="error"), op("Relu", "c", to="d"), op("Foo", "d", name="own", domain="own")]
    with pytest.raises(UnsupportedError) as caught:
        spikec.from_onnx(saved(tmp_path, nodes, [4], w=single(4)))
    assert [(found.code, found.node, found.value) for found in caught.value.diagnostics] == [
        ("SC226", "squash", "Sigmoid"), ("SC226", "memory", "LSTM"), ("SC226", "error", "Erf"), ("SC226", "own", "Foo")]


def test_all_faults_of_operations_are_told_at_once(tmp_path: Path) -> None:
    nodes = [op("Clip", "x", "lo", to="a", name="clip"), op("Mul", "x", "x", to="b", name="square"),
             op("Reshape", "x", "s", to="c", name="split"), op("Add", "a", "b", to="ab"), op("Add", "ab", "c")]
    with pytest.raises(UnsupportedError) as caught:
        spikec.from_onnx(saved(tmp_path, nodes, [4], lo=np.float32(-1), s=np.array([0, 2, 2])))
    assert [found.node for found in caught.value.diagnostics] == ["clip", "square", "split"]


@pytest.mark.parametrize(("nodes", "shape", "constants", "text"), [
    ([op("Clip", "x", "lo", "hi")], [4], {"lo": np.float32(-1), "hi": np.float32(1)}, "does not begin at 0"),
    ([op("Add", "x", "c")], [2, 3, 3], {"c": single(2, 3, 3)}, "differs within a channel"),
    ([op("Add", "x", "c")], [4], {"c": single(5, 4)}, "does not spread over one sample"),
    ([op("MatMul", "x", "w")], [2, 4], {"w": single(4, 3)}, "a matrix over one axis of several"),
    ([op("MatMul", "w", "x")], [4], {"w": single(3, 4)}, "in this order"),
    ([op("MatMul", "x", "x")], [4], {}, "constant matrix"),
    ([op("Gemm", "x", "w", "b")], [4], {"w": single(4, 3), "b": single(3, 1)}, "one for each output"),
    ([op("MatMul", "x", "w", to="h"), op("Add", "h", "b")], [4], {"w": single(4, 3), "b": single(3, 1)},
     "does not spread over one sample"),
    ([op("Conv", "x", "w")], [2, 3, 3, 3], {"w": single(2, 2, 2, 2, 2)}, "other than one or two axes"),
    ([op("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1])], [2, 4, 4], {}, "leaves out the padded zeros"),
    ([op("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], [2, 5, 5], {}, "ceil_mode"),
    ([op("MaxPool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1])], [2, 4, 4], {}, "unequal padding"),
    ([op("MaxPool", "x", kernel_shape=[2])], [2, 4], {}, "maximum over one axis"),
    ([op("Flatten", "x", axis=0)], [4], {}, "batch axis"),
    ([op("Transpose", "x", perm=[0, 2, 1])], [2, 3], {}, "change places"),
    ([op("Softmax", "x", to="h"), op("Relu", "h")], [4], {}, "softmax inside"),
    ([op("Pad", "x", "p", to="h"), op("Relu", "h")], [2, 3, 3], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
     "no convolution"),
    ([op("Cast", "x", to="y", to_=TensorProto.INT32)], [4], {}, "whole numbers"),
    ([op("BatchNormalization", "x", "c", "c", "c", "c", training_mode=1)], [4], {"c": single(4)}, "of the batch"),
    ([op("Dropout", "x", "c", "on")], [4], {"c": np.float32(0.5), "on": np.array(True)}, "draws random numbers"),
    ([op("Dropout", "x", "", "on")], [4], {"on": np.array(True)}, "draws random numbers"),
    ([op("Dropout", "w", "", "on", to="u"), op("Mul", "x", "u")], [4], {"w": single(4), "on": np.array(True)},
     "draws random numbers"),
    ([op("Sub", "b", "b", to="z"), op("Shape", "x", to="s"), op("Mul", "s", "two", to="t"), op("Reshape", "x", "t")],
     [4], {"b": np.array([1]), "two": np.array([2])}, "batch axis is computed with"),
])
def test_what_a_graph_cannot_say_is_refused(
        nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, Any], text: str, tmp_path: Path) -> None:
    for node in nodes:
        for attribute in node.attribute:
            attribute.name = attribute.name.rstrip("_")
    with pytest.raises(UnsupportedError, match=text):
        spikec.from_onnx(saved(tmp_path, nodes, shape, **constants))


def test_control_flow_is_refused_with_a_remedy(tmp_path: Path) -> None:
    body = helper.make_graph([op("Relu", "x", to="z")], "branch", [],
                             [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    nodes = [helper.make_node("If", ["c"], ["y"], name="choice", then_branch=body, else_branch=body)]
    with pytest.raises(UnsupportedError, match=r"SC226 at 'choice'.*branch decided"):
        spikec.from_onnx(saved(tmp_path, nodes, [4], c=np.array(True)))


@pytest.mark.parametrize("shape", [["time", 4], [0, 4]])
def test_an_axis_of_time_is_refused_with_a_remedy(shape: list[Any], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"SC225 at 'x'.*export one step.*from_torch"):
        spikec.from_onnx(saved(tmp_path, [op("Relu", "x")], shape))


def test_a_threshold_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"SC226.*Greater.*from_torch"):
        spikec.from_onnx(saved(tmp_path, [op("Greater", "x", "c")], [4], c=np.float32(1)))


def test_a_kernel_shape_other_than_that_of_the_weights_is_refused(tmp_path: Path) -> None:
    nodes = [op("Conv", "x", "w", name="odd", kernel_shape=[5, 5])]
    with pytest.raises(BadInputError, match=r"SC240 at 'odd'.*kernel_shape.*\(5, 5\).*\(3, 3\)"):
        spikec.from_onnx(saved(tmp_path, nodes, [2, 6, 6], w=single(3, 2, 3, 3)))
