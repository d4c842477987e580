"""A program of the plasticity processor as a kernel in C++, for grenade's plasticity rules (`generate_kernel` of PyNN).

What is emitted is generated, and was not run on silicon; tests compile it with a stand-in for the vector unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.analog.plastic import PlasticityProgram, PlasticTerm, check_program
from ...ir.diagnostics import Diagnostics, DoesNotFitError
from .plasticity_limits import PPU

if TYPE_CHECKING:
    import jinja2

__all__ = ["columns_in_order", "kernel_text"]

_HALVES = 2
_WRITTEN = {
    "factor": ("factor", "int8_t", "n_target", "the third factor of each target, -128..127"),
    "error": ("wanted", "uint8_t", "n_target", "the spikes that are wanted of each target, 0..255"),
    "source_rate": ("source_rate", "uint8_t", "n_source", "the spikes of each source since the last update, 0..255"),
    "reward": ("reward", "int8_t", "", "the reward, -128..127"),
}


def columns_in_order(n_target: int) -> tuple[tuple[int, int], ...]:
    """(half, column) of each target, one after the other."""
    columns = PPU["columns"].value
    return tuple((number // columns, number % columns) for number in range(n_target))


def kernel_text(program: PlasticityProgram, n_target: int, n_source: int, *, number: int = 0, rule: str = "a rule",
                columns: Sequence[tuple[int, int]] | None = None) -> str:
    """The kernel of one projection.

    Args:
        number: of the projection, in the names of what the host writes: `spikec_p0_factor`.
        rule: a name for the comment; what is no letter, digit or underscore is left out.
        columns: (half, column) of each target; None: one after the other.

    Raises:
        BadInputError: the program is malformed (SC364).
        DoesNotFitError: there are not so many rows or columns, a column is taken twice, or the data exceed the
            processor's memory (SC362).
    """
    check_program(program)
    placed = columns_in_order(n_target) if columns is None else tuple(columns)
    most_rows, most_columns = PPU["rows"].value // 2, PPU["columns"].value
    observed = program.observed
    sizes = {"n_target": n_target, "n_source": n_source, "": 0}
    key = f"p{int(number)}"
    factors: list[dict[str, Any]] = [
        {"symbol": f"spikec_{key}_{name}", "type": kind, "size": sizes[size], "what": what}
        for each, (name, kind, size, what) in _WRITTEN.items() if each in observed]
    # Targets of both halves (16 bits), baselines and gate (16 bits a column), counters, and what the host writes.
    taken = (2 * _HALVES * most_columns + 2 * most_columns * (3 if program.reads else 2) + 8
             + sum(max(1, each["size"]) for each in factors))
    faults = Diagnostics()

    def over(what: str, value: object, limit: object) -> None:
        faults.add("SC362", what, node=key, value=value, limit=limit)

    if not 1 <= n_source <= most_rows:
        over("a source takes two rows of a half", f"{n_source} sources", most_rows)
    if not 1 <= n_target <= _HALVES * most_columns:
        over("a target takes a column", f"{n_target} targets", _HALVES * most_columns)
    if len(placed) != n_target or len(set(placed)) != len(placed) or any(
            half not in (0, 1) or not 0 <= column < most_columns for half, column in placed):
        over("each target has a column of its own", f"{len(set(placed))} columns", f"{n_target} of 0..{most_columns-1}")
    if taken > PPU["memory"].value:
        over("the data of the kernel exceed the processor's memory", f"{taken} bytes", PPU["memory"].value)
    faults.raise_if_errors(DoesNotFitError)
    table = [[-1] * most_columns for _ in range(_HALVES)]
    for target, (half, column) in enumerate(placed):
        table[half][column] = target
    terms, roundings = _terms(program)
    return _templates().get_template("rule_kernel.jinja").render(
        version=version("spikec"), key=key, rule="".join(each for each in rule if each.isalnum() or each == "_")[:80],
        n_target=n_target, n_source=n_source, columns=table, terms=terms, roundings=roundings,
        fraction=program.fraction, low=program.low, high=program.high, both=program.both, seed=program.seed,
        reads=program.reads if "gate" in observed else 0, centre=program.centre, width=program.width,
        observed=observed, factors=factors, bytes=taken)


def _terms(program: PlasticityProgram) -> tuple[list[dict[str, Any]], int]:
    """What the template writes of each, and the number of roundings in all of them."""
    found: list[dict[str, Any]] = []
    count = 0
    for term in program.terms:
        first, *others = (*term.factors, f"Wide({term.mantissa})")
        steps = []
        for by, down in zip(others, term.downs, strict=True):
            steps.append({"by": by, "down": down, "rounding": count})
            count += down > 0
        found.append({"text": _text(term), "first": first, "steps": steps, "shift": term.shift, "rounding": count})
        count += term.shift > 0
    return found, count


def _text(term: PlasticTerm) -> str:
    return "*".join((str(term.mantissa), f"2^-{term.shift + sum(term.downs)}", *term.factors))


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
                              autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
