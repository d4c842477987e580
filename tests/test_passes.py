"""Passes one by one, the manager that runs them, and what the standard list makes of two networks, as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from transfer import FREQUENCIES, graph_bias, graph_transfer

from spikec.compiler.pipeline import canonicalise, lower
from spikec.ir import nodes as ir
from spikec.ir.derived import Leaf, expr_of, leaves
from spikec.ir.diagnostics import BadInputError, Diagnostics, SpikecError, SpikecWarning
from spikec.ir.graph import Graph
from spikec.ir.network import Dense, Network, Population, Projection
from spikec.ir.shapes import infer_shapes
from spikec.passes.fold import Fold
from spikec.passes.lower import Lower
from spikec.passes.manager import Pass, PassManager
from spikec.passes.mark_parameters import MarkParameters
from spikec.passes.remove_identity import RemoveIdentity
from spikec.passes.schedule import Schedule

GOLDEN = Path(__file__).parent / "golden" / "passes"
RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def norm(channels: int) -> ir.BatchNorm:
    mean, variance, gamma, beta = RNG.uniform(0.2, 2.0, (4, channels))
    return ir.BatchNorm(mean=mean, variance=variance, gamma=gamma, beta=beta)


def chain(shape: tuple[int, ...], **nodes: ir.Node) -> Graph:
    """input -> nodes -> IF -> output."""
    named = {"input": ir.Input(shape=shape), **nodes}
    edges = list(zip(named, list(named)[1:], strict=False))
    size = infer_shapes(Graph(named, tuple(edges)))[0][list(named)[-1]].output
    edges += [(list(named)[-1], "n"), ("n", "output")]
    return Graph({**named, "n": ir.IF(shape=size), "output": ir.Output(shape=size)}, tuple(edges))


def stateless(graph: Graph) -> list[str]:
    return [name for name, node in graph.nodes.items() if not isinstance(node, (ir.Input, ir.Neuron, ir.Output))]


def assert_same_meaning(one: Graph, other: Graph) -> None:
    for s in FREQUENCIES:
        wanted, got = graph_transfer(one, s), graph_transfer(other, s)
        assert got.keys() == wanted.keys()
        for pair in wanted:
            np.testing.assert_allclose(got[pair], wanted[pair], rtol=1e-12, atol=1e-14 * np.abs(wanted[pair]).max())
    for name, bias in graph_bias(one).items():
        np.testing.assert_allclose(graph_bias(other)[name], bias, rtol=1e-12, atol=1e-14)


# ---- folding

IMAGE = (2, 6, 6)


@pytest.mark.parametrize(("shape", "nodes", "left"), [
    ((3,), {"fc": ir.Linear(weight=normal(2, 3)), "s": ir.Scale(scale=normal(2))}, ["fc"]),
    ((3,), {"s": ir.Scale(scale=normal(3)), "fc": ir.Affine(weight=normal(2, 3), bias=normal(2))}, ["fc"]),
    ((3,), {"fc": ir.Affine(weight=normal(2, 3), bias=normal(2)), "s": ir.Scale(scale=0.5)}, ["fc"]),
    ((3,), {"fc": ir.Linear(weight=normal(2, 3), delay=normal(2, 3) ** 2), "bn": norm(2)}, ["fc"]),
    ((3,), {"bn": norm(3), "fc": ir.Linear(weight=normal(2, 3))}, ["fc"]),
    ((3,), {"sp": ir.SparseLinear(size=(2, 3), indptr=(0, 2, 3), indices=(0, 2, 1), weight=normal(3)), "bn": norm(2),
            "s": ir.Scale(scale=normal(2))}, ["sp"]),
    ((3,), {"bn": norm(3), "sp": ir.SparseLinear(size=(2, 3), indptr=(0, 2, 3), indices=(0, 2, 1), weight=normal(3),
                                                 bias=normal(2))}, ["sp"]),
    ((3,), {"a": ir.Affine(weight=normal(4, 3), bias=normal(4)), "b": ir.Affine(weight=normal(2, 4), bias=normal(2)),
            "c": ir.Linear(weight=normal(5, 2))}, ["c"]),
    ((3,), {"a": ir.Linear(weight=normal(4, 3), delay=normal(4, 3) ** 2), "b": ir.Linear(weight=normal(2, 4))},
     ["a", "b"]),
    ((3,), {"s": ir.Scale(scale=normal(3)), "t": ir.Scale(scale=2.0)}, ["t"]),
    ((3,), {"d": ir.Delay(delay=normal(3) ** 2), "e": ir.Delay(delay=1e-3)}, ["e"]),
    (IMAGE, {"c": ir.Conv2d(weight=normal(4, 1, 3, 3), groups=2, bias=normal(4), padding=(1, 1)), "bn": norm(4)},
     ["c"]),
    (IMAGE, {"bn": norm(2), "c": ir.Conv2d(weight=normal(4, 1, 3, 3), groups=2)}, ["c"]),
    (IMAGE, {"bn": norm(2), "c": ir.Conv2d(weight=normal(4, 1, 3, 3), groups=2, padding=(0, 1))}, ["bn", "c"]),
    (IMAGE, {"s": ir.Scale(scale=normal(2, 1, 1)), "c": ir.Conv2d(weight=normal(4, 2, 3, 3), padding="same")}, ["c"]),
    (IMAGE, {"c": ir.Conv2d(weight=normal(4, 2, 3, 3)), "s": ir.Scale(scale=normal(4, 4, 4))}, ["c", "s"]),
    ((2, 7), {"bn": norm(2), "c": ir.Conv1d(weight=normal(4, 1, 3), groups=2), "bn2": norm(4)}, ["c"]),
])
def test_fold(shape, nodes, left) -> None:
    graph = chain(shape, **nodes)
    folded = PassManager((MarkParameters(), Fold())).run(graph)
    assert stateless(folded) == left
    assert_same_meaning(graph, folded)


def test_folded_weights_know_all_their_parameters() -> None:
    graph = chain((3,), fc=ir.Linear(weight=normal(2, 3)), bn=norm(2), s=ir.Scale(scale=normal(2)))
    node = PassManager((MarkParameters(), Fold())).run(graph).nodes["fc"]
    of_norm = {Leaf("bn", name) for name in ("variance", "gamma")}
    assert leaves(expr_of(node.weight)) == {Leaf("fc", "weight"), Leaf("s", "scale"), *of_norm}
    assert leaves(expr_of(node.bias)) == {Leaf("bn", "beta"), Leaf("bn", "mean"), Leaf("s", "scale"), *of_norm}


def test_what_feeds_or_is_fed_by_others_is_not_folded() -> None:
    graph = Graph(
        {"i": ir.Input(shape=(3,)), "a": ir.Linear(weight=normal(2, 3)), "s": ir.Scale(scale=normal(2)),
         "b": ir.Linear(weight=normal(2, 3)), "n": ir.IF(shape=(2,)), "m": ir.IF(shape=(2,)),
         "o": ir.Output(shape=(2,)), "p": ir.Output(shape=(2,))},
        (("i", "a"), ("i", "b"), ("a", "s"), ("b", "s"), ("s", "n"), ("a", "m"), ("n", "o"), ("m", "p")),
    )
    folded = PassManager((MarkParameters(), Fold())).run(graph)
    assert stateless(folded) == ["a", "s", "b"]


# ---- what does nothing


def test_remove_identity() -> None:
    graph = chain(
        (4, 1, 1), pool=ir.SumPool2d(kernel_size=(1, 1), stride=(1, 1)), flat=ir.Flatten(), again=ir.Flatten(),
        wait=ir.Delay(delay=np.zeros(4)), fc=ir.Linear(weight=normal(2, 4), delay=np.zeros((2, 4))),
        one=ir.Scale(scale=1.0),
    )
    left = PassManager((RemoveIdentity(),)).run(graph)
    assert stateless(left) == ["flat", "fc", "one"] and left.nodes["fc"].delay is None
    assert_same_meaning(graph, left)
    kept = PassManager((RemoveIdentity(keep_delays=True),)).run(graph)
    assert stateless(kept) == ["flat", "wait", "fc", "one"] and kept.nodes["fc"].delay is not None


def test_of_two_ways_that_do_nothing_one_stays() -> None:
    graph = Graph(
        {"i": ir.Input(shape=(2,)), "x": ir.Flatten(), "y": ir.Delay(delay=0.0), "n": ir.IF(shape=(2,)),
         "o": ir.Output(shape=(2,))},
        (("i", "x"), ("i", "y"), ("x", "n"), ("y", "n"), ("n", "o")),
    )
    left = PassManager((RemoveIdentity(),)).run(graph)
    assert stateless(left) == ["y"]
    assert_same_meaning(graph, left)  # both ways count


def test_canonical_graphs_stay_as_they_are() -> None:
    graph = chain(IMAGE, bn=norm(2), c=ir.Conv2d(weight=normal(4, 2, 3, 3)), f=ir.Flatten(),
                  fc=ir.Linear(weight=normal(2, 64)))
    once = canonicalise(graph)
    assert str(canonicalise(once)) == str(once)


# ---- the schedule


def wired(*edges: tuple[str, str]) -> Network:
    names = sorted({name for edge in edges for name in edge} - {"in"})
    one = np.ones(1)
    populations = {
        name: Population(name=name, kind="integrator", shape=(1,), spiking=True, r=one, bias=one, v0=one,
                         v_threshold=2 * one, v_reset=0 * one, refractory=one)
        for name in names
    }
    projections = tuple(Projection(name=f"{a}{b}", source=a, target=b, connection=Dense(weight=np.ones((1, 1))))
                        for a, b in edges)
    return Network(inputs={"in": (1,)}, populations=populations, projections=projections, outputs={"out": names[0]})


def test_schedule_is_topological_and_groups_cycles() -> None:
    network = wired(("in", "d"), ("d", "c"), ("c", "b"), ("b", "c"), ("b", "a"), ("a", "a"), ("in", "e"), ("e", "a"))
    assert Schedule().run(network).schedule == (("d",), ("b", "c"), ("e",), ("a",))


# ---- the manager


@dataclass(frozen=True)
class Spoil(Pass[Graph, Graph]):
    """Leaves an edge to nowhere, or a weight that is no number."""

    name: ClassVar[str] = "spoil"

    overflow: bool = False

    def run(self, graph: Graph) -> Graph:
        if self.overflow:
            return graph.with_nodes({"fc": ir.Linear(weight=np.full((2, 3), np.inf))})
        return graph.replace(edges=(*graph.edges, ("nowhere", "n")))


@dataclass(frozen=True)
class Fail(Pass[Graph, Graph]):
    name: ClassVar[str] = "fail"

    def run(self, graph: Graph) -> Graph:
        raise KeyError("x")


def plain() -> Graph:
    return chain((3,), fc=ir.Linear(weight=normal(2, 3)))


def test_a_pass_that_breaks_the_graph_is_named() -> None:
    with pytest.raises(SpikecError, match="SC301: pass 'spoil' leaves") as caught:
        PassManager((MarkParameters(), Spoil())).run(plain())
    assert [found.code for found in caught.value.diagnostics] == ["SC301", "SC101"]
    assert not isinstance(caught.value, BadInputError)


def test_numbers_that_overflow_are_the_users() -> None:
    huge = chain((3,), fc=ir.Linear(weight=np.full((2, 3), 1e300)), s=ir.Scale(scale=1e300))
    with pytest.raises(BadInputError, match=r"SC104 at 'fc'.*after pass 'fold'"):
        lower(huge)
    with pytest.raises(BadInputError, match="after pass 'spoil'"):
        PassManager((Spoil(overflow=True),)).run(plain())


def test_an_error_says_which_pass_it_comes_from() -> None:
    with pytest.raises(KeyError) as caught:
        PassManager((MarkParameters(), Fail())).run(plain())
    assert caught.value.__notes__ == ["in pass 'fail', number 2 of 2"]


def test_a_pass_whose_needs_are_not_met_is_refused() -> None:
    with pytest.raises(ValueError, match="'fold' requires what no pass before it ensures: marked"):
        PassManager((Fold(),))
    with pytest.raises(ValueError, match=r"'schedule' requires .*: lowered"):
        PassManager((Schedule(), Lower()))


def test_an_illegal_graph_is_the_users_fault() -> None:
    graph = plain()
    with pytest.raises(BadInputError, match="SC101"):
        lower(graph.replace(edges=(*graph.edges, ("nowhere", "n"))))


def test_warnings_are_gathered_once() -> None:
    dead = plain().with_nodes({"dead": ir.IF(shape=(2,)), "loop": ir.Linear(weight=normal(2, 2))})
    dead = dead.replace(edges=(*dead.edges, ("fc", "dead"), ("dead", "loop"), ("loop", "dead")))
    collected = Diagnostics()
    lower(dead, diagnostics=collected)
    assert [(found.code, found.node, found.severity) for found in collected.found] == [
        ("SC106", "dead", "warning"), ("SC106", "loop", "warning")]
    with pytest.warns(SpikecWarning) as caught:
        lower(dead)
    assert [str(each.message) for each in caught] == [str(found) for found in collected.found]


def test_every_step_is_dumped(tmp_path: Path) -> None:
    graph = plain()
    network = lower(graph, tmp_path / "new" / "folder")
    files = sorted((tmp_path / "new" / "folder").iterdir())
    assert [file.name for file in files] == [
        "00_model.txt", "01_mark-parameters.txt", "02_remove-identity.txt", "03_fold.txt", "04_lower.txt",
        "05_schedule.txt"]
    assert files[0].read_text() == str(graph) and files[-1].read_text() == str(network)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="SC522"):
        lower(plain(), tmp_path / "file" / "folder")


# ---- golden dumps


def recurrent() -> Graph:
    """Two inputs that meet, a bias, a loop, a skip connection, delays, and a readout."""
    ramp = np.arange(6.0).reshape(2, 3) / 8
    return Graph(
        {"left": ir.Input(shape=(3,)), "right": ir.Input(shape=(3,)), "gain": ir.Scale(scale=[1.0, 2.0, 4.0]),
         "fc1": ir.Affine(weight=ramp, bias=[0.25, 0.5]), "half": ir.Scale(scale=0.5),
         "hidden": ir.CubaLIF(shape=(2,), tau_mem=0.02, tau_syn=0.005, w_in=0.005, refractory=[0.001, 0.002]),
         "wait": ir.Delay(delay=0.001), "rec": ir.Linear(weight=np.eye(2), delay=[[0.0, 0.001], [0.002, 0.0]]),
         "fc2": ir.Linear(weight=ramp[:1, :2]), "skip": ir.SparseLinear(size=(1, 3), indptr=(0, 2), indices=(0, 2),
                                                                        weight=[1.0, -1.0]),
         "readout": ir.CubaLI(shape=(1,), tau_mem=0.02, tau_syn=0.005), "out": ir.Output(shape=(1,))},
        (("left", "gain"), ("right", "gain"), ("gain", "fc1"), ("fc1", "half"), ("half", "hidden"), ("hidden", "wait"),
         ("wait", "rec"), ("rec", "hidden"), ("hidden", "fc2"), ("fc2", "readout"), ("left", "skip"),
         ("skip", "readout"), ("readout", "out")),
    )


def convolutional() -> Graph:
    """Convolution with normalisation, a pool before the next, and a matrix behind a pool that drops a leftover row."""
    return chain(
        (1, 5, 4), conv=ir.Conv2d(weight=np.ones((2, 1, 2, 1)), bias=[0.5, 1.0], padding="same"),
        norm=ir.BatchNorm(mean=[0.5, 0.0], variance=[3.75, 0.75], gamma=[2.0, 1.0], beta=[0.0, 1.0], eps=0.25),
        pool=ir.AvgPool2d(kernel_size=(2, 2), stride=(2, 2)), flat=ir.Flatten(),
        fc=ir.Linear(weight=np.arange(8.0).reshape(1, 8)),
    )


@pytest.mark.parametrize("graph", [recurrent, convolutional], ids=lambda make: make.__name__)
def test_dumps_are_as_expected(graph, update_golden: bool, tmp_path: Path) -> None:
    lower(graph(), tmp_path)
    folder = GOLDEN / graph.__name__
    if update_golden:
        folder.mkdir(parents=True, exist_ok=True)
        for file in tmp_path.iterdir():
            (folder / file.name).write_text(file.read_text())
    wanted = {file.name: file.read_text() for file in folder.iterdir()}
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == wanted
