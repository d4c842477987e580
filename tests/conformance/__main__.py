"""python -m conformance [--only TEXT] [--steps N] [--jobs N]

Runs the suite. Exit code 1 where a framework is missing or not in the version that is pinned, or a network fails.
`--only`: frameworks and networks whose line holds this text; `--steps`: fewer; with either nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from . import networks, page, suite, versions
from .case import STEPS
from .compare import MEMBRANE, SINGLE_MEMBRANE
from .places import places, quiet, row_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="text in 'framework kind settings'")
    parser.add_argument("--steps", type=int, default=STEPS, help="at most so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    options = parser.parse_args()
    gone = versions.missing()
    for line in gone:
        print(f"missing: {line}")
    if gone:
        print("`make conformance` builds the environment that this needs.")
        return 1
    results: dict[str, Any] = {"frameworks": [], "networks": [], "public": []}
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), quiet) as pool:
        chosen = [place for place in places() if options.only in place.label]
        for place, row in zip(chosen, pool.map(partial(row_of, steps=options.steps), chosen), strict=True):
            results[place.part].append(row.as_dict())
            print(_line(row), flush=True)
    failed = [row for part in ("frameworks", "networks", "public") for row in results[part] if row["failures"]]
    if not options.only and options.steps == STEPS:
        _write(results)
    total = sum(len(results[part]) for part in ("frameworks", "networks", "public"))
    print(f"{total} networks, {len(failed)} fail")
    return 1 if failed or not total else 0


def _line(row: suite.Row) -> str:
    said = "; ".join(row.failures)
    return f"{'FAIL' if row.failures else 'ok':5}{row.framework} {row.kind} | {row.settings} | {row.verdict} {said}"


def _write(results: dict[str, Any]) -> None:
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    results = {
        "commit": commit, "day": time.strftime("%Y-%m-%d", time.gmtime()), "python": sys.version.split()[0],
        "versions": versions.pins(),
        "limits": {"steps": STEPS, "membrane": MEMBRANE, "single": SINGLE_MEMBRANE, "event_steps": suite.EVENT_STEPS,
                   "exact_steps": networks.EXACT_STEPS},
        **results,
    }
    _replace(page.RESULTS, _text(_rounded(results)))
    _replace(page.PAGE, page.page(page.read()))


def _text(results: dict[str, Any]) -> str:
    """JSON with a line for each network, so that a change of one is a change of one line."""
    def value(found: Any) -> str:
        if not isinstance(found, list):
            return json.dumps(found, ensure_ascii=False)
        return "[\n" + ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in found) + "\n ]"

    return "{\n" + ",\n".join(f" {json.dumps(key)}: {value(found)}" for key, found in results.items()) + "\n}\n"


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    print(f"wrote {path.name}")


def _rounded(value: Any) -> Any:
    """Two digits of what rounding leaves: more change with every machine."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.2g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
