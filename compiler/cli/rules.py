"""`spikec rules`: the library of learning rules; and how the commands read `--rule` and its options."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.learning.rule import LearningRule
from ...targets.registry import target_named
from .console import JsonOption, print_json, print_table, say, say_error
from .pairs import parse_pairs

__all__ = ["chosen_rule", "command"]


def command(
    name: Annotated[str | None, typer.Argument(
        metavar="[NAME|FILE]", help="One rule, in its text form, which `spikec train --rule FILE` reads.")] = None,
    target: Annotated[str | None, typer.Option(
        "--target", "-t", help="Only the rules that this target runs; of NAME, the form that it runs.")] = None,
    option: Annotated[list[str] | None, typer.Option(
        "--rule-option", metavar="KEY=VALUE", help="A hyper-parameter of NAME; as often as there are any.")] = None,
    json: JsonOption = False,
) -> None:
    """List the library of local learning rules, or show one of them."""
    from ...ir.learning.text import to_text
    from ...ir.rules import RULES

    options = parse_pairs(option, "--option", "rate=1e-3")
    if target is not None:
        target_named(target)
    if name is not None:
        if target is not None and _is_file(name):
            raise _misused(f"'{name}' is a file, which is of one form", f"--target {target}", "Leave --target out.")
        rule = chosen_rule(name, target, options)
        if target is not None and target not in RULES[name].targets:
            say_error(f"note: {name} runs on {', '.join(RULES[name].targets)}, not on {target}")
        text = to_text(rule)
        if json:
            print_json({"rule": rule.name, "source": rule.source, "target": target, "text": text,
                        "options": _defaults(name, target)})
        else:
            say(text.rstrip())
        return
    if options:
        raise _misused("--rule-option is for one rule", ", ".join(options), "Name it: spikec rules NAME.")
    listed = {each: entry for each, entry in RULES.items() if target is None or target in entry.targets}
    if json:
        print_json({"target": target,
                    "rules": [{"name": each, "paper": entry.paper, "line": entry.line, "targets": list(entry.targets),
                               "options": _defaults(each, target)} for each, entry in listed.items()]})
    else:
        print_table(("rule", "targets", "what it does", "paper"),
                    [(each, ", ".join(entry.targets), entry.line, entry.paper) for each, entry in listed.items()])


def chosen_rule(text: str, target: str | None, options: dict[str, Any]) -> LearningRule:
    """The rule of the library, or in the file, that `--rule` names.

    Raises:
        BadInputError: no such rule or hyper-parameter (SC514), one that is wrong (SC111, SC150 to SC153), a file that
            cannot be read (SC523) or is malformed (SC154), or options for a file (SC550).
    """
    from ...ir.learning.checks import verify_rule
    from ...ir.learning.text import read
    from ...ir.rules import rule_named

    if not _is_file(text):
        return rule_named(text, target, **options)
    if options:
        raise _misused(f"'{text}' is a file, which states its numbers itself", ", ".join(options),
                       "Leave --rule-option out, and change the file.")
    return verify_rule(read(text))


def _is_file(text: str) -> bool:
    """Whether `--rule` means a file, and no rule of the library."""
    from ...ir.rules import RULES

    return text not in RULES and bool(Path(text).suffix or Path(text).exists())


def _defaults(name: str, target: str | None) -> dict[str, Any]:
    """The hyper-parameters of a rule of the library, and what they are by default, on the target where one is named."""
    from ...ir.rules import RULES

    if name not in RULES:
        return {}
    own = RULES[name].defaults.get(str(target), {})
    return {each: own.get(each, parameter.default)
            for each, parameter in inspect.signature(RULES[name].make).parameters.items()}


def _misused(message: str, value: str, remedy: str) -> BadInputError:
    return BadInputError(Diagnostic("SC550", message, value=value, remedy=remedy))
