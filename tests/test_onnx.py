"""Plain networks come in from ONNX with the numbers of the file; what a graph cannot say is refused; hostile files are
diagnostics."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import spikec
from spikec import BadInputError, Discretization, SpikecError, SpikecWarning, UnsupportedError
from spikec.compiler.frontends.models import load_model
from spikec.compiler.frontends.onnx_file import OnnxLimits
from spikec.ir import nodes as ir
from spikec.ir.graph import Graph
from spikec.ir.stateless import through

RNG = np.random.default_rng(0)


def evaluated(graph: Graph, value: np.ndarray) -> np.ndarray:
    """What a graph without neurons gives for (batch, *shape)."""
    values = {graph.inputs[0]: np.asarray(value, dtype=np.float64)}
    for name in nx.topological_sort(graph.to_networkx()):
        if name not in values:
            values[name] = through(graph.nodes[name], sum(values[each] for each in graph.sources[name]), constant=True)
    return values[graph.outputs[0]]


def saved(path: Path, nodes: Sequence[onnx.NodeProto], shape: Sequence[Any], opset: int = 18,
          functions: Sequence[onnx.FunctionProto] = (), inputs: Sequence[onnx.ValueInfoProto] | None = None,
          **constants: Any) -> Path:
    """A model of one input `x` (batch, *shape) and one output `y`."""
    tensors = [value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
               for name, value in constants.items()]
    ends = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])]
    graph = helper.make_graph(list(nodes), "net", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              tensors)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("qonnx.custom_op.general", 1),
               helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=domains, functions=list(functions), ir_version=8)
    path = path / "net.onnx" if path.is_dir() else path
    path.write_bytes(model.SerializeToString())
    return path


def op(kind: str, *inputs: str, to: str = "y", name: str = "", domain: str = "", **settings: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [to], name=name, domain=domain, **settings)


def single(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def check(path: Path, *shape: int, tolerance: float = 1e-5) -> Graph:
    """The graph of a file, after its numbers were compared with those of the reference evaluator."""
    value = single(3, *shape)
    (wanted,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": value})
    graph = spikec.from_onnx(path)
    np.testing.assert_allclose(evaluated(graph, value), wanted, rtol=tolerance, atol=tolerance)
    return graph


def kinds(graph: Graph) -> list[str]:
    return [type(node).__name__ for node in graph.nodes.values()]


# ---- what torch writes

class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding="same", groups=2), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)) + x)
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.fc(x.view(x.size(0), -1))


class Bare(nn.Module):
    """Products and sums without layers, a mean over the image, a normalised input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - torch.tensor([0.3, 0.1]).view(2, 1, 1)) / torch.tensor([0.5, 2.0]).view(2, 1, 1)
        x = torch.relu(x).mean((2, 3))
        return torch.clamp(x @ self.weight + self.bias, 0, 1.5) * 2 - torch.tensor([0.0, 1.0, 0.0, 2.0])


TORCH = {
    "mlp": (nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3, bias=False)), (6,), "Affine Relu Linear"),
    "cnn": (nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.ReLU6(), nn.AvgPool2d(2, padding=1), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Dropout(), nn.Linear(16, 3)), (1, 16, 16),
            "Conv2d Relu AvgPool2d MaxPool2d Flatten Affine"),
    "one axis": (nn.Sequential(nn.Conv1d(2, 4, 3, padding=1, dilation=2), nn.BatchNorm1d(4), nn.ReLU(),
                               nn.AvgPool1d(2), nn.Flatten(), nn.Linear(20, 3)), (2, 12),
                 "Conv1d Relu Conv1d Flatten Affine"),
    "even kernel": (nn.Sequential(nn.Conv2d(2, 4, (4, 2), padding="same"), nn.ReLU(), nn.Flatten()), (2, 7, 6),
                    "Conv2d Relu Flatten"),
    "residual": (Residual(), (3, 8, 8), "Conv2d Relu Conv2d Relu AvgPool2d Flatten Affine"),
    "bare": (Bare(), (2, 5, 4), "BatchNorm Scale Relu AvgPool2d Flatten Affine Relu Scale BatchNorm"),
}


def torch_exported(module: nn.Module, shape: tuple[int, ...], **options: Any) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(2, *shape),), stream, dynamo=False, input_names=["x"],
                          output_names=["y"], **options)
    return stream.getvalue()


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed batch", "any batch"])
@pytest.mark.parametrize("name", TORCH)
def test_models_that_torch_exports(name: str, dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, shape, expected = TORCH[name]
    module.eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    options = {"dynamic_axes": {"x": {0: "batch"}}} if dynamic else {}
    (tmp_path / "net.onnx").write_bytes(torch_exported(module, shape, **options))
    graph = spikec.from_onnx(tmp_path / "net.onnx")
    value = torch.randn(2, *shape)
    with torch.no_grad():
        np.testing.assert_allclose(evaluated(graph, value.numpy()), module(value).numpy(), atol=2e-6)
    assert kinds(graph) == ["Input", *expected.split(), "Output"]
    assert graph.discretization is None


def test_parameters_come_in_bit_by_bit_under_the_names_of_the_modules(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    (tmp_path / "net.onnx").write_bytes(torch_exported(module, (6,)))
    graph = load_model(tmp_path / "net.onnx")
    assert list(graph.nodes) == ["x", "0", "1", "2", "y"]
    assert graph.nodes["0"].weight.dtype == np.float32
    np.testing.assert_array_equal(graph.nodes["0"].weight, module[0].weight.detach().numpy())
    np.testing.assert_array_equal(graph.nodes["2"].bias, module[2].bias.detach().numpy())


def test_a_grid_can_be_given(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Relu", "x")], [3])
    assert spikec.from_onnx(path, Discretization(1e-3)).discretization == Discretization(1e-3)


# ---- operators, against the reference evaluator

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


# ---- quantised networks

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


# ---- what is refused, all of it at once

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


# ---- malformed and hostile files

def test_names_with_paths_or_code_are_names(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "__import__('os').system('true')", "a\nb\x00c", "/conv1/Gemm", "", "x" * 4000]
    nodes, last = [], "x"
    for number, name in enumerate(names):
        nodes.append(op("Gemm", last, "w", to=f"h{number}", name=name))
        last = f"h{number}"
    graph = spikec.from_onnx(saved(tmp_path, [*nodes, op("Relu", last)], [3], w=single(3, 3)))
    assert list(graph.nodes)[1:5] == ["etc.passwd", "__import____os__.system__true__", "a_b_c", "conv1"]
    assert all(name.isascii() and name.isprintable() and len(name) <= 255 for name in graph.nodes)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="SC203"):
        spikec.from_onnx(tmp_path / "absent.onnx")
    with pytest.raises(BadInputError, match="SC203"):
        spikec.from_onnx(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n", b"\x89HDF\r\n\x1a\n" + bytes(100), b"<html>" * 50,
                                     bytes(1000), b"\xff" * 1000])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(BadInputError, match=r"SC20[35]"):
        spikec.from_onnx(tmp_path / "net.onnx")


def tensor(name: str, dims: Sequence[int], raw: bytes = b"", kind: int = TensorProto.FLOAT, **more: Any) -> TensorProto:
    return TensorProto(name=name, dims=dims, data_type=kind, raw_data=raw, **more)


@pytest.mark.parametrize(("weight", "code"), [
    (tensor("w", [1 << 40, 1 << 20]), "SC204"), (tensor("w", [2**31, 2**31, 0]), "SC204"),
    (tensor("w", [-4, 3]), "SC204"),
    (tensor("w", [4, 3], bytes(44)), "SC206"), (tensor("w", [4, 3], bytes(52)), "SC206"),
    (tensor("w", [4, 3], kind=TensorProto.STRING), "SC206"), (tensor("w", [4, 3], bytes(48), kind=77), "SC206"),
    (tensor("w", [4, 3], np.full(12, np.nan, np.float32).tobytes()), "SC104"),
    (tensor("w", [4, 3], np.full(12, np.inf, np.float32).tobytes()), "SC104"),
    (tensor("w", [1] * 40, bytes(4)), "SC204"),
])
def test_malformed_tensors(weight: TensorProto, code: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=code):
        spikec.from_onnx(saved(tmp_path, [op("Gemm", "x", "w")], [4], w=weight))


def outside(location: str, **entries: str) -> TensorProto:
    weight = TensorProto(name="w", dims=[4, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    return weight


def test_external_data_in_the_folder_are_read(tmp_path: Path) -> None:
    weight = single(4, 3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(bytes(8) + weight.tobytes() + bytes(5))
    graph = spikec.from_onnx(saved(tmp_path, [op("Gemm", "x", "w", name="fc")], [4],
                                   w=outside("data/w.bin", offset="8", length="48")))
    np.testing.assert_array_equal(graph.nodes["fc"].weight, weight.T)


@pytest.mark.parametrize(("entry", "code"), [
    (outside("../secret.bin"), "SC208"), (outside("/etc/passwd"), "SC208"), (outside("link.bin"), "SC208"),
    (outside("folder/secret.bin"), "SC208"), (outside("C:\\secret.bin"), "SC208"), (outside("..\\secret.bin"), "SC208"),
    (outside(""), "SC208"), (outside("absent.bin"), "SC208"), (outside("a\x00b"), "SC208"), (outside("."), "SC208"),
    (outside("short.bin"), "SC206"), (outside("long.bin", offset="-4"), "SC206"),
    (outside("long.bin", offset="60"), "SC206"), (outside("long.bin", length="1000000000000"), "SC206"),
    (outside("long.bin", offset="many"), "SC203"),
])
def test_external_data_that_leave_the_folder_or_lie(entry: TensorProto, code: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "folder").symlink_to(tmp_path, target_is_directory=True)
    (folder / "short.bin").write_bytes(bytes(20))
    (folder / "long.bin").write_bytes(bytes(100))
    with pytest.raises(BadInputError, match=code):
        spikec.from_onnx(saved(folder, [op("Gemm", "x", "w")], [4], w=entry))


@pytest.mark.parametrize(("nodes", "text"), [
    ([op("Relu", "b", to="a"), op("Relu", "a", to="b"), op("Add", "x", "b")], "circle"),
    ([op("Relu", "y")], "circle"),
    ([op("Relu", "nothing")], "nothing gives"),
    ([op("Relu", "x"), op("Neg", "x")], "given twice"),
    ([op("Relu", "x", to="x"), op("Neg", "x")], "given twice"),
    ([op("Relu", "x", to="other")], "nothing gives this output"),
    ([op("Gemm", "x")], "Gemm"), ([op("Conv", "x", "w", strides=[0])], "strides|SC"),
    ([op("Relu", "x", "x", "x")], "malformed"), ([op("MaxPool", "x")], "SC240"),
])
def test_malformed_graphs(nodes: list[onnx.NodeProto], text: str, tmp_path: Path) -> None:
    with pytest.raises((BadInputError, UnsupportedError), match=text):
        spikec.from_onnx(saved(tmp_path, nodes, [4], w=single(3, 4, 1)))


def test_constants_of_one_name(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Gemm", "x", "w")], [4], w=single(4, 3)))
    model.graph.initializer.append(model.graph.initializer[0])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInputError, match="SC240 at 'w'"):
        spikec.from_onnx(tmp_path / "net.onnx")


def calls(name: str, *inner: str) -> onnx.FunctionProto:
    nodes, last = [], "a"
    for number, each in enumerate(inner):
        nodes.append(op(each, last, to=f"v{number}", domain="own"))
        last = f"v{number}"
    nodes.append(op("Identity", last, to="b"))
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 18)])


def test_functions_that_call_each_other(tmp_path: Path) -> None:
    functions = [calls("F", "G"), calls("G", "F")]
    with pytest.raises(BadInputError, match=r"SC240.*circle"):
        spikec.from_onnx(saved(tmp_path, [op("F", "x", domain="own")], [4], functions=functions))


def test_functions_that_unfold_without_end(tmp_path: Path) -> None:
    functions = [calls("F0"), *(calls(f"F{n}", *[f"F{n - 1}"] * 10) for n in range(1, 12))]
    path = saved(tmp_path, [op("F11", "x", domain="own")], [4], functions=functions)
    start = time.perf_counter()
    with pytest.raises(BadInputError, match=r"SC204.*too many nodes"):
        spikec.from_onnx(path, limits=OnnxLimits(nodes=10_000))
    assert time.perf_counter() - start < 10


def test_constants_that_unfold_without_end(tmp_path: Path) -> None:
    nodes = [op("Concat", f"c{n}", f"c{n}", to=f"c{n + 1}", axis=0) for n in range(60)]
    with pytest.raises(BadInputError, match="SC204"):
        spikec.from_onnx(saved(tmp_path, [*nodes, op("Add", "x", "c60")], [4], c0=single(4)),
                         limits=OnnxLimits(folded=1 << 20))
    nodes = [op("Add", "a", "b", to="c"), op("Gemm", "x", "c")]
    with pytest.raises(BadInputError, match="SC204"):
        spikec.from_onnx(saved(tmp_path, nodes, [4], a=single(100_000, 1), b=single(1, 100_000)))


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf that holds a message."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_messages_that_unfold_without_end(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Relu", "x")], [4]))
    for _ in range(2000):
        model.graph.node.add()
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInputError, match=r"SC204.*fields"):
        spikec.from_onnx(tmp_path / "net.onnx", limits=OnnxLimits(fields=1000))
    deep = b""
    for _ in range(100):  # graph of attribute of node of graph of …
        deep = field(1, field(5, field(6, deep)))
    (tmp_path / "net.onnx").write_bytes(field(7, deep))
    with pytest.raises(BadInputError, match=r"SC20[34].*nested"):
        spikec.from_onnx(tmp_path / "net.onnx")


def test_files_that_are_too_large(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Gemm", "x", "w")], [4], w=single(4, 300))
    with pytest.raises(BadInputError, match=r"SC204.*too large"):
        spikec.from_onnx(path, limits=OnnxLimits(data=1000))
    with open(path, "wb") as stream:
        stream.truncate(1 << 32)  # sparse
    with pytest.raises(BadInputError, match=r"SC204.*external data"):
        spikec.from_onnx(path)


def test_names_and_chains_that_take_long(tmp_path: Path) -> None:
    nodes = [op("Neg", f"v{n}", to=f"v{n + 1}", name="same") for n in range(1500)]
    nodes += [op("Softmax", "v1500", to="w0"), *(op("Identity", f"w{n}", to=f"w{n + 1}") for n in range(5000))]
    nodes += [op("Identity", "x", to="v0"), op("Identity", "w5000")]
    start = time.perf_counter()
    with pytest.warns(SpikecWarning, match="Softmax"):
        graph = spikec.from_onnx(saved(tmp_path, [nodes[-2], *nodes[:-2], nodes[-1]], [4]))
    assert time.perf_counter() - start < 10
    assert list(graph.nodes)[1:4] == ["same", "same_2", "same_3"]


def test_packed_numbers_that_unfold(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Gemm", "x", "w")], [4], w=helper.make_tensor("w", TensorProto.INT64, [4, 3], range(12)))
    with pytest.raises(BadInputError, match=r"SC204.*beside the raw data"):
        spikec.from_onnx(path, limits=OnnxLimits(outline=50))


@pytest.mark.parametrize(("opset", "remedy"), [(5, "version_converter"), (99, "Update the onnx package")])
def test_versions_that_are_not_known(opset: int, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=f"SC241.*{remedy}"):
        spikec.from_onnx(saved(tmp_path, [op("Relu", "x")], [4], opset=opset))


def test_versions_of_the_format_that_are_not_known(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Relu", "x")], [4]))
    for version in (0, 2, 500):
        model.ir_version = version
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(BadInputError, match="SC241"):
            spikec.from_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("shape", [[], ["n"], [0], [1 << 62, 1 << 62], [3, None]])
def test_inputs_of_unknown_or_impossible_shape(shape: list[Any], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="SC225"):
        spikec.from_onnx(saved(tmp_path, [op("Relu", "x")], shape))


def subjects(tmp_path: Path) -> list[bytes]:
    nodes = [op("Conv", "x", "w", "b", to="h", pads=[1, 1, 1, 1]), op("Relu", "h", to="r"),
             op("MaxPool", "r", to="p", kernel_shape=[2, 2], strides=[2, 2]), op("Flatten", "p", to="f"),
             op("Gemm", "f", "v", name="fc")]
    plain = saved(tmp_path, nodes, [1, 4, 4], w=single(2, 1, 3, 3), b=single(2), v=single(8, 3)).read_bytes()
    net = spikec.Builder(Discretization(1e-3))
    x, cells = net.input("in", 3), net.lif("cells", 2, tau=1e-2, r=1e-2)
    net.connect(x, cells, weight=single(2, 3))
    net.output("out", cells)
    spikec.to_onnx(net.build(), tmp_path / "net.onnx")
    return [plain, (tmp_path / "net.onnx").read_bytes()]


def read_anyhow(path: Path, data: bytes) -> str:
    """A graph or a diagnostic, and nothing else."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        try:
            spikec.from_onnx(path)
        except SpikecError as error:
            assert all(found.code for found in error.diagnostics)  # noqa: PT017
            return "refused"
    return "read"


def test_truncated_files_are_diagnostics(tmp_path: Path) -> None:
    for data in subjects(tmp_path):
        found = [read_anyhow(tmp_path / "cut.onnx", data[:length]) for length in range(0, len(data), 17)]
        assert set(found[:-8]) == {"refused"}


@pytest.mark.parametrize("seed", range(4))
def test_files_with_changed_bytes_are_diagnostics_or_graphs(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    found = []
    for data in subjects(tmp_path):
        for _ in range(100):
            changed = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 6)):
                changed[at] = rng.integers(0, 256)
            found.append(read_anyhow(tmp_path / "changed.onnx", bytes(changed)))
    assert set(found) == {"read", "refused"}


@pytest.mark.parametrize("turned", [False, True])
def test_ten_million_parameters(turned: bool, tmp_path: Path) -> None:
    """Seconds, and memory beyond what Python and its packages take, in units of the parameters."""
    path = saved(tmp_path, [op("Gemm", "x", "w", transB=int(turned))], [3000],
                 w=np.ones((3400, 3000) if turned else (3000, 3400), np.float32))
    code = f"""
import resource, time, onnx, spikec, spikec.compiler.frontends.onnx_frontend
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
graph = spikec.from_onnx({str(path)!r})
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, kib = done.stdout.split()
    assert float(seconds) < 5
    assert float(kib) * 1024 < 2.5 * 4 * 3000 * 3400
