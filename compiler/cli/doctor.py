"""`spikec doctor`: what of the machine and the optional parts is there."""

from __future__ import annotations

from dataclasses import asdict

from .console import JsonOption, print_json, print_table


def command(json: JsonOption = False) -> None:
    """Say what of this machine and of the optional parts is there, what is missing, and how to get it."""
    from ..machine import examine

    findings = examine()
    if json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        print_table(("part", "state", "detail", "remedy"),
                    [(each.part, each.state, each.detail, each.remedy or "") for each in findings])
