"""The command `spikec`: its sub-commands, and what becomes an exit code.

0 ok; 1 a mismatch with the reference; 2 does not fit; 3 unsupported; 4 bad input or usage; 70 internal error;
130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version as version_of
from itertools import takewhile
from typing import Annotated, Any, TextIO

import typer
import typer.core
from rich.text import Text

from ...ir.diagnostics import BadInputError, Diagnostic, SpikecError, SpikecWarning
from . import compile, data, doctor, inspect, lava, report, reproduce, rules, run, targets, train, validate
from .console import errors, print_diagnostics, print_json, say, say_error
from .interrupts import EXIT_CODE, Interrupted, answered, asked, failure, line_of, raises
from .words import in_words_of_commands, typed

__all__ = ["app", "main"]

UsageError: Any = typer.BadParameter.__base__  # typer does not name it
_USAGE, _INTERNAL = 4, 70
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a stream says that takes no more: a full disk, a quota, a limit, a terminal that has gone."""


class _Commands(typer.core.TyperGroup):
    """Ctrl-C leaves a command as `Interrupted`, which typer does not take for its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted from stop


app = typer.Typer(
    name="spikec",
    cls=_Commands,
    help="Compiles, runs and trains spiking neural networks.",
    epilog="Exit codes: 0 ok, 1 mismatch, 2 does not fit, 3 unsupported, 4 bad input or usage, 70 internal error, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("compile")(compile.command)
app.command("run")(run.command)
app.command("train")(train.command)
app.command("inspect")(inspect.command)
app.command("validate")(validate.command)
app.command("report")(report.command)
app.command("reproduce")(reproduce.command)
app.command("targets")(targets.command)
app.command("rules")(rules.command)
app.command("doctor")(doctor.command)
app.add_typer(data.app, name="data")
app.add_typer(lava.app, name="lava")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"spikec {version_of('spikec')}")
        raise typer.Exit


@app.callback()
def _spikec(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options that stand before the command."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; nothing escapes as a traceback unless SPIKEC_TRACEBACK=1."""
    arguments = _json_last(arguments)
    as_json = "--json" in arguments
    with warnings.catch_warnings():
        warnings.simplefilter("always", SpikecWarning)
        warnings.showwarning = _show_warning
        try:
            return _run(arguments, as_json)
        except OSError as error:
            return _unsaid(error)


def _json_last(arguments: Sequence[str]) -> Sequence[str]:
    """`--json` before the command means the same as after it."""
    before = list(takewhile(lambda argument: argument.startswith("-"), arguments))
    if "--json" not in before or len(before) == len(arguments):
        return arguments
    return [*(argument for argument in before if argument != "--json"), *arguments[len(before):], "--json"]


def _run(arguments: Sequence[str], as_json: bool) -> int:
    raises()
    try:
        outcome = typer.main.get_command(app).main(list(arguments), prog_name="spikec", standalone_mode=False)
        if outcome == EXIT_CODE:  # what typer itself makes of Ctrl-C, outside a command
            return _stop(as_json, Interrupted())
        sys.stdout.flush()
        answered()
        return outcome if isinstance(outcome, int) else 0
    except UsageError as error:
        message = error.format_message().rstrip(".") or "a command is missing"  # empty: the help was printed instead
        command = error.ctx.command_path if error.ctx else "spikec"
        _fail(as_json, _USAGE, Diagnostic("SC550", message, remedy=f"See `{command} --help`."))
        return _USAGE
    except Interrupted as stop:
        return _stop(as_json, stop)
    except SpikecError as error:
        if isinstance(error.__cause__, Exception | SystemExit):  # what went wrong in the user's own code, or a library
            _show_traceback(error.__cause__)
        _fail(as_json, error.exit_code, *error.diagnostics)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _stop(as_json, Interrupted())
    except Exception as error:
        if asked():
            return _stop(as_json, Interrupted())
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        _show_traceback(error)
        _fail(as_json, _INTERNAL, Diagnostic(
            "SC551", f"internal error: {type(error).__name__}: {error}",
            remedy="This is a fault of spikec. Please report it with the command, the model, the output of "
            "`spikec doctor --json`, and the traceback that SPIKEC_TRACEBACK=1 prints."))
        return _INTERNAL


def _unsaid(error: OSError) -> int:
    """Of an answer that cannot be written; what is still to be said on stdout is left out, so that Python ends well."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
    with suppress(OSError):  # stderr may be on the same disk
        _fail(False, BadInputError.exit_code, Diagnostic(
            "SC522", f"the answer cannot be written: {error.strerror}", remedy="Make room, or write it elsewhere."))
    return BadInputError.exit_code


def _stop(as_json: bool, stop: Interrupted) -> int:
    answered()
    errors().print(Text(line_of(stop)))
    if as_json:
        print_json(failure(EXIT_CODE, stop.diagnostics))
    return EXIT_CODE


def _show_traceback(error: BaseException) -> None:
    if os.environ.get("SPIKEC_TRACEBACK") == "1":
        traceback.print_exception(error)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: TextIO | None = None, line: str | None = None) -> None:
    say_error(f"warning: {typed(str(message)[:5], str(message))}")


def _fail(as_json: bool, code: int, *faults: Diagnostic) -> None:
    answered()
    diagnostics = tuple(map(in_words_of_commands, faults))
    if as_json:
        print_json(failure(code, diagnostics))
    else:
        print_diagnostics(diagnostics)
    sys.stdout.flush()
