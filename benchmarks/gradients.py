"""Are the gradients right? Against finite differences, high-precision arithmetic and identities, all in float64.

    python benchmarks/gradients.py [--quick | --full] [--part differences|flows|graded|sweep|identities]

differences: random nets (`random_nets`) of IF, LIF and CubaLIF neurons, feedforward and recurrent. For every parameter
tensor and the input times, max |g - FD| / max |FD|, as `gradient_trials` says. A net is rejected for one reason only: a
spike of it crosses the threshold with |dV/dt| < MIN_SLOPE thresholds per tau_mem (per 20 ms for IF), where a derivative
is nearly infinite; that is judged on the reference simulation, not on the engine.

flows: the same of QIF and theta neurons and of neurons written as text (`random_flows`). None is rejected.

graded: the same of graded synapses (`random_graded`), at a tolerance of 1e-12, and against the adjoint equations of
their paper; then the error that other tolerances leave, by the zone of the gate.

sweep: tau_mem / tau_syn through 1 ± d and 2 ± d, d from 1e-15 to 1e-1: spike times and their derivatives against
50-digit arithmetic, so that a jump where one solution takes over from another would show.

identities: of spike times t_k from rest, sum_i dt_k/dt_i = 1 over input times, and
sum w dt_k/dw + threshold dt_k/dthreshold = 0; residuals relative to the sum of absolute terms. And float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import random_nets
import torch
from common import arguments, pin, write_result
from gradient_trials import STEPS, EventTrial, Tally, module_of
from gradients_flows import flows_part
from gradients_graded import graded_part
from random_nets import KINDS, RATIOS, Array, Case

import spikec
from spikec.ir.exact import simulate_exact
from spikec.ir.graph import Graph
from spikec.ir.nodes import LIF, CubaLIF, Output

MIN_SLOPE = 0.02


def smallest_slope(case: Case) -> float:
    """Smallest |dV/dt| at any spike of the reference simulation, in thresholds per tau_mem (per 20 ms for IF)."""
    nodes, edges = dict(case.graph.nodes), case.graph.edges
    for name in case.shown:
        nodes[f"{name} shown"] = Output(shape=nodes[name].shape)  # type: ignore[attr-defined]
        edges = (*edges, (name, f"{name} shown"))
    graph = Graph(nodes, edges, case.graph.discretization)
    spikes = simulate_exact(graph, case.events, duration=case.duration).spikes
    before = 1e-8
    lowest = np.inf
    for name in case.shown:
        node: Any = nodes[name]
        fired = spikes[f"{name} shown"]
        grid = np.unique(np.maximum(fired.times - before, 0.0))
        if not len(grid):
            continue
        voltage = simulate_exact(graph, case.events, duration=case.duration, probes={f"{name}.v": grid})
        seen = voltage.probes[f"{name}.v"]
        sample = np.repeat(np.arange(fired.batch), np.diff(fired.offsets))
        at = np.searchsorted(grid, np.maximum(fired.times - before, 0.0))
        rise = node.v_threshold[fired.indices] - seen[sample, at, fired.indices]
        tau = _membrane_time(node)
        slope = rise / before * tau[fired.indices] / node.v_threshold[fired.indices]
        lowest = min(lowest, float(np.abs(slope).min()))
    return lowest


def _membrane_time(node: Any) -> Array:
    if isinstance(node, CubaLIF):
        return node.tau_mem
    return node.tau if isinstance(node, LIF) else np.full(node.shape, 20e-3)


def differences_part(quick: bool) -> dict[str, Any]:
    """Adjoint against finite differences over random nets."""
    seeds = 2 if quick else 12
    rows, tally, drawn = [], Tally(), 0
    for kind in KINDS:
        for ratio in RATIOS if kind.startswith("CubaLIF") else RATIOS[:1]:
            for recurrent in (False, True):
                cases = [random_nets.draw(kind, ratio, recurrent, seed) for seed in range(seeds)]
                drawn += len(cases)
                row = tally.row(EventTrial(case) for case in cases if smallest_slope(case) >= MIN_SLOPE)
                ratio_text = ratio if kind.startswith("CubaLIF") else None
                rows.append({"kind": kind, "ratio": ratio_text, "recurrent": recurrent, **row})
                print(f"  {kind:13} ratio {ratio_text} {'recurrent' if recurrent else 'feedforward':11} "
                      f"{row['nets']:3} nets: worst {row['worst']:.1e}, steps differ by "
                      f"{row['two_steps_differ_by']:.1e}", flush=True)
    kept = sum(row["nets"] for row in rows)
    print(f"  {kept} of {drawn} nets kept, worst {tally.worst:.2e}, {tally.no_step} tensors without a step of equal "
          f"counts, {tally.unsettled} of {tally.compared} where no two steps agree")
    return {"rows": rows, "drawn": drawn, "kept": kept, "kept_fraction": kept / drawn, "min_slope": MIN_SLOPE,
            "steps": STEPS, **tally.figures()}


SWEEP_TIMES, SWEEP_WEIGHTS = (0.0, 4e-3, 9e-3, 15e-3), (2.6, 1.9, 2.4, -0.8)
SWEEP_SYN, SWEEP_DURATION = 8e-3, 40e-3


def sweep_part(quick: bool) -> dict[str, Any]:
    """One neuron, four inputs; its spikes and their derivatives at each ratio."""
    exponents = (15, 9, 4, 1) if quick else range(15, 0, -1)
    rows = []
    for centre in (1.0, 2.0):
        for ratio in (centre, *(centre + sign * 10.0**-power for power in exponents for sign in (1, -1))):
            ours, exact = _sweep_point(ratio), _sweep_exact(ratio)
            errors = {name: float(np.abs(ours[name] - exact[name]).max() / np.abs(exact[name]).max()) for name in exact}
            rows.append({"ratio": ratio, "offset": ratio - centre, "spikes": len(exact["times"]), **errors})
    worst = {name: max(row[name] for row in rows) for name in ("times", "dt/dw", "dt/dtau_mem", "dt/dtau_syn")}
    print(f"  sweep: {worst}")
    return {"rows": rows, "worst": worst}


def _sweep_point(ratio: float) -> dict[str, Array]:
    net = spikec.Builder()
    source = net.input("in", len(SWEEP_TIMES))
    cell = net.cubalif("cell", 1, tau_mem=ratio * SWEEP_SYN, tau_syn=SWEEP_SYN, w_in=SWEEP_SYN)
    net.connect(source, cell, weight=np.array([SWEEP_WEIGHTS]), name="fc")
    net.output("out", cell)
    program = spikec.compile(net.build())
    events = spikec.Events.from_samples([(SWEEP_TIMES, range(len(SWEEP_TIMES)))])
    found: dict[str, Any] = {"times": None, "dt/dw": [], "dt/dtau_mem": [], "dt/dtau_syn": []}
    for names in (("weight",), ("weight", "tau_mem", "tau_syn")):
        module = program.module(dtype=torch.float64, train=names)
        out = module(events, duration=SWEEP_DURATION)
        times = out.spike_times("out", 8).flatten()
        times = times[torch.isfinite(times.detach())]
        found["times"] = times.detach().numpy()
        for each in times:
            gradient = torch.autograd.grad(each, [module.get_parameter("fc.weight")], retain_graph=True)[0]
            found["dt/dw"].append(gradient.numpy().ravel())
            if len(names) > 1:
                for name in names[1:]:
                    slope = torch.autograd.grad(each, [module.get_parameter(f"cell.{name}")], retain_graph=True)[0]
                    found[f"dt/d{name}"].append(slope.numpy().ravel())
    number = len(found["times"])
    plain, general = np.array(found["dt/dw"][:number]), np.array(found["dt/dw"][number:])
    return {"times": found["times"], "dt/dw": np.stack([plain, general]),
            **{f"dt/d{name}": np.array(found[f"dt/d{name}"]) for name in ("tau_mem", "tau_syn")}}


def _sweep_exact(ratio: float) -> dict[str, Array]:
    """The same in 50-digit arithmetic: times by bisection, derivatives by differences with a step of 1e-20."""
    mpmath.mp.dps = 60
    mem, syn = mpmath.mpf(ratio * SWEEP_SYN), mpmath.mpf(SWEEP_SYN)
    weights = [mpmath.mpf(w) for w in SWEEP_WEIGHTS]
    times = _spikes_exact(mem, syn, weights)
    step = mpmath.mpf(10) ** -20

    def slope(change: Callable[[Any], list[Any]]) -> Array:
        up, down = change(step), change(-step)
        return np.array([float((a - b) / (2 * step)) for a, b in zip(up, down, strict=True)])

    by_weight = np.stack([
        slope(lambda h, i=i: _spikes_exact(mem, syn, [w + h * (i == j) for j, w in enumerate(weights)]))
        for i in range(len(weights))
    ], axis=1)
    return {
        "times": np.array([float(t) for t in times]), "dt/dw": np.stack([by_weight, by_weight]),
        "dt/dtau_mem": slope(lambda h: _spikes_exact(mem + h, syn, weights))[:, None],
        "dt/dtau_syn": slope(lambda h: _spikes_exact(mem, syn + h, weights, start=syn))[:, None],
    }


def _spikes_exact(mem: Any, syn: Any, weights: list[Any], start: Any = None) -> list[Any]:
    """`start`: the tau_syn that w_in was set to, so that a changed tau_syn changes the jump w_in w / tau_syn."""
    jump = (syn if start is None else start) / syn
    voltage, current, now = mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(0)
    ends = [*map(mpmath.mpf, SWEEP_TIMES[1:]), mpmath.mpf(SWEEP_DURATION)]
    found = []

    flow = _flow(mem, syn)
    for weight, end in zip(weights, ends, strict=True):
        current += weight * jump
        while True:
            reached = _first_crossing(flow, voltage, current, end - now, mem, syn)
            if reached is None:
                break
            current *= mpmath.exp(-reached / syn)
            voltage, now = mpmath.mpf(0), now + reached
            found.append(now)
        rest = end - now
        voltage, current, now = flow(voltage, current, rest), current * mpmath.exp(-rest / syn), end
    return found


def _flow(mem: Any, syn: Any) -> Callable[..., Any]:
    """The membrane after s seconds, from (v, i)."""
    def flow(v: Any, i: Any, s: Any) -> Any:
        slow, fast = mpmath.exp(-s / mem), mpmath.exp(-s / syn)
        if mem == syn:
            return v * slow + i * s / mem * slow
        return v * slow + i * syn / (mem - syn) * (slow - fast)

    return flow


def _first_crossing(flow: Callable[..., Any], v: Any, i: Any, span: Any, mem: Any, syn: Any) -> Any:
    """First time in (0, span] at which the membrane exceeds 1, or None; the membrane has one extremum at most."""
    slope = (i - v) / mem
    if slope <= 0:
        return None
    if mem == syn:
        peak = mem * (1 - v / i) if i > 0 else span
    else:
        # V' = 0: (v + c) / mem exp(-s/mem) = c / syn exp(-s/syn), with c = i syn / (mem - syn) and V = (v + c).. - c..
        c = i * syn / (mem - syn)
        inside = (c / syn) / ((v + c) / mem)
        peak = mpmath.log(inside) / (1 / syn - 1 / mem) if inside > 0 else span
    top = min(peak, span) if peak > 0 else span
    if flow(v, i, top) <= 1:
        return None
    low, high = mpmath.mpf(0), top
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if flow(v, i, middle) > 1 else (middle, high)
    return high


def identities_part(quick: bool) -> dict[str, Any]:
    """Time shift and scaling, on nets that start at rest, without currents of their own; and float32."""
    shift = scaling = single = 0.0
    nets = 0
    for kind in ("CubaLIF", "CubaLIF, box"):
        for ratio in RATIOS:
            for seed in range(2 if quick else 6):
                found = _identities(random_nets.draw(kind, ratio, bool(seed % 2), 1000 + seed))
                if found is None:
                    continue
                nets += 1
                shift, scaling, single = (max(pair) for pair in zip((shift, scaling, single), found, strict=True))
    print(f"  identities over {nets} nets: shift {shift:.1e}, scaling {scaling:.1e}; float32 {single:.1e}")
    return {"nets": nets, "time_shift": shift, "scaling": scaling, "float32_against_float64": single}


def _identities(case: Case) -> tuple[float, float, float] | None:
    case = random_nets.from_rest(case)
    trial = EventTrial(case)
    out = trial.module(trial.events, duration=case.duration)
    times = out.spike_times("hidden", 2).flatten()
    finite = times[torch.isfinite(times.detach())]
    if not len(finite):
        return None
    names = [name for name in trial.tensors if name.endswith((".weight", ".v_threshold", ".v_reset"))]
    shift = scaling = 0.0
    for each in finite[:6]:
        wanted = [trial.tensors["input times"], *(trial.tensors[name] for name in names)]
        by_time, *rest = torch.autograd.grad(each, wanted, retain_graph=True, allow_unused=True)
        shift = max(shift, float(abs(by_time.sum() - 1) / (by_time.abs().sum() + 1)))
        terms = torch.cat([(gradient * trial.tensors[name].detach()).flatten()
                           for name, gradient in zip(names, rest, strict=True) if gradient is not None])
        scaling = max(scaling, float(terms.sum().abs() / terms.abs().sum()))
    low = module_of(case.graph, torch.float32)
    single = low(case.events, duration=case.duration).spike_times("hidden", 2).flatten()
    both = torch.isfinite(single.detach()) & torch.isfinite(times.detach())
    error = float((single - times).detach()[both].abs().max() / times.detach()[both].max())
    return shift, scaling, error


PARTS = {"differences": differences_part, "flows": flows_part, "graded": graded_part, "sweep": sweep_part,
         "identities": identities_part}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="default: all")
    options = parser.parse_args()
    pin(1)
    torch.set_num_threads(1)
    for name in options.part or PARTS:
        write_result(f"gradients_{name}" + ("-quick" if options.quick else ""), {}, PARTS[name](options.quick))


if __name__ == "__main__":
    main()
