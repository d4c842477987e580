"""`python -m spikec` and the command `spikec`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and exits with its code (see `spikec --help`)."""
    from .compiler.cli import app

    sys.exit(app.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
