"""`spikec inspect`: what a model is made of, and what a target makes of it."""

from __future__ import annotations

from ...ir.diagnostics import Diagnostic, SpikecError
from .console import JsonOption, print_diagnostics, print_json, say
from .models import DtOption, ModelArgument, SpikeOption, TargetOption, open_graph


def command(
    model: ModelArgument,
    target: TargetOption = "event",
    dt: DtOption = None,
    spike: SpikeOption = None,
    json: JsonOption = False,
) -> int:
    """Print a model's text form, and the report of compiling it; exits 3 where the target cannot take it."""
    from ..driver import compile

    graph = open_graph(model, dt, spike)
    report, faults, code = None, tuple[Diagnostic, ...](), 0
    try:
        report = compile(graph, target).report()
    except SpikecError as error:
        faults, code = error.diagnostics, error.exit_code
    if json:
        print_json({
            "ok": code == 0,
            "exit_code": code,
            "graph": str(graph),
            "report": None if report is None else report.as_dict(),
            "diagnostics": [fault.as_dict() for fault in faults],
        })
    else:
        say(graph)
        if report is not None:
            say()
            say(report)
        print_diagnostics(faults)
    return code
