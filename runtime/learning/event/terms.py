"""A rule's products as C: names are the kernel's own, numbers Python's shortest ones.

Between instants every product is a sum of exponentials. What the target brings to it (`Piece`) is integrated neuron by
neuron, in a frame of time in which a source's part is constant from one of its spikes to the next; so a synapse is
touched only when its source fires, and when something reads it (`kernels/learn.jinja`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from ....ir.diagnostics import Diagnostics
from ....ir.learning.continuous import Act, Continuous, Flow

__all__ = ["Channel", "Nested", "Piece", "Plan", "plan_of"]

_CLOCK = "Use the target clock."


@dataclass(frozen=True, slots=True)
class Piece:
    """What a neuron adds to an integral: `amplitude` exp(-`rate` s), s from the frame's beginning."""

    amplitude: str
    rate: str


@dataclass(slots=True)
class Channel:
    """An integral of each target neuron, of which variable `variable` takes `source` times as much."""

    variable: str
    source: str
    source_rate: str
    pieces: list[Piece] = field(default_factory=list)
    first: int = 0


@dataclass(slots=True)
class Nested(Channel):
    """The same of something times a tag, which itself flows: `inner` numbers the channels of the tag `tag`."""

    tag: str = ""
    inner: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that `learn.jinja` is rendered with. `acts`: (moment, variable, expression)."""

    xs: list[int]
    ys: list[int]
    gates: list[dict[str, Any]]
    channels: list[Channel]
    nested: list[Nested]
    acts: list[tuple[str, str, str]]
    flows: int
    tags: list[str]
    rows_settle: bool
    dendrite: str
    clips: bool

    def variables(self) -> dict[str, Any]:
        """Plain values, by the names that the template knows."""
        pieces, outer = _numbered(self.channels), _numbered(self.nested)
        return {
            "xs": self.xs, "ys": self.ys, "gates": self.gates, "tags": self.tags, "acts": self.acts,
            "flows": self.flows, "rows_settle": self.rows_settle, "dendrite": self.dendrite, "clips": self.clips,
            "channels": [(each.variable, each.source) for each in self.channels],
            "nested": [(each.variable, each.source, each.tag, each.inner) for each in self.nested],
            "pieces": pieces, "outer": outer,
        }


def _numbered(channels: Sequence[Channel]) -> list[tuple[int, int, str, str]]:
    """(number, channel, amplitude, rate) of all pieces."""
    found = [(channel, each) for channel, of in enumerate(channels) for each in of.pieces]
    return [(number, channel, each.amplitude, each.rate) for number, (channel, each) in enumerate(found)]


def plan_of(continuous: Continuous, faults: Diagnostics) -> Plan:
    """What the kernel does by a rule. What it cannot is added to `faults` (SC516)."""
    return _Planner(continuous, faults).plan()


class _Planner:
    def __init__(self, continuous: Continuous, faults: Diagnostics) -> None:
        self.continuous, self.faults = continuous, faults
        self.number = {name: number for kind in "xy" for number, name in enumerate(
            sorted(each for each in continuous.traces if each[0] == kind))}
        self.gates = list(continuous.gates.values())
        error = continuous.rule.error
        impulses = error is not None and (error.spikes or error.code == "spike")
        tau = None if error is None else error.dendrite_tau
        self.dendrite = "held" if tau in (None, 0.0) else "falling" if impulses else "driven"
        self.channels: dict[tuple[str, str], Channel] = {}
        self.nested: dict[tuple[str, str, str], Nested] = {}

    def plan(self) -> Plan:
        for number, flow in enumerate(self.continuous.flows):
            self._flow(number, flow)
        channels, nested = list(self.channels.values()), list(self.nested.values())
        for each in nested:
            each.inner = [number for number, channel in enumerate(channels) if channel.variable == each.tag]
            if any(other.variable == each.tag for other in nested):
                self._no("a tag that follows another, and is followed itself", each.tag)
        flowing = {flow.variable for flow in self.continuous.flows}
        read = {name for act in self.continuous.acts if act.when in ("post", "pair", "error")
                for name in (*act.product.variables, *act.product.signs)}
        read |= {act.variable for act in self.continuous.acts if act.when in ("post", "pair", "error")} - {"w"}
        traces = self.continuous.traces
        followers = {kind: [self.number.get(traces[name].of, -1) for name in sorted(traces) if name[0] == kind]
                     for kind in "xy"}
        error = self.continuous.rule.error
        if error is not None and error.dendrite_tau is None and not (error.spikes or error.code in ("spike", "reward")):
            for act in self.continuous.acts:
                if act.when != "sample" and "e" in (*act.product.variables, *act.product.signs):
                    self._no("a dendrite that sums an error without spikes, before the end of the sample", act.when)
        for name, trace in traces.items():
            if trace.of != "spikes" and traces[trace.of].of != "spikes":
                self._no("a trace of a trace of a trace", name)
        return Plan(
            followers["x"], followers["y"],
            [{"name": each.name[1], "shape": each.shape, "width": repr(float(each.width)),
              "height": repr(float(each.height)),
              "centre": None if each.centre is None else repr(float(each.centre))} for each in self.gates],
            channels, nested, [self._act(number, act) for number, act in enumerate(self.continuous.acts)],
            len(self.continuous.flows), [name for name in "td" if self.continuous.writes(name)],
            bool(flowing & read) or "w" in flowing, self.dendrite, self.continuous.rule.bounds is not None)

    def _no(self, what: str, value: str) -> None:
        self.faults.add("SC516", f"the event engine has no kernel for {what}", value=value, remedy=_CLOCK)

    def _flow(self, number: int, flow: Flow) -> None:
        sources = [name for name in flow.product.variables if name[0] == "x"]
        tags = [name for name in flow.product.variables if name in ("t", "d")]
        others = [name for name in flow.product.variables if name not in (*sources, *tags)]
        signs = [_sign("L->e0[i]")] * len(flow.product.signs)
        for modes in product(*(self._modes("x", name) for name in sources)):
            source = _times([each for each, _ in modes])
            source_rate = _plus([rate for _, rate in modes])
            if tags:
                channel: Channel = self.nested.setdefault((flow.variable, source, tags[0]), Nested(
                    flow.variable, source, source_rate, tag=tags[0]))
                frame = [source_rate, f"A->leaks[run->phase * 2 + {'td'.index(tags[0])}]"]
            else:
                channel = self.channels.setdefault((flow.variable, source), Channel(
                    flow.variable, source, source_rate))
                frame = [source_rate]
            if flow.variable != "w":
                frame.append(f"-A->leaks[run->phase * 2 + {'td'.index(flow.variable)}]")
            for parts in product(*(self._of_target(name) for name in others)):
                coefficient = repr(flow.product.coefficient / self.continuous.rule.interval)
                channel.pieces.append(Piece(
                    _times([f"ON_FLOW({number})", f"({coefficient})", *(each for each, _ in parts), *signs]),
                    _plus([*frame, *(rate for _, rate in parts)])))

    def _of_target(self, name: str) -> list[tuple[str, str]]:
        if name[0] == "y" and name in self.number:
            return self._modes("y", name)
        if name == "e":
            held, falling = ("L->e0[i]", ""), ("L->e1[i]", "A->dendrite_rate")
            return {"held": [held], "falling": [falling], "driven": [held, falling]}[self.dendrite]
        gate = self.continuous.gates[name]
        return [(f"({float(gate.height)!r} * L->gate{name[1]}[i])", "")]

    def _modes(self, kind: str, name: str) -> list[tuple[str, str]]:
        """A trace as exponentials of the frame: (amplitude, rate)."""
        number, index = self.number[name], "j" if kind == "x" else "i"
        found = [(f"L->{kind}{number}[{index}]", f"L->r{kind}[{number}]")]
        of = self.continuous.traces[name].of
        if of != "spikes":
            first = self.number[of]
            found.append((f"L->k{kind}[{number}] * L->{kind}{first}[{index}]", f"L->r{kind}[{first}]"))
        return found

    def _act(self, number: int, act: Act) -> tuple[str, str, str]:
        values = [self._value(name) for name in act.product.variables]
        values += [_sign(self._value(name)) for name in act.product.signs]
        return act.when, act.variable, _times([f"ON_ACT({number})", f"({act.product.coefficient!r})", *values])

    def _value(self, name: str) -> str:
        """A variable at an instant."""
        if name in self.continuous.gates:
            return f"L->v{name[1]}[i]"
        if name in ("t", "d"):
            return f"(L->{name}[s] * L->g{name})" if self.continuous.writes(name) else "0.0"
        if name in ("w", "r"):
            return "L->w[s]" if name == "w" else "run->reward"
        if name == "e":
            return "(L->e0[i] + L->e1[i] * L->ge)" if self.dendrite != "held" else "L->e0[i]"
        kind, number = name[0], self.number[name]
        parts = [f"{amplitude} * L->g{kind}[{self.number[self.continuous.traces[name].of] if place else number}]"
                 for place, (amplitude, _) in enumerate(self._modes(kind, name))]
        return f"({' + '.join(parts)})"


def _times(parts: list[str]) -> str:
    return " * ".join(parts) or "1.0"


def _plus(parts: list[str]) -> str:
    return " + ".join(f"({each})" for each in parts if each) or "0.0"


def _sign(value: str) -> str:
    return f"SIGN({value})"
