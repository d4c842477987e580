"""KEY=VALUE on the command line."""

from __future__ import annotations

from typing import Any

from ...ir.diagnostics import Diagnostics

__all__ = ["parse_options", "parse_pairs"]

_WORDS = {"true": True, "false": False}


def parse_pairs(texts: list[str] | None, flag: str, example: str, *, none: bool = True) -> dict[str, Any]:
    """Keys with numbers, true, false, none, or words. `flag`, `example`: what errors speak of. `none`: false where that
    is a word as others.

    Raises:
        BadInputError: naming every text that is none, and every key that is given twice (SC550).
    """
    faults = Diagnostics()
    found: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key.partition(".")[0].isidentifier() and equals and value):
            faults.add("SC550", f"{flag} reads KEY=VALUE", value=text, remedy=f"Write {flag} {example}.")
        elif key in found:
            faults.add("SC550", f"{flag} gives {key} twice", value=text, remedy="Give it once.")
        found[key] = None if none and value.lower() == "none" else _value(value)
    faults.raise_if_errors()
    return found


def parse_options(texts: list[str] | None) -> dict[str, Any]:
    """Options of a target: `rows.fc1=4` is the entry fc1 of the option rows.

    Raises:
        BadInputError: as `parse_pairs`, or an option has both a value and entries (SC550).
    """
    faults = Diagnostics()
    found: dict[str, Any] = {}
    for key, value in parse_pairs(texts, "--option", "seed=3", none=False).items():
        name, dot, entry = key.partition(".")
        if not dot:
            clash = name in found
            found[name] = value
        else:
            clash = not isinstance(found.setdefault(name, {}), dict)
            found[name] = {**({} if clash else found[name]), entry: value}
        if clash:
            faults.add("SC550", f"--option gives {name} both a value and entries", value=key,
                       remedy=f"Write --option {name}=1, or --option {name}.ENTRY=1.")
    faults.raise_if_errors()
    return found


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
