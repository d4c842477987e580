"""`spikec inspect`: what a model is made of, and what each target could do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from ...ir.diagnostics import Diagnostic, SpikecError
from ...ir.graph import Discretization, Graph
from ..inspection import Inspection, NodeRow, ParameterRow, TargetReport, inspect_graph
from .console import JsonOption, print_diagnostics, print_json, print_table, say
from .models import DtOption, ModelArgument, SampleOption, SpikeOption, open_graph
from .words import in_words_of_commands

_MARKS = {"faithful": "faithful", "approximate": "approx.", "unsupported": "no"}
_SYMBOLS: Mapping[str, Sequence[tuple[str, float]]] = {"s": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))}
_PARTS_OF_TEXT = ("threshold", "reset", "receive")
_DOES_NOT_FIT, _UNSUPPORTED = 2, 3


def command(
    model: ModelArgument,
    target: Annotated[str | None, typer.Option(
        "--target", "-t", help="This target alone; exits 3 where it cannot take the model, 2 where one chip is too "
        "small. See `spikec targets`.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the model's text form instead.")] = False,
    dt: DtOption = None,
    spike: SpikeOption = None,
    sample: SampleOption = None,
    json: JsonOption = False,
) -> int:
    """Print what a model is made of, and what each target could do with each node."""
    graph = open_graph(model, dt, spike, sample)
    if text:
        _say_text(graph, json)
        return 0
    found = inspect_graph(graph, None if target is None else [target])
    report, faults, code = _compiled(graph, found.targets[0]) if target is not None else (None, (), 0)
    if json:
        print_json({"ok": code == 0, "exit_code": code, **found.as_dict(),
                    "report": None if report is None else report.as_dict(),
                    "diagnostics": [fault.as_dict() for fault in faults]})
    else:
        _say(found)
        if report is not None:
            say()
            say(report)
        print_diagnostics(faults)
    return code


def _say_text(graph: Graph, json: bool) -> None:
    if json:
        print_json({"graph": str(graph)})
    else:
        say(graph)


def _compiled(graph: Graph, target: TargetReport) -> tuple[Any, tuple[Diagnostic, ...], int]:
    """The report of compiling for one target where it is available, what stands in its way, and the exit code."""
    from ..driver import compile

    report = None
    if target.status == "available":
        try:
            report = compile(graph, target.name).report()
        except SpikecError as error:
            return None, tuple(map(in_words_of_commands, error.diagnostics)), (
                error.exit_code if target.takes else _UNSUPPORTED)
    if not target.takes:
        return report, (), _UNSUPPORTED
    return report, (), 0 if target.fits else _DOES_NOT_FIT


def _say(found: Inspection) -> None:
    print_table(("node", "kind", "in -> out", "numbers", "parameters", "time constants"),
                [(row.name, row.kind, _shapes(row), f"{row.count:,}" if row.count else "", _plain_values(row),
                  _times(row)) for row in found.nodes])
    for row in found.nodes:
        _say_text_of(row)
    say()
    say(f"total: {found.neurons:,} neurons, {found.synapses:,} synapses, {found.parameters:,} parameters, "
        f"{_memory(found.bytes)}")
    say(f"time: {_grid(found.discretization)}")
    for row in found.nodes:
        if row.grid is not None:
            say(f"time of '{row.name}': {_grid(row.grid)}")
    if found.verdict:
        fired = found.metadata.get("import.check.fired")
        share = "" if fired is None else f"; {100 * float(fired):.0f} % of its neurons fired in the check"
        say(f"import: {found.verdict}{share}")
    say()
    if len(found.targets) > 1:
        print_table(("node", *(f"{each.name}{'' if each.status == 'available' else '*'}" for each in found.targets)),
                    [(row.name, *(_MARKS[each.nodes[row.name].verdict] for each in found.targets))
                     for row in found.nodes])
        if any(each.status != "available" for each in found.targets):
            say("* planned: judged by published facts")
    for target in found.targets:
        _say_target(target)


def _say_target(target: TargetReport) -> None:
    """The reasons of a target, each with the nodes that it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    for name, judgement in target.nodes.items():
        for reason in judgement.reasons:
            about.setdefault((reason.text, reason.source), []).append(name)
    say()
    outcome = "cannot take this model" if not target.takes else (
        "takes this model" if target.fits else "takes this model, on more than one chip")
    say(f"{target.name} ({target.status}): {outcome}")
    for (text, source), names in about.items():
        say(f"  {', '.join(names)}: {text}{_bracketed(source)}")
    for load in target.loads:
        say(f"  {load.value:,} of {load.limit:,.0f} {load.unit}{'' if load.fits else ': too many for one chip'}"
            f"{_bracketed(load.source)}")
    if target.note:
        say(f"  {target.note}")


def _memory(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.2f} kB"


def _bracketed(source: str) -> str:
    return f" [{source}]" if source else ""


def _shapes(row: NodeRow) -> str:
    if row.takes is None or row.gives is None:
        return "?"
    takes, gives = ("×".join(map(str, shape)) for shape in (row.takes, row.gives))
    return takes if takes == gives else f"{takes} -> {gives}"


def _say_text_of(row: NodeRow) -> None:
    """The text of a neuron that is written as such."""
    if row.kind != "Equations":
        return
    say()
    say(f"{row.name}:")
    for line in str(row.settings["equations"]).strip().splitlines():
        say(f"  {line.strip()}")
    for name in _PARTS_OF_TEXT:
        if row.settings.get(name):
            say(f"  {name}: {'; '.join(str(row.settings[name]).strip().splitlines())}")


def _plain_values(row: NodeRow) -> str:
    """The parameters that are no times and not the defaults of their kind, and the settings that are no text."""
    text = ("equations", *_PARTS_OF_TEXT) if row.kind == "Equations" else ()
    settings = (f"{name} {value}" for name, value in row.settings.items() if name not in text)
    return ", ".join([*_shown(row, times=False), *settings])


def _times(row: NodeRow) -> str:
    return ", ".join(_shown(row, times=True))


def _shown(row: NodeRow, times: bool) -> list[str]:
    return [_value(each) for each in row.parameters
            if (each.unit == "s") is times and (each.name == "v_threshold" or not each.default)]


def _value(row: ParameterRow) -> str:
    largest = max(abs(row.least), abs(row.most))
    symbol, size = next(((symbol, size) for symbol, size in _SYMBOLS.get(row.unit, ()) if largest >= size), ("", 1.0))
    low, high = row.least / size, row.most / size
    span = f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
    return f"{row.name} {span} {symbol if row.unit in ('s', '1') else row.unit}".rstrip()


def _grid(grid: Discretization | None) -> str:
    if grid is None:
        return "continuous; the model states no grid"
    return (f"a grid of dt = {grid.dt:g} s: spike = {grid.spike}, integrator = {grid.integrator}, "
            f"reset = {grid.reset}, delay = {grid.delay}, fires = {grid.fires}, spikes = {grid.spikes}")
