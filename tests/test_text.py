"""The text form: what it looks like, that it round-trips bit by bit, and what it says to damaged or hostile text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from strategies import any_graphs

from spikec.ir import nodes as ir
from spikec.ir.checks import verify
from spikec.ir.diagnostics import BadInputError
from spikec.ir.graph import Discretization, Graph, same_graph
from spikec.ir.npz import read_npz, write_npz
from spikec.ir.text import parse, read, to_arrays, to_text, write

HEADER = "spikec-graph 1\n"
EXAMPLE = Graph(
    {
        "input": ir.Input(shape=(2, 6, 6)),
        "conv.0": ir.Conv2d(weight=np.linspace(-1, 1, 36).reshape(4, 1, 3, 3), bias=np.zeros(4), groups=2,
                            padding="same"),
        "pool": ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)),
        "lif": ir.LIF(tau=0.02, shape=(4, 3, 3), r=np.float32(0.1), v_threshold=np.arange(1.0, 5.0)[:, None, None]),
        "flat": ir.Flatten(),
        "fc 1": ir.Affine(weight=np.full((2, 36), 0.25, np.float32), bias=[0.5, -0.5]),
        "metadata": ir.CubaLIF(tau_mem=0.02, tau_syn=[5e-3, 0.01], w_in=[5e-3, 0.01], refractory=1e-3, reset="zero"),
        "loop": ir.SparseLinear(size=(2, 2), indptr=[0, 1, 2], indices=[1, 0], weight=[0.1, -0.1], delay=[1e-3, 2e-3]),
        "output": ir.Output(shape=(2,)),
    },
    (("input", "conv.0"), ("conv.0", "pool"), ("pool", "lif"), ("lif", "flat"), ("flat", "fc 1"), ("fc 1", "metadata"),
     ("metadata", "loop"), ("loop", "metadata"), ("metadata", "output")),
    Discretization(dt=1e-3, integrator="decay", reset="next"), {"source": "by hand", "steps": 60},
)


def parsed(*lines: str) -> Graph:
    return parse(HEADER + "\n".join(lines))


def faults_of(text: str, arrays: dict[str, np.ndarray] | None = None) -> list[str]:
    with pytest.raises(BadInputError) as raised:
        parse(text, arrays)
    return [str(found) for found in raised.value.diagnostics]


def test_what_it_looks_like(golden):
    verify(EXAMPLE)
    golden("example.spk", str(EXAMPLE))
    assert set(to_arrays(EXAMPLE)) == {"conv.0.weight"}
    assert same_graph(parse(str(EXAMPLE), to_arrays(EXAMPLE)), EXAMPLE)


@given(graph=any_graphs())
def test_round_trip(graph):
    verify(graph)
    text, sidecar = to_text(graph), to_arrays(graph)
    again = parse(text, sidecar)
    assert same_graph(again, graph)
    assert to_text(again) == text


@given(values=arrays.arrays(
    st.sampled_from([np.float32, np.float64]), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
))
def test_every_array_round_trips_bit_by_bit(values):
    graph = Graph({"a": ir.Scale(scale=values), "b": ir.I(r=values)}, ())
    assert same_graph(parse(to_text(graph), to_arrays(graph)), graph)


@given(value=st.floats())
def test_every_number_round_trips_bit_by_bit(value):
    for number in (np.float64(value), np.float32(value) if abs(value) < 3e38 else np.float32("inf")):
        graph = Graph({"a": ir.Scale(scale=number), "b": ir.LI(tau=number, shape=(3,))}, ())
        assert same_graph(parse(to_text(graph), to_arrays(graph)), graph)


def test_a_nan_with_its_own_bits_goes_to_the_sidecar():
    strange = np.array([0x7FF8_0000_0000_BEEF], np.uint64).view(np.float64)
    graph = Graph({"a": ir.Scale(scale=strange), "b": ir.Scale(scale=np.nan)}, ())
    assert set(to_arrays(graph)) == {"a.scale"}
    assert same_graph(parse(to_text(graph), to_arrays(graph)), graph)


@settings(max_examples=25)
@given(graph=any_graphs())
def test_files_round_trip(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "net.spk"
    write(graph, path)
    assert same_graph(read(path), graph)
    assert path.with_suffix(".npz").exists() == bool(to_arrays(graph))
    assert {each.suffix for each in path.parent.iterdir()} <= {".spk", ".npz"}


def test_a_human_can_write_it():
    graph = parsed(
        "# two neurons", "discretization dt=1e-3", "metadata note = \"a \\\"b\\\"\"",
        "x = Input(shape=(2,))", "fc=Linear( weight = f32[2,2](1,2,3,4) )  # a comment",
        "lif = LIF(shape=(2,), tau=2e-2, v_threshold=f64[2](0.5, +.75), reset=zero,)", "y = Output(shape=(2,))", "",
        "x->fc -> lif", "\tlif -> y",
    )
    verify(graph)
    assert graph.edges == (("x", "fc"), ("fc", "lif"), ("lif", "y"))
    assert graph.discretization == Discretization(dt=1e-3)
    assert graph.metadata == {"note": 'a "b"'}
    assert graph.nodes["fc"].weight.dtype == np.float32
    assert graph.nodes["lif"].v_threshold.tolist() == [0.5, 0.75]


@pytest.mark.parametrize(("line", "message"), [
    ("x = Inptu(shape=(2,))", "line 2, column 5: unknown node kind (value: Inptu). Is 'Input' meant?"),
    ("x = LIF(tua=0.1)", "column 9: LIF has no such field (value: tua). Is 'tau' meant?"),
    ("x = LIF(shape=(2,))", "column 5: LIF needs tau"),
    ("x = LIF(tau=0.1, tau=0.1)", "column 18: tau is there twice"),
    ("x = LIF(tau=zero)", "column 13: a parameter is a number or an array"),
    ("x = LIF(tau=i64[1](3))", "column 13: a parameter is a number or an array of f32 or f64"),
    ("x = LIF(tau=true)", "column 13: a parameter is a number or an array"),
    ("x = LIF(tau=0.1, reset=hard)", "column 24: reset has the wrong type (limit: 'zero', 'v_reset', 'subtract')"),
    ("x = Input(shape=(2.5,))", "column 17: shape has the wrong type (limit: a tuple of int)"),
    ("x = Input(shape=((((((2,))))))", "column 18: a value is expected, not '('"),
    ("x = Input(shape=(2,)", "column 21: ',' or ')' is expected, not the end of the line"),
    ("x = Input(shape=(99999999999999999999,))", "column 18: the number is too large"),
    ("x = Scale(scale=" + "9" * 5000 + ")", "column 17: the number has too many digits"),
    ("x = Scale(scale=" + "9" * 999 + ")", "column 17: the number is too large"),
    ("x = Scale(scale=f64[2](1, 2, 3))", "column 17: an array states one number, or all of its elements"),
    ("x = Scale(scale=f64[99999999, 99999999](1))", "column 17: this is no possible shape"),
    ("x = Scale(scale=f64[-1](1))", "column 17: this is no possible shape"),
    ("x = Scale(scale=f64[2](1, x))", "column 27: a number is expected"),
    ("x = Scale(scale=@x.scale f16[3])", "column 26: an array is f32, f64 or i64"),
    ("x = SparseLinear(size=(1, 1), indptr=f64[2](0))", "column 38: indptr has the wrong type"),
    ("x = Input(shape=(1,)) y", "column 23: the statement ends before 'y'"),
    ("x - y", "column 3: this cannot be read (value: '- y')"),
    ("x ->", "column 5: a node's name is expected, not the end of the line"),
    ("x = eval(1)", "unknown node kind (value: eval)"),
    ("x = Input(shape=__import__)", "shape has the wrong type"),
    ("\u00e9 = Input(shape=(1,))", "column 1: this cannot be read (value: 'é = Input(shape=(1,)')"),
    ("\"x = Input(shape=(1,))", "column 1: this cannot be read"),
    ("\"\\q\" = Input(shape=(1,))", "column 1: malformed text in quotes"),
    ("discretization dt=1e-3 unit=us", "column 29: unit has the wrong type"),
    ("discretization", "column 1: Discretization needs dt"),
    ("metadata a = (1, 2)", "column 14: metadata is text, a number, true or false"),
    ("arrays sha256=abc", "a SHA-256 has 64 hexadecimal digits (value: abc)"),
])
def test_faults_name_line_and_column(line, message):
    assert message in "\n".join(faults_of(HEADER + line))


def test_all_faults_of_a_text_come_at_once():
    found = faults_of(HEADER + "x = Foo()\ny = Input(shape=(1,))\ny = Input(shape=(1,))\nz = LIF(")
    places = [each.split(":")[1].strip() for each in found]
    assert places == ["line 2, column 5", "line 4, column 1", "line 5, column 9"]


def test_it_does_not_drown_in_faults():
    assert len(faults_of(HEADER + "?\n" * 10_000)) == 51


@pytest.mark.parametrize(("text", "message"), [
    ("", "the text is empty"), ("# nothing\n\n", "the text is empty"), ("graph 1", "starts with 'spikec-graph 1'"),
    ("spikec-graph 2\n", "unknown version"), ("spikec-graph one", "a whole number"), ("\ufeff\x00", "cannot be read"),
])
def test_what_is_no_text_form(text, message):
    assert message in faults_of(text)[0]


def test_arrays_must_be_as_declared():
    text = HEADER + "a = Scale(scale=@a.scale f32[3])\nb = Scale(scale=@b.scale f64)"
    assert [each.split(": ", 1)[1] for each in faults_of(text, {"a.scale": np.ones(3)})] == [
        "line 2, column 17: the array 'a.scale' is not as declared (value: float64[3]; limit: float32[3])",
        "line 3, column 17: the array 'b.scale' is missing",
    ]


def test_a_sidecar_of_another_text_is_refused(tmp_path):
    write(EXAMPLE, tmp_path / "net.spk")
    changed = {"conv.0.weight": read_npz(tmp_path / "net.npz")["conv.0.weight"] + 1}
    write_npz(tmp_path / "net.npz", changed)
    with pytest.raises(BadInputError, match="SC123"):
        read(tmp_path / "net.spk")


def test_a_sidecar_is_read_no_further_than_the_text_declares(tmp_path):
    write(EXAMPLE, tmp_path / "net.spk")
    with open(tmp_path / "net.npz", "ab") as stream:
        stream.truncate(1 << 40)  # sparse on disk: reading it whole would not end well
    with pytest.raises(BadInputError, match="is too large"):
        read(tmp_path / "net.spk")


def test_shapes_beyond_the_sidecar_cost_nothing(tmp_path):
    write(EXAMPLE, tmp_path / "net.spk")
    text = (tmp_path / "net.spk").read_text()
    (tmp_path / "net.spk").write_text(text.replace("f64[4, 1, 3, 3]", "f64[1000000, 100000, 3, 3]"))
    with pytest.raises(BadInputError, match="SC121"):
        read(tmp_path / "net.spk")


@pytest.mark.parametrize("damage", ["no text", "no sidecar", "not UTF-8", "short sidecar", "no hash"])
def test_damaged_files_are_diagnosed(tmp_path, damage):
    path, sidecar = tmp_path / "net.spk", tmp_path / "net.npz"
    write(EXAMPLE, path)
    if damage == "no text":
        path.unlink()
    elif damage == "no sidecar":
        sidecar.unlink()
    elif damage == "not UTF-8":
        path.write_bytes(b"\xff\xfe")
    elif damage == "short sidecar":
        sidecar.write_bytes(sidecar.read_bytes()[:100])
    else:
        path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("arrays")))
    with pytest.raises(BadInputError, match="SC12"):
        read(path)


def test_the_sidecar_is_no_place_for_the_text(tmp_path):
    with pytest.raises(BadInputError, match="SC122"):
        write(EXAMPLE, tmp_path / "net.npz")
    with pytest.raises(BadInputError, match="SC522"):
        write(EXAMPLE, tmp_path / "missing" / "net.spk")


@given(cut=st.integers(0, 2000), junk=st.text(max_size=6), where=st.integers(0, 2000))
def test_damaged_text_gives_a_graph_or_diagnostics(cut, junk, where):
    text = to_text(EXAMPLE)
    for damaged in (text[:cut], text[:where] + junk + text[where:], text[:where] + text[where + len(junk):]):
        try:
            graph = parse(damaged, to_arrays(EXAMPLE))
        except BadInputError as error:
            assert all(found.code in ("SC111", "SC120", "SC121") for found in error.diagnostics)  # noqa: PT017
        else:
            assert isinstance(to_text(graph), str)


def test_illegal_graphs_are_shown_too():
    nodes = {"a": "no node", "b": ir.Linear(weight=[1.0]), "c": ir.Input(shape={1: 2})}
    assert str(Graph(nodes, (("a", "x"),), metadata={"k": None})) == """spikec-graph 1
metadata k = none

a = str("'no node'")
b = Linear(weight=f64[1](1.0))
c = Input(shape="{1: 2}")

a -> x
"""
