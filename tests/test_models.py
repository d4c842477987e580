"""What MODEL names on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spikec.compiler.frontends.builder import Builder
from spikec.compiler.frontends.models import load_model
from spikec.compiler.frontends.nir.writer import to_nir
from spikec.ir.diagnostics import BadInputError, SpikecError
from spikec.ir.graph import Discretization, Graph, same_graph
from spikec.ir.text import write

CODE = """
import helper
from spikec.compiler.frontends.builder import Builder

def graph():
    return builder().build()

def builder():
    net = Builder()
    x = net.input("in", 2)
    cells = net.lif("cells", 3, tau=helper.TAU)
    net.connect(x, cells, weight=[[1, 2], [3, 4], [5, 6]], name="fc")
    net.output("out", cells)
    return net

made = graph()
number = 3

def fails():
    raise RuntimeError("out of luck")

def faulty():
    net = builder()
    net.input("loose", 1)
    return net
"""
TORCH = """
import torch, snntorch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.lif = snntorch.Leaky(0.9, init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(x))

net = Net()
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("TAU = 0.0125\n")
    (tmp_path / "net.py").write_text(CODE)
    return tmp_path / "net.py"


@pytest.mark.parametrize("name", ["graph", "builder", "made"])
def test_code_gives_a_graph_a_builder_or_a_function(code: Path, name: str) -> None:
    graph = load_model(f"{code}:{name}")
    assert graph.edges == (("in", "fc"), ("fc", "cells"), ("cells", "out"))
    assert graph.nodes["cells"].tau[0] == 0.0125
    assert load_model(f"{code}:{name}", discretization=Discretization(1e-3)).discretization == Discretization(1e-3)


@pytest.mark.parametrize("name", ["Net", "net"])
def test_code_gives_a_torch_module_or_its_class(tmp_path: Path, name: str) -> None:
    pytest.importorskip("snntorch")
    (tmp_path / "net.py").write_text(TORCH)
    graph = load_model(f"{tmp_path / 'net.py'}:{name}", dt=1e-3)
    assert list(graph.nodes) == ["input", "fc", "lif", "output"]
    with pytest.raises(BadInputError, match="SC222"):
        load_model(f"{tmp_path / 'net.py'}:{name}")


def test_nir_and_text_files_are_read(code: Path, tmp_path: Path) -> None:
    graph = load_model(f"{code}:graph")
    to_nir(graph, tmp_path / "net.nir")
    write(graph, tmp_path / "net.spk")
    for suffix in ("nir", "spk"):
        assert same_graph(load_model(tmp_path / f"net.{suffix}"), graph)
        stated = load_model(tmp_path / f"net.{suffix}", discretization=Discretization(2e-3))
        assert stated.discretization == Discretization(2e-3)


def test_an_illegal_text_file_is_refused(tmp_path: Path) -> None:
    net = Builder()
    net.output("out", net.input("in", 2))
    write(Graph(net.build().nodes, ()), tmp_path / "net.spk")
    with pytest.raises(BadInputError, match="SC106"):
        load_model(tmp_path / "net.spk")


@pytest.mark.parametrize(("name", "code_of_fault", "text"), [
    ("absent", "SC230", "defines no 'absent'"), ("number", "SC231", "gives no model"),
    ("fails", "SC231", "RuntimeError: out of luck"), ("faulty", "SC106", "loose"),
])
def test_code_that_gives_no_model_is_named(code: Path, name: str, code_of_fault: str, text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load_model(f"{code}:{name}")
    assert caught.value.diagnostics[0].code == code_of_fault
    assert text in str(caught.value)


def test_broken_code_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def make(:\n")
    with pytest.raises(BadInputError, match=r"SC231.*SyntaxError"):
        load_model(f"{tmp_path / 'net.py'}:make")


@pytest.mark.parametrize(("model", "kind", "code_of_fault"), [
    ("net.py", BadInputError, "SC230"), ("absent.py:make", BadInputError, "SC230"),
    ("net.onnx", BadInputError, "SC203"), ("net.pt", BadInputError, "SC230"), ("net", BadInputError, "SC230"),
    ("absent.nir", BadInputError, "SC203"),
    ("absent.spk", BadInputError, "SC122"),
])
def test_other_files_are_told_apart(tmp_path: Path, model: str, kind: type[SpikecError], code_of_fault: str) -> None:
    (tmp_path / "net.py").write_text("raise SystemExit('this must not run')")
    (tmp_path / "net.pt").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(kind) as caught:
        load_model(tmp_path / model)
    assert caught.value.diagnostics[0].code == code_of_fault


def test_code_without_torch_does_not_import_it(code: Path) -> None:
    script = f"""
import sys
from spikec.compiler.frontends.models import load_model
load_model({str(code)!r} + ":graph")
assert "torch" not in sys.modules and "h5py" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
