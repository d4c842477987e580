"""Remedies in the words of the command line: diagnostics are written for Python, where most of them are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.diagnostics import Diagnostic

__all__ = ["IN_COMMANDS", "in_words_of_commands", "typed"]

_RETURNED = "Let a function in a file net.py return spikec.{}, and give net.py:FUNCTION"
_SAMPLE = "Give --sample with the sizes, as --sample 25,1,784"

IN_COMMANDS: Mapping[str, Mapping[str, str]] = {
    "SC103": {"Use Events.from_samples, which sorts": "Sort the events of each sample by time in the file; "
              "Events.from_samples does"},
    "SC116": {"dt=1e-3": "--dt 1e-3"},
    "SC210": {"Pass discretization=Discretization(dt=…)": "Give --dt SECONDS --spike delta|box"},
    "SC221": {"Pass sample=": _SAMPLE},
    "SC222": {"Pass dt=… in seconds": "Give --dt SECONDS", "dt=1e-3": "--dt 1e-3"},
    "SC225": {"Pass sample=": _SAMPLE, "Pass input_shape=(…) without the batch axis, or sample=": _SAMPLE},
    "SC302": {"Convert the network with spikec.convert_ann": _RETURNED.format("convert_ann(graph, data)")},
    "SC303": {"spikec.with_readouts(graph) puts a": _RETURNED.format("with_readouts(graph)") + "; it puts a"},
    "SC340": {"variant='imu'": "--variant imu"},
    "SC402": {"Give duration=… in seconds": "Give --duration SECONDS"},
    "SC403": {"graph.replace(discretization=spikec.Discretization(dt=…)), or dt=… when importing":
              "--dt SECONDS --spike delta|box; --dt alone for a torch module"},
    "SC405": {"Give Events, or a raster with dt=… in seconds": "Give --dt SECONDS, of a column"},
    "SC504": {"rule_options={'rate': …}": "--rule-option rate=…"},
    "SC508": {"fit(resume=False) starts over; another path": "--fresh starts over; another --output"},
    "SC509": {"Give the trainer another path": "Give another --output", "fit(resume=False)": "--fresh"},
    "SC550": {"dt=1e-3": "--dt 1e-3", "Give dt too": "Add --dt SECONDS"},
}
"""By code: what a remedy says for Python, and what to type instead."""


def in_words_of_commands(fault: Diagnostic) -> Diagnostic:
    """The diagnostic with a remedy that can be typed."""
    return replace(fault, remedy=fault.remedy and typed(fault.code, fault.remedy))


def typed(code: str, text: str) -> str:
    """The remedy of a diagnostic, or the text of a whole one, with what can be typed."""
    for python, command in IN_COMMANDS.get(code, {}).items():
        text = text.replace(python, command)
    return text
