"""The exact gradients: against central differences, published and high-precision values, and identities."""

from __future__ import annotations

import copy
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from engine_nets import BOX, DURATION, make, stimulus
from torch import Tensor

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.graph import Graph

PROBED = (0.2, 0.5, 0.8)
"""Parts of the duration."""
pytestmark = pytest.mark.usefixtures("one_thread")


class Problem:
    """A network, its input, and a loss through spike times and voltages with fixed random weights."""

    def __init__(
        self,
        graph: Graph,
        events: Events,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        duration: float = DURATION,
    ) -> None:
        self.events, self.duration, self.dtype = events, duration, dtype
        self.module = spikec.compile(graph).module(dtype=dtype)
        for parameter in self.module.parameters():
            parameter.requires_grad_(True)
        self.times = torch.tensor(events.times, requires_grad=True)
        self.spiking = [name for name, node in graph.nodes.items() if isinstance(node, ir.SPIKING)]
        self.readouts = [
            name for name, node in graph.nodes.items() if isinstance(node, ir.READOUTS) and name not in self.spiking
        ]
        self.seed, self.moved = seed, True

    def loss(self) -> tuple[Tensor, tuple[int, ...]]:
        """The loss, and the number of spikes of every neuron."""
        rng = torch.Generator().manual_seed(self.seed)

        def weighted(value: Tensor) -> Tensor:
            weight = torch.randn(value.shape, generator=rng, dtype=torch.float64)
            return (weight * torch.where(torch.isfinite(value), value, 0)).sum()

        out = self.module(Events(self.times, self.events.indices, self.events.offsets), duration=self.duration)
        total, counts = torch.zeros((), dtype=torch.float64), []
        probed = [part * self.duration for part in PROBED]
        for name in self.spiking:
            total = total + 20 * weighted(out.spike_times(name, 12))
            if name != "last":
                total = total + 0.3 * weighted(out.voltage(name, probed))
            counts += out.spike_count(name).int().reshape(-1).tolist()
        for name in self.readouts:
            total = total + weighted(out.voltage_max(name)) + 30 * weighted(out.voltage_integral(name))
            total = total + 30 * weighted(out.voltage_integral(name, decay=0.03)) + weighted(out.voltage(name, probed))
        return total, tuple(counts)

    def tensors(self) -> dict[str, Tensor]:
        named = {name: value for name, value in self.module.named_parameters() if not name.endswith("refractory")}
        return {**named, "times": self.times} if self.moved else named

    def gradients(self) -> tuple[dict[str, Tensor], tuple[int, ...]]:
        loss, counts = self.loss()
        loss.backward()
        found = {
            name: torch.zeros_like(each) if each.grad is None else each.grad for name, each in self.tensors().items()
        }
        assert all(bool(torch.isfinite(each).all()) for each in found.values())
        return found, counts


def steep(problem: Problem, slowest: float) -> bool:
    """Whether every membrane passes its threshold at `slowest` or more (thresholds a second; a jump is steep)."""
    late = 1e-7
    with torch.no_grad():
        for name in problem.spiking:
            for sample in range(problem.events.batch):
                one = problem.events.take([sample])
                out = problem.module(one, duration=problem.duration)
                spikes = out.events(name)
                if len(spikes.times):
                    before = (spikes.times - late).clamp(min=0)
                    volts = out.voltage(name, before)[0, torch.arange(len(before)), spikes.indices]
                    limit = problem.module.get_parameter(f"{name}.v_threshold").reshape(-1)[spikes.indices]
                    rate = (limit - volts) / (spikes.times - before)
                    moving = (spikes.times > 0) & (rate > 0)
                    if bool((rate[moving] < slowest).any()):
                        return False
    return True


def difference(
    problem: Problem, tensor: Tensor, at: Any, unit: float, counts: tuple[int, ...], scale: float
) -> float | None:
    """The derivative of the loss by one element: central differences at h and h/2, without their h^2, that agree with
    those at h/2 and h/4 to 3e-7 of `scale`; None where the number of spikes differs on the two sides."""
    kept, step = float(tensor.detach()[at]), 8e-6
    ways: list[float] = []
    refined: list[float] = []
    with torch.no_grad():
        while step > 1e-7:
            sides = []
            for sign in (1, -1):
                tensor[at] = kept + sign * step * unit
                loss, seen = problem.loss()
                tensor[at] = kept
                if seen == counts:
                    sides.append(loss.item())
            if len(sides) < 2:
                ways, refined = [], []
            else:
                ways.append((sides[0] - sides[1]) / (2 * step * unit))
                if len(ways) > 1:
                    refined.append((4 * ways[-1] - ways[-2]) / 3)
                if len(refined) > 1 and abs(refined[-1] - refined[-2]) <= 3e-7 * max(abs(refined[-1]), scale):
                    return refined[-1]
            step /= 2
    assert not ways, f"no two steps agree: {refined}"
    return None


def compare(problem: Problem, rng: np.random.Generator, within: float = 1e-6, elements: int = 1) -> int:
    """Central differences at two steps, for the steepest and some other elements of every tensor; how many. Elements
    next to a change in the number of spikes have none."""
    found, counts = problem.gradients()
    compared = 0
    for name, tensor in problem.tensors().items():
        gradient = found[name].reshape(-1)
        if gradient.numel() == 0:
            continue
        chosen = {int(gradient.abs().argmax()), *rng.integers(0, gradient.numel(), elements).tolist()}
        moved = name == "times" or "delay" in name
        usual = float(tensor.detach().abs().mean()) or 1.0
        wanted, got = [], []
        for place in sorted(chosen):
            at = np.unravel_index(place, tensor.shape)
            unit = 0.02 if moved else max(abs(float(tensor.detach()[at])), 0.5 * usual)
            way = difference(problem, tensor, at, unit, counts, max(float(gradient.abs().max()), 0.1 / unit))
            if way is not None:
                wanted.append(way)
                got.append(float(gradient[place]))
        if wanted:
            compared += len(wanted)
            most = max(*map(abs, wanted), 0.1 / unit)  # what a loss of about 10 in float64 can tell
            worst = max(abs(one - two) for one, two in zip(wanted, got, strict=True))
            assert worst <= within * most, f"{name}: {got} but differences {wanted}"
    return compared


# --- finite differences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.0, 0.5, 1.7, None])
def test_current_based_neurons(ratio: float | None, recurrent: bool) -> None:
    number = [1.0, 2.0, 3.0, 0.5, 1.7, None].index(ratio)
    rng = np.random.default_rng([number, recurrent])
    graph = make(
        "CubaLIF",
        rng,
        n=4,
        n_in=3,
        ratio=ratio,
        recurrent=recurrent,
        spread=ratio is None,
        bias=bool(number % 2),
        reset=("zero", "v_reset", "subtract")[number % 3],
        refractory=(0.0, 2e-3)[number % 2],
        delay=("none", "source", "synapse")[(number + recurrent) % 3],
        readout=number > 2,
    )
    problem = Problem(graph, stimulus(3, rng, per_sample=9), seed=number)
    assert compare(problem, rng) > 15


@pytest.mark.parametrize(
    ("kind", "box", "recurrent", "delay", "reset", "refractory"),
    [
        ("LIF", False, False, "none", "v_reset", 0.0),
        ("LIF", False, True, "source", "subtract", 0.0),
        ("LIF", False, False, "synapse", "subtract", 2e-3),
        ("LIF", True, False, "source", "zero", 2e-3),
        ("LIF", True, True, "none", "v_reset", 0.0),
        ("IF", False, False, "source", "v_reset", 2e-3),
        ("IF", False, True, "synapse", "subtract", 0.0),
        ("IF", True, False, "none", "subtract", 0.0),
        ("IF", True, True, "synapse", "zero", 2e-3),
        ("CubaLIF", True, False, "none", "v_reset", 0.0),
        ("CubaLIF", True, True, "source", "subtract", 2e-3),
        ("CubaLIF", True, False, "synapse", "zero", 2e-3),
    ],
)
def test_other_neurons(kind: str, box: bool, recurrent: bool, delay: str, reset: str, refractory: float) -> None:
    rng = np.random.default_rng([ord(kind[0]), box, recurrent, len(delay)])
    graph = make(
        kind,
        rng,
        n=4,
        n_in=3,
        box=box,
        recurrent=recurrent,
        delay=delay,
        reset=reset,
        refractory=refractory,
        readout=recurrent,
    )
    problem = Problem(graph, stimulus(3, rng, per_sample=9))
    assert compare(problem, rng) > 15


@pytest.mark.parametrize(
    ("wires", "kind", "recurrent"),
    [
        ("sparse", "CubaLIF", True),
        ("conv", "CubaLIF", False),
        ("conv", "CubaLIF", True),
        ("sparse", "LIF", True),
        ("sparse", "IF", False),
    ],
)
def test_other_connections(wires: str, kind: str, recurrent: bool) -> None:
    rng = np.random.default_rng(len(wires) + recurrent)
    graph = make(
        kind, rng, n=4, n_in=3, wires=wires, recurrent=recurrent, delay="synapse", refractory=1e-3, readout=True
    )
    problem = Problem(graph, stimulus(12 if wires == "conv" else 3, rng, per_sample=12))
    assert compare(problem, rng) > 15


@pytest.mark.parametrize("wires", ["dense", "sparse", "conv"])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("kind", ["CubaLI", "LI", "I"])
def test_readouts(kind: str, box: bool, wires: str) -> None:
    """Voltages, their maxima and integrals; that of a delta synapse's readout sits on an input and moves with it."""
    rng = np.random.default_rng([len(kind), box, len(wires)])
    shape = (2, 2) if wires == "conv" else (4,)
    times = {
        "CubaLI": {"tau_mem": rng.uniform(0.01, 0.02, shape), "tau_syn": rng.uniform(0.004, 0.02, shape), "w_in": 0.02},
        "LI": {"tau": rng.uniform(0.01, 0.03, shape)},
        "I": {},
    }[kind]
    if kind != "I":
        times["v_leak"] = rng.uniform(-0.2, 0.2, shape)
    weight = rng.normal(0, 0.02 if kind == "LI" else 1.0, (4, 3)) * (1 / BOX.dt if box else 1.0)
    delay, bias = rng.uniform(0, 5e-3, (4, 3)), rng.normal(0, 0.3, 4)
    entry: tuple[int, ...] = (3,)
    if wires == "conv":
        entry, synapses = (1, 3), ir.Conv1d(weight=weight[:2, None, :2], bias=bias[:2], input_shape=3)
    elif wires == "sparse":
        kept = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]], dtype=bool)
        synapses = ir.SparseLinear(
            size=(4, 3),
            indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]),
            weight=weight[kept],
            indices=np.nonzero(kept)[1],
            delay=delay[kept],
            bias=bias,
        )
    else:
        synapses = ir.Affine(weight=weight, bias=bias)
    nodes = {
        "in": ir.Input(shape=entry),
        "fc": synapses,
        "last": getattr(ir, kind)(shape=shape, v0=rng.normal(0, 0.3, shape), **times),
        "out": ir.Output(shape=shape),
    }
    graph = Graph(nodes, (("in", "fc"), ("fc", "last"), ("last", "out")), BOX if box else None)
    assert compare(Problem(graph, stimulus(3, rng, per_sample=8)), rng, elements=3) > 8


@pytest.mark.parametrize("recurrent", [False, True])
def test_random_networks_are_hardly_ever_left_out(recurrent: bool) -> None:
    """Nets are left out only for a membrane that passes its threshold at under 0.3 thresholds a second (0.5 % of what a
    membrane of 15 ms does at its quickest)."""
    kept, drawn = 0, 10
    for number in range(drawn):
        rng = np.random.default_rng([number, recurrent, 77])
        graph = make(
            "CubaLIF",
            rng,
            n=4,
            n_in=3,
            recurrent=recurrent,
            reset=("v_reset", "subtract")[number % 2],
            ratio=(None, 2.0, 1.0)[number % 3],
        )
        problem = Problem(graph, stimulus(3, rng, batch=1, per_sample=8), seed=number)
        if steep(problem, 0.3):
            kept += 1
            compare(problem, rng, elements=0)
    assert kept >= 0.95 * drawn, f"{kept} of {drawn}"


@pytest.mark.parametrize("wires", ["dense", "sparse"])
def test_a_start_above_threshold_and_inputs_at_zero(wires: str) -> None:
    rng = np.random.default_rng(6)
    graph = make("CubaLIF", rng, n=3, n_in=3, wires=wires, v0=1.4, reset="subtract", refractory=1e-3)
    events = Events.from_samples([([0.0, 0.0, 0.01, 0.02, 0.02], [0, 1, 2, 0, 1])])
    problem = Problem(graph, events)
    problem.moved = False
    assert compare(problem, rng) > 15


def test_float32_is_close_to_float64() -> None:
    for number in range(4):
        rng = np.random.default_rng(number)
        graph = make(
            "CubaLIF", rng, recurrent=number % 2 == 1, wires=("dense", "sparse")[number // 2], readout=number > 1
        )
        events = stimulus(6, rng)
        (wide, counts), (narrow, other) = (
            Problem(graph, events, dtype=dtype).gradients() for dtype in (torch.float64, torch.float32)
        )
        assert counts == other
        for name, gradient in wide.items():
            assert (narrow[name].double() - gradient).abs().max() <= 1e-4 * gradient.abs().max() + 1e-12, name


# --- published values ------------------------------------------------------------------------------------------------


def single(weights: Any, at: Any, wires: str = "dense", **settings: Any) -> tuple[Any, Tensor, Events]:
    """One CubaLIF of tau_syn 1, tau_mem 2, threshold 1; its module and input."""
    row = np.asarray(weights, dtype=float)[None]
    size = row.shape[1]
    synapses = (
        ir.Linear(weight=row)
        if wires == "dense"
        else ir.SparseLinear(size=(1, size), indptr=[0, size], indices=np.arange(size), weight=row[0])
    )
    neuron = ir.CubaLIF(shape=(1,), **({"tau_mem": 2.0, "tau_syn": 1.0} | settings))
    graph = Graph(
        {"in": ir.Input(shape=(size,)), "fc": synapses, "n": neuron, "out": ir.Output(shape=(1,))},
        (("in", "fc"), ("fc", "n"), ("n", "out")),
    )
    times = torch.tensor(np.asarray(at, dtype=float), requires_grad=True)
    return spikec.compile(graph).module(dtype=torch.float64), times, Events(times, np.arange(size), np.array([0, size]))


@pytest.mark.parametrize("wires", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("w", "times", "slopes"),
    [
        (5.0, [0.647014262315], [-0.247213595500]),
        (
            12.0,
            [0.192474980227, 0.434599927284, 0.763669930356, 1.294860802385],
            [-0.018728739283, -0.048878751212, -0.106469444621, -0.272436679261],
        ),
        (30.0, [2.410131605588], [-0.442306349581]),
    ],
)
def test_one_input(w: float, times: list[float], slopes: list[float], wires: str) -> None:
    for number, (time, slope) in enumerate(zip(reversed(times), reversed(slopes), strict=True)):
        module, _, events = single([w], [0.0], wires)
        found = module(events, duration=20.0).events("n").times
        assert len(found) == (13 if w == 30 else len(times))
        assert found[-1 - number].item() == pytest.approx(time, abs=1e-10)
        found[-1 - number].backward()
        assert module.fc.weight.grad.item() == pytest.approx(slope, abs=1e-10)


@pytest.mark.parametrize("wires", ["dense", "sparse"])
def test_three_inputs(wires: str) -> None:
    module, times, events = single([4.0, 6.0, -1.5], [0.0, 0.5, 1.2], wires)
    found = module(events, duration=20.0).events("n").times
    assert found.tolist() == pytest.approx([0.586060794134, 0.917331857932, 1.864726291047], abs=1e-10)
    found[2].backward()
    assert module.fc.weight.grad.reshape(-1).tolist() == pytest.approx(
        [-1.515702051164, -1.442839734729, -1.065089663795], abs=1e-10
    )
    assert times.grad.tolist() == pytest.approx([-0.27096568465, 2.498271099341, -1.227305414691], abs=1e-10)
    module, _, events = single([4.0, 6.0, -1.5], [0.0, 0.5, 1.2], wires)
    module(events, duration=20.0).events("n").times.sum().backward()
    assert module.fc.weight.grad.reshape(-1).tolist() == pytest.approx(
        [-1.68467444, -1.52423452, -1.06508966], abs=1e-8
    )
    module, _, events = single([4.0, 6.0, -1.7], [0.0, 0.5, 1.2], wires)
    assert len(module(events, duration=20.0).events("n").times) == 2


@pytest.mark.parametrize("wires", ["dense", "sparse"])
@pytest.mark.parametrize("ratio", [2.0, 2 + 1e-12])
@pytest.mark.parametrize("eps", [1e-2, 1e-4, 1e-6, 1e-8])
def test_grazing(eps: float, ratio: float, wires: str) -> None:
    """One input w = 4 (1 + eps): t = -2 ln y with y = (w + x) / (2 w), x^2 = w^2 - 4 w, so dt/dw = -2 y'/y."""
    module, _, events = single([4 * (1 + eps)], [0.0], wires, tau_mem=ratio)
    out = module(events, duration=20.0)
    out.first_spike("n").sum().backward()
    with mpmath.workdps(40):
        w = mpmath.mpf(4 * (1 + eps))
        x = mpmath.sqrt(w * w - 4 * w)
        slope = float(-2 * ((1 + (w - 2) / x) / (w + x) - 1 / w))
    assert slope == pytest.approx({1e-2: -2.240068, 1e-4: -24.74878, 1e-6: -249.7499, 1e-8: -2499.750}[eps], rel=1e-6)
    if ratio == 2.0:
        # w itself is known to 1e-16 only, which moves x by as much over eps
        assert module.fc.weight.grad.item() == pytest.approx(slope, rel=1e-10 + 1e-15 / eps)
        assert out.grazing == 0
    assert len(out.events("n").times) == 1
    module, _, events = single([4 * (1 - eps)], [0.0], wires, tau_mem=ratio)
    assert len(module(events, duration=20.0).events("n").times) == 0


def test_crossings_below_the_guard_are_counted() -> None:
    module, _, events = single([4 * (1 + 1e-14)], [0.0])
    out = module(events, duration=20.0)
    out.events("n").times.sum().backward()
    assert out.grazing == 1
    assert abs(module.fc.weight.grad.item()) < 1e7


@pytest.mark.parametrize("sparse", [False, True])
def test_a_chain_with_general_parameters(sparse: bool) -> None:
    general = {"shape": (1,), "r": 1.5, "v_leak": 0.2, "v_reset": -0.3, "tau_mem": 1.7, "tau_syn": 0.8, "w_in": 0.7}
    first = [[2.2, 1.9, 2.5, 1.1]]
    weights = (
        ir.SparseLinear(size=(1, 4), indptr=[0, 4], indices=range(4), weight=first[0])
        if sparse
        else ir.Linear(weight=first)
    )
    graph = Graph(
        {
            "in": ir.Input(shape=(4,)),
            "fc": weights,
            "a": ir.CubaLIF(**general),
            "ab": ir.Linear(weight=[[3.1]]),
            "b": ir.CubaLIF(**general),
            "out": ir.Output(shape=(1,)),
        },
        (("in", "fc"), ("fc", "a"), ("a", "ab"), ("ab", "b"), ("b", "out")),
    )
    module = spikec.compile(graph).module(dtype=torch.float64)
    times = torch.tensor([0.0, 0.4, 0.9, 1.5], dtype=torch.float64, requires_grad=True)
    out = module(Events(times, np.arange(4), np.array([0, 4])), duration=6.0)
    a, b = out.events("a").times, out.events("out").times
    assert a.tolist() == pytest.approx([0.674289893183, 1.287844686525, 2.148434562049], abs=1e-10)
    assert b.tolist() == pytest.approx([1.305274895002, 1.869567244471, 2.463743456714], abs=1e-10)
    (b.sum() + 0.5 * a.sum()).backward()
    assert module.fc.weight.grad.reshape(-1).tolist() == pytest.approx(
        [-1.739691911665, -1.569036296326, -1.088346774592, -0.542350333273], abs=1e-10
    )
    assert module.ab.weight.grad.item() == pytest.approx(-1.178826223154, abs=1e-10)
    assert times.grad.tolist() == pytest.approx(
        [0.148887853210, 1.664082206352, 1.871841153374, 0.385781881573], abs=1e-10
    )


# --- identities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wires", "recurrent", "delay"),
    [
        ("dense", False, "none"),
        ("dense", True, "source"),
        ("sparse", True, "synapse"),
    ],
)
def test_shifting_and_scaling(wires: str, recurrent: bool, delay: str) -> None:
    """All inputs later by d: every spike later by d. All of a layer's voltages scaled: no spike moves."""
    rng = np.random.default_rng(5)
    graph = make("CubaLIF", rng, wires=wires, recurrent=recurrent, delay=delay, bias=False)
    still = {
        name: ir.CubaLIF(
            **{
                **{
                    key: getattr(node, key)
                    for key in ("shape", "r", "tau_mem", "tau_syn", "w_in", "v_threshold", "v_reset")
                },
                "reset": "v_reset",
            }
        )
        for name, node in graph.nodes.items()
        if isinstance(node, ir.CubaLIF)
    }
    events = stimulus(6, rng, batch=1, per_sample=16)
    problem = Problem(graph.with_nodes(still), events)
    scaled = ["fc.weight", "hidden.v_threshold", "hidden.v_reset"] + ["loop.weight"] * recurrent
    count = None
    for spike in range(6):
        for tensor in problem.tensors().values():
            tensor.grad = None
        out = problem.module(Events(problem.times, events.indices, events.offsets), duration=DURATION)
        late = out.events("last").times
        count = len(late)
        if spike >= count:
            break
        late[spike].backward()
        shift = problem.times.grad
        assert abs(shift.sum().item() - 1) <= 1e-9 * shift.abs().sum().item()
        terms = torch.cat(
            [
                (problem.module.get_parameter(name) * problem.module.get_parameter(name).grad).reshape(-1)
                for name in scaled
            ]
        )
        assert terms.abs().sum() > 0
        assert terms.sum().abs() <= 1e-9 * terms.abs().sum()
    assert count is not None and count >= 3


# --- through the special ratios --------------------------------------------------------------------------------------

W, AT = (2.9, 1.7), (0.0, 0.6)


def precise(tau_mem: float, tau_syn: float) -> tuple[float, list[float]]:
    """First spike time of V = sum w k(t - t_i), and its derivatives by w, t_i, tau_mem, tau_syn, at 60 digits."""
    with mpmath.workdps(60):

        def voltage(t: Any, mem: Any, syn: Any, w: Any, at: Any) -> Any:
            total = mpmath.mpf(0)
            for weight, start in zip(w, at, strict=True):
                late = t - start
                if late > 0:
                    total += weight * (
                        late / mem * mpmath.exp(-late / mem)
                        if mem == syn
                        else syn / (mem - syn) * (mpmath.exp(-late / mem) - mpmath.exp(-late / syn))
                    )
            return total

        values = [mpmath.mpf(tau_mem), mpmath.mpf(tau_syn)]
        w, at = [mpmath.mpf(each) for each in W], [mpmath.mpf(each) for each in AT]
        guess = next(
            each / mpmath.mpf(100) for each in range(1, 2000) if voltage(each / mpmath.mpf(100), *values, w, at) > 1
        )
        time = mpmath.findroot(
            lambda t: voltage(t, *values, w, at) - 1, (guess - mpmath.mpf("0.01"), guess), solver="anderson", tol=1e-50
        )
        step = mpmath.mpf("1e-18")

        def partial(index: int) -> Any:
            flat = [time, *values, *w, *at]
            sides = []
            for sign in (1, -1):
                moved = list(flat)
                moved[index] += sign * step
                sides.append(voltage(moved[0], moved[1], moved[2], moved[3:5], moved[5:7]))
            return (sides[0] - sides[1]) / (2 * step)

        slope = partial(0)
        return float(time), [float(-partial(index) / slope) for index in (3, 4, 5, 6, 1, 2)]


@pytest.mark.parametrize("wires", ["dense", "sparse"])
@pytest.mark.parametrize("around", [1.0, 2.0])
def test_times_and_derivatives_are_continuous_through_the_special_ratios(around: float, wires: str) -> None:
    tau_syn = 0.9
    tiny = [0.0, *(sign * 10.0**-power for power in range(1, 16) for sign in (1, -1))]
    for eps in tiny:
        tau_mem = tau_syn * (around + eps)
        module, times, events = single(W, AT, wires, tau_mem=tau_mem, tau_syn=tau_syn, w_in=tau_syn)
        for name in ("tau_mem", "tau_syn"):
            module.get_parameter(f"n.{name}").requires_grad_(True)
        first = module(events, duration=20.0).first_spike("n")
        first.sum().backward()
        # w_in = tau_syn makes the jump w; its own dependence on tau_syn, through 1/tau_syn, is taken off below
        wanted, slopes = precise(tau_mem, tau_syn)
        weights = module.fc.weight.grad.reshape(-1)
        by_syn = module.n.tau_syn.grad.item() + float(weights @ torch.tensor(W, dtype=torch.float64)) / tau_syn
        found = [*weights.tolist(), *times.grad.tolist(), module.n.tau_mem.grad.item(), by_syn]
        assert first.item() == pytest.approx(wanted, abs=1e-11), eps
        assert found == pytest.approx(slopes, abs=1e-9), eps


def test_a_module_is_shown_with_kinds_shapes_and_what_is_trained() -> None:
    net = spikec.Builder()
    cells = net.cubalif("a.cells", 3, tau_mem=1e-2, tau_syn=5e-3)
    net.connect(net.input("in", 2), cells, weight=np.ones((3, 2)), name="a.fc")
    net.output("out", cells)
    module = spikec.compile(net.build()).module()
    shown = repr(module)
    assert "(fc): Linear(weight (3, 2) float32 trained)" in shown
    assert "(cells): CubaLIF(v0, r, tau_mem," in shown
    module.get_parameter("a.cells.tau_mem").requires_grad_()
    assert "tau_mem (3,) float32 trained" in repr(copy.deepcopy(module.double())).replace("float64", "float32")
