"""One neuron driven through the C text of its dynamics alone, event by event, forward and backward: what the kernels of
flows do for many. The gradients follow docs/architecture.md, "Gradients"."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np

from spikec.ir.flow.flow import dynamics_of, values_of
from spikec.ir.nodes import Equations
from spikec.runtime import jit
from spikec.runtime.flow.derived import fragment

_WRAPPERS = """#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
{fragment}
double h_next(const double *x, const double *p, double s)
{{
    FlowLaw law;
    FlowPlace here;
    FlowStep step;
    double y[STATES];
    flow_law(p, 0, &law);
    flow_depart(&here, x, p, &law);
    for (double gone = 0.0; gone < s; gone += step.length) {{
        if (flow_on(&here, p, &law, s - gone, 1e-14 * s, &step)) return -1.0;
        const double rise = flow_crossing(&here, &step, p, &law, y);
        if (rise >= 0.0) return gone + rise;
        if (step.length >= s - gone) break;
    }}
    return -1.0;
}}
/* With `keep` room for the states and the length of each step, the number of which is put into `count`. */
static int steps(double *x, const double *p, double dt, const FlowLaw *law, double **keep, int *count)
{{
    FlowPlace here;
    FlowStep step;
    double left = dt;
    if (keep) *count = 0;
    flow_depart(&here, x, p, law);
    while (left > 0.0) {{
        double from[STATES];
        memcpy(from, here.x, sizeof from);
        const int fault = flow_on(&here, p, law, left, 1e-14 * dt, &step);
        if (fault) return fault;
        left = step.length >= left ? 0.0 : left - step.length;
        if (!keep) continue;
        *keep = realloc(*keep, sizeof(double) * (STATES + 1) * (*count + 1));
        memcpy(*keep + (STATES + 1) * *count, from, sizeof from);
        (*keep)[(STATES + 1) * *count + STATES] = step.length;
        *count += 1;
    }}
    memcpy(x, here.x, sizeof(double) * STATES);
    return 0;
}}
int h_advance(double *x, const double *p, double dt, int held)
{{
    FlowLaw law;
    flow_law(p, held, &law);
    return steps(x, p, dt, &law, 0, 0);
}}
void h_advance_back(const double *x, const double *p, double dt, int held, double *l, double *gp)
{{
    FlowLaw law;
    FlowDebt debt;
    double y[STATES], *kept = 0;
    int count;
    flow_law(p, held, &law);
    memset(&debt, 0, sizeof debt);
    memcpy(y, x, sizeof y);
    steps(y, p, dt, &law, &kept, &count);
    for (int n = count - 1; n >= 0; n--) {{
        const double *at = kept + (STATES + 1) * n;
        flow_step_back(at, n < count - 1 ? at + STATES + 1 : y, p, &law, at[STATES], &debt, l, gp);
    }}
    flow_law_back(p, &law, &debt, gp);
    free(kept);
}}
int h_above(const double *x, const double *p) {{ return flow_above(x, p); }}
void h_rate(const double *x, const double *p, int held, double *dx) {{ flow_rate(x, p, held, dx); }}
void h_receive(double *x, const double *p, double w) {{ flow_receive(x, p, w); }}
void h_fire(double *x, const double *p) {{ flow_fire(x, p); }}
void h_receive_back(const double *x, const double *p, double w, double *l, double *gp, double *gw)
{{ flow_receive_back(x, p, w, l, gp, gw); }}
void h_reset_back(const double *x, const double *p, double *l, double *gp) {{ flow_reset_back(x, p, l, gp); }}
void h_level_back(const double *x, const double *p, double a, double *l, double *gp)
{{ flow_level_back(x, p, a, l, gp); }}
double h_level_rate(const double *x, const double *p) {{ return flow_level_rate(x, p); }}
"""


@dataclass
class Neuron:
    """A neuron of `node`, which has one. `values`: parameters in the order of its dynamics; `start`: states."""

    node: Equations
    values: np.ndarray = field(init=False)
    start: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.dynamics = dynamics_of(self.node, biased=False)
        values, starts = values_of(self.node)
        self.values = np.array([float(values[name].reshape(-1)[0]) for name in self.dynamics.parameters])
        self.start = np.array([float(starts[name].reshape(-1)[0]) for name in self.dynamics.states])
        self.refractory = float(self.node.refractory.reshape(-1)[0])
        self.held = np.array([name in self.dynamics.held for name in self.dynamics.states])
        compiled = jit.compile_c(_WRAPPERS.format(fragment=fragment(self.dynamics)))
        for name in ("next", "level_rate"):
            getattr(compiled, f"h_{name}").restype = ctypes.c_double
        self.compiled = compiled

    def call(self, name, *arguments):
        given = [each.ctypes.data_as(ctypes.c_void_p) if isinstance(each, np.ndarray) else
                 ctypes.c_double(each) if isinstance(each, float) else ctypes.c_int(each) for each in arguments]
        return getattr(self.compiled, f"h_{name}")(*given)

    def run(self, times, weights, duration, values=None, start=None):
        """Spike times, the last state, and the log that `gradient` walks back through."""
        p = self.values if values is None else values
        x = (self.start if start is None else start).copy()
        due = sorted([(float(time), 0, float(weight), number) for number, (time, weight) in
                      enumerate(zip(times, weights, strict=True))])
        now, release, spikes, log = 0.0, -1.0, [], []
        while True:
            soonest = due[0][0] if due else np.inf
            until = min(soonest, duration, release if release > now else np.inf)
            held = release > now
            crossing = -1.0 if held else self.call("next", x, p, until - now)
            time = now + crossing if crossing >= 0 else until
            log.append(("advance", x.copy(), time - now, held))
            fault = self.call("advance", x, p, time - now, int(held))
            if fault:
                raise ArithmeticError(fault)
            now = time
            if crossing >= 0:
                log.append(("spike", x.copy(), len(spikes), None))
                spikes.append(now)
                self.call("fire", x, p)
                release = now + self.refractory if self.refractory else -1.0
            elif now == release and now < soonest:
                log.append(("release", x.copy(), len(spikes) - 1, None))
                release = -1.0
            elif due and now == soonest and now <= duration:
                _, _, weight, number = due.pop(0)
                before = x.copy()
                self.call("receive", x, p, weight)
                if held:
                    x[self.held] = before[self.held]
                log.append(("input", before, number, (weight, held)))
                if not held and self.call("above", x, p):
                    raise ValueError("a spike on an input's time has no gradient")
            else:
                break
        return np.array(spikes), x, log

    def gradient(self, log, spike_cotangents, last_cotangent, n_inputs, values=None):
        """Of a loss with the given derivatives in spike times and in the last state: by parameter, weight, input time
        and start."""
        p = self.values if values is None else values
        l, gp = last_cotangent.copy(), np.zeros(len(p))
        gw, gt = np.zeros(n_inputs), np.zeros(n_inputs)
        late = np.array(spike_cotangents, dtype=float)  # what else reaches a spike's time: releases
        states = len(l)

        def rate(x, held):
            dx = np.empty(states)
            self.call("rate", x, p, int(held), dx)
            return dx

        def after(x, kind, *arguments):
            y = x.copy()
            self.call(kind, y, p, *arguments)
            return y

        for what, x, number, more in reversed(log):
            if what == "advance":
                self.call("advance_back", x, p, float(number), int(more), l, gp)
            elif what == "release":
                late[number] += l @ (rate(x, True) - rate(x, False))
            elif what == "input":
                weight, held = more
                y = after(x, "receive", weight)
                y[self.held & held] = x[self.held & held]
                kept = np.where(self.held & held, l, 0.0)
                arriving, g = l - kept, np.zeros(1)
                gt[number] -= l @ rate(y, held)
                self.call("receive_back", x, p, weight, arriving, gp, g)
                l = arriving + kept
                gt[number] += l @ rate(x, held)
                gw[number] += g[0]
            else:
                y = after(x, "fire")
                refractory = bool(self.refractory)
                back = l.copy()
                self.call("reset_back", x, p, back, gp)
                time = late[number] + back @ rate(x, False) - l @ rate(y, refractory)
                l = back
                self.call("level_back", x, p, -time / self.call("level_rate", x, p), l, gp)
        return gp, gw, gt, l
