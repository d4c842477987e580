"""Learning on the clock: the engine against the oracle, which steps every synapse of every sample by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conformance.networks import KINDS, chain  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import spikec  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import BadInputError, UnsupportedError  # noqa: E402
from spikec.ir.events import Events  # noqa: E402
from spikec.ir.learning.layout import learning_layout  # noqa: E402
from spikec.ir.learning.rule import (  # noqa: E402
    Error,
    Factor,
    Feedback,
    Gate,
    LearningRule,
    Noise,
    Phase,
    Term,
    Trace,
    Update,
)
from spikec.ir.learning.step import LearningState, simulate_learning, weights_above  # noqa: E402
from spikec.ir.learning.terms import terms  # noqa: E402
from spikec.ir.rules import RULES, biograd  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402
from spikec.runtime.clock.inputs import rasters_of  # noqa: E402
from spikec.runtime.learning.clock.adjoint import contracted  # noqa: E402
from spikec.runtime.learning.clock.dense import replayed  # noqa: E402
from spikec.runtime.learning.clock.learner import ClockLearner  # noqa: E402
from spikec.runtime.learning.clock.noise import signed_noise  # noqa: E402
from spikec.runtime.learning.clock.optimizers import LocalOptimizer  # noqa: E402
from spikec.targets.clock.program import ClockProgram  # noqa: E402

DT, KEPT, STEPS = 1e-3, 0.5, 8
TAU = -DT / np.log(KEPT)
SIZES = (5, 6, 4, 3)
Array = np.ndarray[Any, Any]


def network(sizes: tuple[int, ...] = SIZES, bias: bool = True, skip: bool = False, gain: float = 1.6) -> spikec.Graph:
    """Layers of the paper's neurons: V = 0.5 V (1 - s) + W x + b."""
    rng = np.random.default_rng(7)
    made: dict[str, nodes.Node] = {"in": nodes.Input(shape=(sizes[0],))}
    edges, before = [], "in"
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        weight = rng.normal(size=(n_out, n_in)) * gain / np.sqrt(n_in)
        offset = rng.normal(size=n_out) * 0.1
        made[f"w{layer}"] = nodes.Affine(weight=weight, bias=offset) if bias else nodes.Linear(weight=weight)
        made[f"n{layer}"] = nodes.LIF(tau=np.full(n_out, TAU), r=np.full(n_out, 2.0), v_leak=np.zeros(n_out),
                                      v_threshold=np.full(n_out, 0.5))
        edges += [(before, f"w{layer}"), (f"w{layer}", f"n{layer}")]
        before = f"n{layer}"
    if skip:
        made["skip"] = nodes.Linear(weight=rng.normal(size=(sizes[-1], sizes[1])))
        edges += [("n0", "skip"), ("skip", before)]
    made["out"] = nodes.Output(shape=(sizes[-1],))
    grid = spikec.Discretization(DT, spike="box", integrator="decay")
    return spikec.Graph(made, (*edges, (before, "out")), grid)


def samples(batch: int, n: int, steps: int = STEPS, seed: int = 1) -> Array:
    return (np.random.default_rng(seed).random((batch, steps, n)) < 0.5).astype(np.float64)


def learner_of(graph: spikec.Graph, rule: LearningRule, seed: int = 3, **options: Any) -> ClockLearner:
    return ClockProgram(graph).learner(rule, seed=seed, **{"dtype": torch.float64, **options})


def state_of(learner: ClockLearner) -> LearningState:
    weights, biases, feedback = ({name: each.numpy().copy() for name, each in table.items()}
                                 for table in (learner.weights, learner.biases, learner.feedback))
    return LearningState(weights, biases, feedback, learner.seen, learner.reward)


def assert_equal(graph: spikec.Graph, rule: LearningRule, batches: list[tuple[Array, list[int]]],
                 **options: Any) -> float:
    """Learns batch after batch by both; gives the largest change of a weight."""
    learner = learner_of(graph, rule, **options)
    dice = torch.Generator()
    dice.set_state(learner.generator.get_state())
    state, largest = state_of(learner), 0.0
    begun = state
    asked = {name: value for name, value in options.items() if name in ("output", "projections")}

    def noise(phase: Phase, layer: str, count: int, columns: int, n: int) -> Array:
        assert phase.noise is not None
        drawn: Array = signed_noise(phase.noise, count, columns, n, dice).numpy().transpose(1, 0, 2)
        return drawn.astype(np.float64)

    for events, labels in batches:
        answer = learner.learn(events, np.array(labels))
        reference = simulate_learning(graph, rule, state, events, labels, noise=noise, **asked)
        np.testing.assert_array_equal(answer.counts, reference.counts)
        np.testing.assert_array_equal(answer.predictions, reference.predictions)
        assert answer.errors.get("error", 0.0) == pytest.approx(reference.error, rel=1e-12)
        assert dict(answer.spikes) == {name: reference.spikes[name] for name in answer.spikes}
        state, found = reference.state, state_of(learner)
        for what in ("weights", "biases", "feedback"):
            mine, its, was = (getattr(each, what) for each in (found, state, begun))
            assert mine.keys() == its.keys()
            for name in mine:
                moved = float(np.abs(its[name] - was[name]).max())
                largest = max(largest, moved)
                np.testing.assert_allclose(mine[name], its[name], rtol=1e-12, atol=1e-11 * moved + 1e-15, err_msg=name)
        assert (found.seen, found.reward) == (state.seen, pytest.approx(state.reward))
    return largest


BATCHES = {"batch": 4, "online": 1}


def parted(batch: int, n: int, steps: int = STEPS, classes: int = 3) -> list[tuple[Array, list[int]]]:
    whole, labels = samples(4, n, steps), [number % classes for number in range(4)]
    return [(whole[begin:begin + batch], labels[begin:begin + batch]) for begin in range(0, 4, batch)]


SHORT: dict[str, dict[str, Any]] = {
    "biograd": {"rate": 0.1, "duration": 0.008, "start": 0.002, "sleep_duration": 0.006, "sleep_every": 2,
                "sleep_samples": 3, "sleep_rate": 0.01, "bias": True},
    "e_prop": {"rate": 0.1, "duration": 0.008, "bias": True},
    "superspike": {"rate": 0.1, "duration": 0.008},
    "decolle": {"rate": 0.1, "duration": 0.008, "start": 0.001},
    "emstdp": {"rate": 0.01, "duration": 0.005},
    "soel": {"rate": 0.1, "duration": 0.008},
    "reward_stdp": {"duration": 0.008},
    **{name: {"duration": 0.008} for name in ("stdp_pair", "stdp_triplet", "hebb", "oja")},
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=list(BATCHES))
@pytest.mark.parametrize("name", list(RULES))
def test_rules_of_the_library_do_what_the_oracle_says(name: str, batch: int) -> None:
    rule = RULES[name].make(**SHORT[name])
    if rule.error is not None:
        rule = replace(rule, error=replace(rule.error, start=min(rule.error.start, 0.002), margin=0.0))
    assert assert_equal(network(), rule, parted(batch, SIZES[0])) > 1e-4


FEEDBACKS: dict[str, dict[str, Any]] = {
    "exact": {"eligibility": "exact", "tau": TAU, "dt": DT},
    "gate at spikes": {"eligibility": "spike"},
    "transposed": {"feedback": "transposed"},
    "layered transposed": {"feedback": "transposed", "path": "layered"},
    "Kolen-Pollack": {"feedback": "kolen_pollack", "path": "layered", "decay": 0.1},
    "layered sleep": {"path": "layered", "oja": 2},
    "fixed": {"feedback": "fixed", "spikes": False},
    "none": {"feedback": "none"},
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=list(BATCHES))
@pytest.mark.parametrize("variant", list(FEEDBACKS))
def test_every_way_of_the_error_back(variant: str, batch: int) -> None:
    rule = biograd(**{**SHORT["biograd"], **FEEDBACKS[variant]})
    assert assert_equal(network(skip="layered" not in variant and variant != "Kolen-Pollack"), rule,
                        parted(batch, SIZES[0])) > 1e-4


def rich_rule(**changes: Any) -> LearningRule:
    """Something of everything: the membrane, both tags, weights in products, and feedback that learns awake."""
    feedback = Feedback("learned", traces=(Trace("x1", 0.004), Trace("y1", 0.003, 0.5)), updates=(
        Update("w", "step", terms("0.02*x1*y1 - 0.01*x1*w")), Update("w", "sample", terms("0.05*e*x1"))))
    return LearningRule(
        "rich", "", (
            Update("t", "step", terms("0.3*x1*y1 - 0.2*t + 0.1*t*y0 + 0.1*d*y1")),
            Update("d", "post", terms("0.5*x2 - 0.1*d")),
            Update("d", "pre", terms("0.2*y2*w"), phases=("free",)),
            Update("w", "step", terms("-0.02*e*x1*y1 + 0.01*t*y3"), every=1),
            Update("w", "error", terms("0.03*(y2 - 0.5)*x2")),
            Update("w", "sample", terms("-0.05*e*t - 0.02*sgn(w)*d + 0.01*(w - 0.25)*x1*y3"))),
        (Trace("x1", "tau_mem" if changes.pop("symbolic", False) else 0.003), Trace("x2", 0.005, of="x1"),
         Gate("y1", "triangle", 1.5), Gate("y2", "membrane"), Trace("y3", None, phases=("taught",))),
        Error("spike", spikes=False, start=0.001, dendrite_tau=0.004, period=2), feedback,
        (Phase("free", 0.004), Phase("taught", 0.005, teach=True, inject=-0.2)),
        **{"bias": True, "bounds": (-1.5, 1.5), **changes})


@pytest.mark.parametrize("batch", BATCHES.values(), ids=list(BATCHES))
@pytest.mark.parametrize("average", [True, False])
def test_everything_at_once(batch: int, average: bool) -> None:
    rule = rich_rule(average=average, symbolic=True)
    assert assert_equal(network(skip=True), rule, parted(batch, SIZES[0], 4)) > 1e-4


NEURONS = {f"{kind} {text}": (kind, spikec.Discretization(0.001, **grid), topology, more)
           for kind in KINDS for text, grid, topology, more in (
    ("recurrent", {"integrator": "decay"}, "recurrent", {}),
    ("box", {"integrator": "decay", "spike": "box"}, "feedforward", {}),
    ("exact", {}, "feedforward", {}),
    ("late reset", {"integrator": "euler", "reset": "next"}, "feedforward", {}),
    ("refractory", {"integrator": "semi", "reset": "next"}, "feedforward", {"refractory": 2e-3, "reset": "subtract"}),
    ("many", {"integrator": "decay", "spikes": "many", "fires": "at"}, "feedforward", {"reset": "subtract"}),
) if kind != "StepNeuron" or text in ("recurrent", "box")}


@pytest.mark.parametrize("case", list(NEURONS))
def test_every_neuron_on_every_grid_learns(case: str) -> None:
    kind, grid, topology, more = NEURONS[case]
    graph = chain(kind, grid, topology, **more)
    n = graph.nodes[graph.inputs[0]].shape[0]  # type: ignore[attr-defined]
    classes = graph.nodes[graph.outputs[0]].shape[0]  # type: ignore[attr-defined]
    for batch in (1, 2):
        assert assert_equal(graph, rich_rule(bounds=None), parted(batch, n, 4, classes)[:2]) > 1e-6


# Random rules

FACTORS = st.builds(Factor, st.sampled_from(("x0", "x1", "x2", "y0", "y1", "y2", "y3", "e", "w", "t", "d", "r")),
                    st.sampled_from((0.0, 0.0, 0.5, -0.25)))
SIGNS = st.builds(Factor, st.sampled_from(("w", "t", "e")), st.just(0.0), st.just(True))
TERMS = st.builds(Term, st.sampled_from((0.1, -0.05, 0.02)),
                  st.lists(st.one_of(FACTORS, FACTORS, FACTORS, SIGNS), min_size=1, max_size=3).map(tuple))
UPDATES = st.builds(
    Update, st.sampled_from(("w", "t", "d")), st.sampled_from(("step", "pre", "post", "error", "sample")),
    st.lists(TERMS, min_size=1, max_size=3).map(tuple), st.sampled_from(((), (), ("one",), ("two", "one"))),
    st.integers(0, 1))
RANDOM = st.builds(
    LearningRule, st.just("random"), st.just(""), st.lists(UPDATES, min_size=1, max_size=5).map(tuple),
    variables=st.tuples(
        st.builds(Trace, st.just("x1"), st.sampled_from((0.003, None, "tau_mem")), st.just(0.5)),
        st.builds(Trace, st.just("x2"), st.just(0.002), st.just(1.0), st.sampled_from(("spikes", "x1")),
                  st.sampled_from(((), ("two",)))),
        st.builds(Gate, st.just("y1"), st.sampled_from(("box", "triangle", "fast_sigmoid")), st.just(0.7),
                  st.sampled_from((None, 0.4)), st.sampled_from((1.0, 0.3))),
        st.just(Gate("y2", "membrane")), st.builds(Trace, st.just("y3"), st.just(0.004))),
    error=st.builds(Error, st.sampled_from(("softmax", "count", "spike", "trace", "local", "reward")), st.booleans(),
                    st.just(0.4), st.sampled_from((0.0, 0.002)), st.sampled_from((0.0, 0.2)),
                    st.sampled_from((None, 0.003)), st.sampled_from((None, 0.0, 0.003))),
    feedback=st.builds(Feedback, st.sampled_from(("fixed", "transposed", "none"))),
    phases=st.just((Phase("one", 0.003, teach=True), Phase("two", 0.003, teach=True, inject=0.1))),
    bias=st.booleans(), average=st.booleans())


@settings(max_examples=40)
@given(RANDOM, st.sampled_from((1, 2)))
def test_random_rules(rule: LearningRule, batch: int) -> None:
    learner = ClockLearner(ClockProgram(network()).engine, rule, None, None, 3, torch.float64, torch.device("cpu"))
    state = state_of(learner)
    events, labels = samples(batch, SIZES[0], 3), [2, 0][:batch]
    learner.learn(events, np.array(labels))
    reference = simulate_learning(network(), rule, state, events, labels)
    for mine, its in ((learner.weights, reference.state.weights), (learner.biases, reference.state.biases)):
        for name in mine:
            np.testing.assert_allclose(mine[name].numpy(), its[name], rtol=1e-10, atol=1e-13)


# What is quick is right

@pytest.mark.parametrize("name", ["biograd", "e_prop", "superspike", "decolle", "stdp_triplet", "reward_stdp"])
def test_tags_are_eliminated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way is taken, and brings what tags by synapse bring."""
    exact = FEEDBACKS["exact"] if name == "biograd" else {}
    learner = learner_of(network(), RULES[name].make(**{**SHORT[name], **exact}))
    assert all(link.linear for link in learner.links)
    taken = []

    def both(*arguments: Any) -> Any:
        quick, slow = contracted(*arguments), replayed(*arguments)
        taken.append(float(quick[0].abs().max()))
        torch.testing.assert_close(quick[0], slow[0], rtol=1e-11, atol=1e-13)
        return quick

    monkeypatch.setattr("spikec.runtime.learning.clock.learner.contracted", both)
    monkeypatch.setattr("spikec.runtime.learning.clock.adjoint.TOGETHER", 3 * 4 * 6)  # a few columns at a time
    learner.learn(samples(4, SIZES[0]), np.array([0, 1, 2, 0]))
    assert max(taken) > 1e-5


class _Box(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, membrane: Any) -> Any:
        ctx.save_for_backward(membrane)
        return (membrane > 0.5).to(membrane.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient * ((ctx.saved_tensors[0] - 0.5).abs() < 0.4)


def test_the_exact_eligibility_is_the_gradient_through_a_box() -> None:
    """With the error that the dendrite has in the end, as torch's autograd finds it, resets included, for the output
    layer; and for hidden neurons under the copied feedback, as their own spikes' gradient."""
    graph, rate, events, labels = network(SIZES[1:]), 0.1, samples(6, SIZES[1], seed=3), np.array([0, 1, 2, 2, 1, 0])
    rule = biograd(rate=rate, width=0.4, eligibility="exact", tau=TAU, dt=DT, feedback="transposed", spikes=False,
                   duration=STEPS * DT, start=2 * DT, bias=True)
    learner = learner_of(graph, rule)
    weights = [learner.weights[f"w{layer}"].clone().requires_grad_() for layer in range(2)]
    biases = [learner.biases[f"w{layer}"].clone().requires_grad_() for layer in range(2)]
    given = torch.from_numpy(events)
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        membrane = spikes = torch.zeros(())
        shown = []
        for column in range(STEPS):
            membrane = KEPT * membrane * (1 - spikes) + given[:, column] @ weight.t() + bias
            spikes = _Box.apply(membrane)
            shown.append(spikes)
        given = torch.stack(shown, 1).detach()
        layers.append(torch.stack(shown, 1))
    counts = layers[1].detach().cumsum(1)[:, 2:]
    error = (torch.softmax(counts, 2) - torch.nn.functional.one_hot(torch.from_numpy(labels), 3)[:, None]).sum(1)
    loss = (layers[1].sum(1) * error).sum() + (layers[0].sum(1) * (error @ weights[1].detach())).sum()
    (loss / len(labels)).backward()
    before = [each.detach().clone() for each in (*weights, *biases)]
    learner.learn(events, labels)
    after = [table[f"w{layer}"] for table in (learner.weights, learner.biases) for layer in range(2)]
    for was, now, each in zip(before, after, (*weights, *biases), strict=True):
        assert float(each.grad.abs().max()) > 1e-3
        torch.testing.assert_close(now - was, -rate * each.grad, rtol=1e-10, atol=1e-13)


def test_it_learns() -> None:
    """Three patterns with noise, from random feedback that sleep turns towards the weights."""
    rng = np.random.default_rng(0)
    patterns = (rng.random((3, 20)) < 0.4) * 0.8 + 0.1
    rule = biograd(rate=0.03, width=2.0, duration=0.012, start=0.003, sleep_every=16, sleep_samples=16,
                   sleep_duration=0.02, sleep_rate=4e-3, sleep_decay=1e-2, bias=True)
    learner = learner_of(network((20, 24, 3), gain=1.0), rule, dtype=torch.float32)
    begun = learner.figures().angles["n0"]
    for _ in range(24):
        labels = rng.integers(0, 3, 16)
        learner.learn(rng.random((16, 12, 20)) < patterns[labels][:, None], labels)
    labels = rng.integers(0, 3, 200)
    answer = learner.answer(rng.random((200, 12, 20)) < patterns[labels][:, None])
    assert (answer.predictions == labels).mean() > 0.95
    assert learner.figures().angles["n0"] < min(65.0, begun - 25)


# State, figures, what comes in and goes out

def test_a_state_goes_on_with_the_same_bits() -> None:
    rule, batches = biograd(**SHORT["biograd"]), [(samples(3, SIZES[0], seed=seed), np.array([0, 1, 2])) for seed in
                                                  range(4)]
    whole = learner_of(network(), rule, dtype=torch.float32)
    for events, labels in batches[:2]:
        whole.learn(events, labels)
    other = learner_of(network(), rule, seed=99, dtype=torch.float32)
    other.load(whole.state())
    other.rate = whole.rate = 0.5
    for events, labels in batches[2:]:
        whole.learn(events, labels)
        other.learn(events, labels)
    mine, its = whole.state(), other.state()
    assert mine.keys() == its.keys() and {"weights/w0", "biases/w0", "feedback/n1", "generator", "seen"} <= mine.keys()
    for name in mine:
        assert mine[name].tobytes() == its[name].tobytes(), name
    with pytest.raises(BadInputError) as found:
        learner_of(network((5, 7, 3)), rule).load(mine)
    assert {each.code for each in found.value.diagnostics} == {"SC513"} and len(found.value.diagnostics) > 3


HELD = {**SHORT["biograd"], "slope": 0.4, "oja": 0, "sleep_decay": 0.05, "sleep_held": True, "eligibility": "exact",
        "dt": DT, "tau": TAU}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_inputs_and_noise_that_are_held(batch: int) -> None:
    """Currents that are the same in every column, given as one column that is expanded, as the oracle sees them."""
    rule = biograd(**HELD)
    shown = torch.from_numpy(np.random.default_rng(5).random((4, 1, SIZES[0])))
    mine = learner_of(network(gain=2.5), rule)
    parts = [(shown[begin:begin + batch], [0, 1, 2, 0][begin:begin + batch]) for begin in range(0, 4, batch)]
    spread = [(each.expand(-1, STEPS, -1), labels) for each, labels in parts]
    assert assert_equal(network(gain=2.5), rule, [(each.numpy().copy(), labels) for each, labels in spread]) > 1e-3
    for each, labels in spread:
        mine.learn(each, np.array(labels))
    other = learner_of(network(gain=2.5), rule)
    for each, labels in spread:
        other.learn(each.contiguous(), np.array(labels))
    for name, weight in mine.weights.items():
        torch.testing.assert_close(weight, other.weights[name], rtol=1e-11, atol=1e-13)
    kept = rasters_of(mine.engine, spread[0][0], None, torch.float64, torch.device("cpu"))[0]["in"]
    assert kept.shape == (STEPS, batch, SIZES[0]) and not kept.stride(0)


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_synapses_with_an_optimizer_of_their_own(kind: Literal["momentum", "adam"]) -> None:
    """What the rule asks for, through torch's optimizer of that name; a state goes on with the same bits."""
    rule = biograd(**{**SHORT["biograd"], "feedback": "fixed"})
    chosen = LocalOptimizer(kind, step=0.01, decay=0.02)
    learner = learner_of(network(), rule, optimizer=chosen)
    weight = learner.weights["w1"].clone()
    made = (torch.optim.AdamW([weight], 0.01, eps=1e-8, weight_decay=2.0) if kind == "adam" else
            torch.optim.SGD([weight], 1.0, momentum=0.9))
    for seed in range(4):
        plain = learner_of(network(), rule)
        for of, own in ((plain.weights, learner.weights), (plain.biases, learner.biases),
                        (plain.feedback, learner.feedback)):
            for name, each in of.items():
                each.copy_(own[name])
        events, labels = samples(3, SIZES[0], seed=seed), np.array([0, 1, 2])
        before = plain.weights["w1"].clone()
        plain.learn(events, labels)
        weight.grad = before - plain.weights["w1"]
        kept = weight.clone()
        made.step()
        if kind == "momentum":
            weight.sub_(0.02 * kept)
        learner.learn(events, labels)
        torch.testing.assert_close(learner.weights["w1"], weight, rtol=1e-9, atol=1e-12)
    other = learner_of(network(), rule, seed=99, optimizer=chosen)
    other.load(learner.state())
    for each in (learner, other):
        each.learn(samples(3, SIZES[0], seed=9), np.array([2, 1, 0]))
    mine, its = learner.state(), other.state()
    assert {"mean/weights/w0", "mean/biases/w2", "updates"} <= mine.keys() == its.keys()
    assert all(mine[name].tobytes() == its[name].tobytes() for name in mine)
    with pytest.raises(BadInputError, match="SC513"):
        learner_of(network(), rule).load(mine)


def test_optimizers_that_are_none() -> None:
    for wrong, told in (("adamw", "adamw"), (LocalOptimizer("adam", momentum=1.0, step=-1.0), "step")):
        with pytest.raises(BadInputError, match=told) as found:
            learner_of(network(), biograd(), optimizer=wrong)
        assert {each.code for each in found.value.diagnostics} == {"SC403"}


def test_rate_scales_what_weights_take() -> None:
    rule = biograd(**{**SHORT["biograd"], "feedback": "fixed"})
    changes = []
    for rate in (1.0, 0.25):
        learner = learner_of(network(), rule)
        learner.rate = rate
        before = learner.weights["w1"].clone()
        learner.learn(samples(2, SIZES[0]), np.array([0, 1]))
        changes.append(learner.weights["w1"] - before)
    torch.testing.assert_close(changes[0] * 0.25, changes[1])
    assert changes[0].abs().max() > 1e-3


def test_figures_are_true() -> None:
    rule = replace(biograd(**SHORT["biograd"]), bounds=(-0.5, 0.5))
    learner = learner_of(network(), rule)
    before = {name: each.clone() for name, each in learner.weights.items()}
    events, labels = samples(2, SIZES[0]), np.array([0, 1])
    spikes = simulate_step(learner.to_graph(), events).spikes
    learner.learn(events, labels)
    found, state = learner.figures(), state_of(learner)
    recurrent = frozenset[tuple[str, str]]()
    for name, weight in state.weights.items():
        assert found.updated[name] == np.mean(weight != before[name].numpy())
        assert found.saturated[name] == np.mean(np.abs(weight) == 0.5) > 0
        assert found.norm[name] == pytest.approx(np.linalg.norm(weight))
    for layer, n in (("n0", 6), ("n1", 4), ("n2", 3)):
        assert found.rates[layer] == pytest.approx(spikes[layer].sum() / (2 * n * STEPS * DT))
    for layer, matrix in state.feedback.items():
        goal = weights_above(learner.to_graph(), {}, layer, "n2", recurrent).T
        cosine = (matrix * goal).sum() / np.linalg.norm(matrix) / np.linalg.norm(goal)
        assert found.angles[layer] == pytest.approx(np.degrees(np.arccos(cosine)))
        assert found.norms[layer] == pytest.approx(np.linalg.norm(matrix) / np.linalg.norm(goal))
    assert learner.figures().updated == {}


def test_what_was_learnt_goes_back_into_the_graph() -> None:
    learner = learner_of(network(), biograd(**SHORT["biograd"]))
    events = samples(4, SIZES[0])
    learner.learn(events, np.array([0, 1, 2, 0]))
    answer = learner.answer(events)
    spikes = simulate_step(learner.to_graph(), events).spikes
    np.testing.assert_array_equal(answer.counts, spikes["out"].sum(1))
    assert answer.errors == {} and answer.spikes == {name: spikes[name].sum() for name in ("n0", "n1", "n2")}
    assert not np.array_equal(learner.to_graph().nodes["w0"].weight, network().nodes["w0"].weight)  # type: ignore[attr-defined]


def test_events_and_rasters_teach_the_same() -> None:
    events, labels = samples(3, SIZES[0], STEPS - 2), np.array([0, 1, 2])
    which, column, channel = np.nonzero(events)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=3))])
    as_events = Events((column + 1) * DT, channel, offsets)
    states = []
    for each in (events, torch.from_numpy(events).to(torch.uint8), as_events, {"in": events}):
        learner = learner_of(network(), biograd(**SHORT["biograd"]))
        learner.learn(each, labels)
        states.append(learner.state())
    for state in states[1:]:
        for name in state:
            np.testing.assert_array_equal(state[name], states[0][name])


@pytest.mark.parametrize("given", [[0, 1, 3], [0, 1], [0.0, 1.0, 2.0], [-1, 0, 1]])
def test_labels_that_are_none(given: list[float]) -> None:
    labels = np.array(given)
    with pytest.raises(BadInputError) as found:
        learner_of(network(), biograd(**SHORT["biograd"])).learn(samples(3, SIZES[0]), labels)
    assert [each.code for each in found.value.diagnostics] == ["SC506"]


def test_a_name_is_a_rule_of_the_library() -> None:
    assert ClockProgram(network()).learner("biograd").rule == biograd()
    with pytest.raises(BadInputError) as found:
        ClockProgram(network()).learner("biogard")
    assert [each.code for each in found.value.diagnostics] == ["SC514"]


# What cannot learn

def test_projections_that_cannot_learn_are_all_told() -> None:
    rng = np.random.default_rng(0)
    graph = network()
    made = {
        "late": nodes.Linear(weight=rng.normal(size=(6, 5)), delay=np.full((6, 5), 2 * DT)),
        "folded": nodes.Linear(weight=rng.normal(size=(6, 5))), "scale": nodes.Scale(scale=np.ones(6)),
        "sparse": nodes.SparseLinear(size=(6, 5), indptr=tuple(range(7)), indices=(0, 1, 2, 3, 4, 0),
                                     weight=np.ones(6)),
    }
    edges = [("in", "late"), ("late", "n0"), ("in", "folded"), ("folded", "scale"), ("scale", "n0"), ("in", "sparse"),
             ("sparse", "n0")]
    graph = replace(graph, nodes={**graph.nodes, **made}, edges=(*graph.edges, *edges))
    with pytest.raises(UnsupportedError) as found:
        ClockProgram(graph).learner(biograd(), projections=["w0", "late", "folded", "sparse", "n0", "nowhere"])
    assert [(each.code, each.node) for each in found.value.diagnostics] == [
        ("SC515", name) for name in ("late", "folded", "sparse", "n0", "nowhere")]
    assert [each.name for each in learning_layout(graph.without(["late"]), biograd()).plastic] == ["w0", "w1", "w2"]


def test_what_a_grid_cannot_do_is_all_told() -> None:
    rule = LearningRule(
        "odd", "", (Update("w", "sample", terms("x1*y1*e")),), (Trace("x1", "tau_syn"), Trace("y1", "tau_syn")),
        Error("softmax"), Feedback("kolen_pollack", decay=0.1), (Phase("one", 0.01, teach=True, every=2),),
        units="chip")
    with pytest.raises(UnsupportedError) as found:
        learning_layout(network(), rule)
    assert {each.code for each in found.value.diagnostics} == {"SC516"}
    told = [(each.node, each.value) for each in found.value.diagnostics]
    assert ("w0, w1, w2", "units='chip'") in told and ("w0, w1, w2", "one: every 2") in told
    assert ("w1", "x1 with tau 'tau_syn'") in told and ("w1", "y1 with tau 'tau_syn'") in told
    assert [node for node, _ in told].count("n0") == 1  # whose feedback mirrors no one projection
    assert not [each for each in told if each[0] == "n1"]


def test_traces_of_sources_have_one_time_constant() -> None:
    graph = network()
    node: Any = graph.nodes["n1"]
    mixed = graph.with_nodes({"n1": replace(node, tau=np.array([1.0, 2.0, 1.0, 1.0]) * TAU)})
    with pytest.raises(UnsupportedError) as found:
        learning_layout(mixed, biograd())
    assert [(each.code, each.node, each.value) for each in found.value.diagnostics] == [
        ("SC516", "w1", "x1 with tau 'tau_mem'")]


def test_noise_is_what_it_says() -> None:
    dice = torch.Generator().manual_seed(1)
    drawn = signed_noise(Noise(0.25, 0.25), 40, 50, 10, dice).numpy()
    assert drawn.shape == (50, 40, 10) and set(np.unique(drawn)) == {-1, 0, 1}
    share = 0.25 * 0.75
    for sign in (1, -1):
        assert np.mean(drawn == sign) == pytest.approx(share, abs=5 * np.sqrt(share / drawn.size))
    assert np.abs(np.corrcoef(drawn.reshape(-1, 10).T) - np.eye(10)).max() < 0.12
    rates = [float((signed_noise(Noise(0.2, 0.8), 1, 400, 5, dice) != 0).double().mean()) for _ in range(30)]
    assert max(rates) - min(rates) > 0.1
    assert signed_noise(Noise(1.0, 1.0), 2, 3, 4, dice).abs().max() == 0
    held = signed_noise(Noise(0.4, 0.4, held=True), 30, 5, 20, dice)
    assert held.shape == (5, 30, 20) and bool((held == held[0]).all()) and set(held.unique().tolist()) == {-1, 0, 1}
