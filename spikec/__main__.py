"""`python -m spikec` and the command `spikec`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Runs the command line and exits with its code (see `spikec --help`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the process was started with it closed: nobody listens
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    came: list[int] = []
    former = signal.getsignal(signal.SIGINT)
    if former is signal.default_int_handler:  # it is not where the process was started with Ctrl-C ignored
        signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    from .compiler.cli import interrupts

    if former is signal.default_int_handler:
        interrupts.leaves_at_once()
    code = interrupts.leave() if came else _run()
    if code == interrupts.EXIT_CODE:
        # Python ends by the signal itself, whoever has handled it, where it passed through code made of text.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    from .compiler.cli import app, interrupts

    try:
        return app.main(sys.argv[1:])
    except KeyboardInterrupt:  # it came between two lines of what handles it
        return interrupts.leave()


if __name__ == "__main__":
    main()
