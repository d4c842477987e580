"""`spikec targets`: what can be compiled for."""

from __future__ import annotations

from dataclasses import asdict

from ...targets.registry import TARGETS
from .console import JsonOption, print_json, print_table


def command(json: JsonOption = False) -> None:
    """List the targets, and which of them this version can compile for."""
    if json:
        print_json({"targets": [asdict(target) for target in TARGETS.values()]})
    else:
        print_table(("target", "status", "time", "gradients", "local rules", "checked against", "what it is"),
                    [(target.name, target.status, target.time, target.gradients, target.rules,
                      target.checked_against, target.summary) for target in TARGETS.values()])
