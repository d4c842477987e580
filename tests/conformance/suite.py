"""A case from the framework's module to the row of the table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

import spikec

from .case import STEPS, Array, Case, Trace, build, double_precision, raster, sample
from .compare import MEMBRANE, SINGLE_MEMBRANE, Compared, compared, until_tie
from .targets import event_counts, on_clock, on_nir, on_onnx, on_reference

EXACT: Mapping[str, Callable[[spikec.Graph, Array], Mapping[str, Trace]]] = {
    "reference": on_reference, "clock": on_clock, "onnx": on_onnx, "nir": on_nir,
}
"""Columns in which every spike has to be that of the framework."""
EVENT_STEPS = 200
"""Steps of the run in continuous time."""
ACTIVE = 0.01
"""In how many of all steps each neuron has to fire: of a silent one only the membrane is compared, and no reset."""


@dataclass(slots=True)
class Row:
    """What was found for one case. `targets` by column: a `Compared` as a dict, or a text that says why there is none;
    `event`: spikes of the framework and in continuous time. `told`: the warnings of the import. `check`: its verdict
    on the model as the user has it, in float32. `activity`: the share of steps in which the
    neuron that fires least fires. `failures`: why the row fails; empty where it does not."""

    framework: str
    version: str
    kind: str
    settings: str
    recurrent: bool = False
    verdict: str = ""
    check: str | None = None
    told: list[str] = field(default_factory=list)
    activity: float | None = None
    targets: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(framework: str, version: str, case: Case, columns: frozenset[str] | None = None, steps: int = STEPS) -> Row:
    """The row of one case. `columns`: only these; all where it is None. `steps`: at most so many."""
    row = Row(framework, version, case.kind, case.settings, case.recurrent)
    if case.refused is not None:
        _refusal(row, case)
        return row
    try:
        with told() as row.told:
            graph = imported(build(case), case)
    except spikec.SpikecError as error:
        row.failures.append(f"import: {said(error)}")
        row.verdict = "not imported"
        return row
    row.check = str(graph.metadata.get("import.check"))
    values = raster(min(case.steps, steps))
    theirs = native(case, values)
    row.failures += silent(theirs)
    row.activity = activity(theirs)
    precise = doubled(case)
    for column, ask in EXACT.items():
        if columns is None or column in columns:
            exact(row, column, lambda ask=ask: compared(ask(precise, values), theirs))  # type: ignore[misc]
    if columns is None or "clock32" in columns:
        _single(row, graph, case, values)
    if columns is None or "event" in columns:
        row.targets["event"] = _event(precise, values, theirs)
    row.verdict = _verdict(row)
    return row


def imported(module: torch.nn.Module, case: Case) -> spikec.Graph:
    """The graph of a case's module."""
    given = sample(case.layout).to(next((each.dtype for each in module.parameters()), torch.float32))
    return spikec.from_torch(module, sample=given, dt=case.dt)


def native(case: Case, values: Array, double: bool = True) -> Mapping[str, Trace]:
    """The framework's own run."""
    if case.play is None:
        raise ValueError(f"{case.kind}: no run is stated")
    if not double:
        with torch.no_grad():
            return case.play(build(case), torch.from_numpy(values).float())
    with double_precision(), torch.no_grad():
        return case.play(build(case).double(), torch.from_numpy(values))


def doubled(case: Case) -> spikec.Graph:
    """The graph of the module in float64: what a framework derives from its parameters, as exp(-1 / tau), it derives in
    their type."""
    with double_precision(), told():
        return imported(build(case).double(), case)


def firing(trace: Trace) -> Array | None:
    """The share of steps, over all samples, in which each neuron fires; None of a readout."""
    if trace.spikes is None:
        return None
    shares: Array = (trace.spikes != 0).mean((0, 1))
    return shares


def activity(traces: Mapping[str, Trace]) -> float | None:
    """The share of steps in which the neuron that fires least fires; None where there are readouts alone."""
    found = [float(shares.min()) for shares in map(firing, traces.values()) if shares is not None]
    return min(found, default=None)


def silent(traces: Mapping[str, Trace]) -> list[str]:
    """A failure for each node that has neurons which fire in fewer than `ACTIVE` of the steps."""
    return [f"{name}: {int((shares < ACTIVE).sum())} of {shares.size} neurons fire in under {ACTIVE:.0%} of the steps"
            for name, trace in traces.items() for shares in [firing(trace)] if shares is not None
            and (shares < ACTIVE).any()]


@contextmanager
def told() -> Iterator[list[str]]:
    """The warnings of spikec, as texts."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [" ".join(str(each.message).split()) for each in caught
              if issubclass(each.category, spikec.SpikecWarning)]


def _refusal(row: Row, case: Case) -> None:
    try:
        with told():
            imported(build(case), case)
    except spikec.SpikecError as error:
        codes = {found.code for found in error.diagnostics}
        row.verdict = f"refused: {said(error)}"
        if case.refused not in codes:
            row.failures.append(f"refused with {', '.join(sorted(codes))} and not with {case.refused}")
    else:
        row.verdict = "not refused"
        row.failures.append(f"should be refused with {case.refused}")


def exact(row: Row, column: str, ask: Callable[[], Compared]) -> None:
    """Fills a column in which every spike has to be equal."""
    found = _asked(row, column, ask)
    if isinstance(found, Compared) and (found.wrong or (found.membrane or 0.0) > MEMBRANE):
        row.failures.append(f"{column}: {found.first or f'membranes are {found.membrane:.1e} apart'}")


def _single(row: Row, graph: spikec.Graph, case: Case, values: Array) -> None:
    found = _asked(row, "clock32", lambda: until_tie(on_clock(graph, values, torch.float32),
                                                     native(case, values, double=False)))
    if isinstance(found, Compared) and (found.membrane or 0.0) > SINGLE_MEMBRANE:
        row.failures.append(f"clock32: membranes are {found.membrane:.1e} apart")


def _asked(row: Row, column: str, ask: Callable[[], Compared]) -> Compared | None:
    """What a target gave. A target that is missing, and one that refuses, fails the row."""
    try:
        with told():
            found = ask()
    except spikec.UnsupportedError as error:
        row.targets[column] = said(error)
        if column != "nir":  # what NIR has no field for is refused, and no fault
            row.failures.append(f"{column}: {said(error)}")
        return None
    except Exception as error:  # whatever a target raises belongs into the table, beside what the others gave
        row.targets[column] = said(error)
        row.failures.append(f"{column}: {said(error)}")
        return None
    row.targets[column] = asdict(found)
    return found


def _event(graph: spikec.Graph, values: Array, theirs: Mapping[str, Trace]) -> Any:
    """Spikes in both, or why there are none; that is no failure, since continuous time is another model."""
    counted = {name: int(trace.spikes[:, :EVENT_STEPS].sum()) for name, trace in theirs.items()
               if trace.spikes is not None}
    if not counted:
        return "readout"
    try:
        with told():
            ours = event_counts(graph, values[:, :EVENT_STEPS])
    except spikec.SpikecError as error:
        return said(error)
    return {"framework": sum(counted.values()), "event": sum(ours[name] for name in counted)}


def _verdict(row: Row) -> str:
    if row.check != "faithful on its grid":
        row.failures.append(f"the import's own check says: {row.check}")
    return "differs" if row.failures else "equal"


def said(error: Exception) -> str:
    if isinstance(error, spikec.SpikecError):
        first = error.diagnostics[0]
        return f"{first.code}, {first.message}"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
