"""Results as JSON: the record of the machine, figures of six digits, files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.facts import is_number, is_whole
from ...ir.npz import write_atomically

__all__ = ["machine_record", "read_stored", "rounded", "source_folder", "write_stored"]

_LARGEST = 1 << 26


def source_folder() -> Path | None:
    """The root of the clone that this package is run from; None where it is installed elsewhere."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "benchmarks").is_dir() else None


def machine_record(command: Sequence[str]) -> dict[str, Any]:
    """What figures depend on: processor, versions, commit where it is known, and the `command`."""
    root = source_folder()
    return {
        "processor": _processor(), "cores": os.cpu_count(), "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": platform.platform(), "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("spikec", "torch", "numpy")},
        "compiler": _first_line([os.environ.get("CC", "cc"), "--version"]),
        "commit": "" if root is None else _first_line(["git", "-C", str(root), "rev-parse", "HEAD"]),
        "uncommitted_changes": root is not None and bool(_first_line(
            ["git", "-C", str(root), "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results", ":!docs",
             ":!README.md"])),
        "load_average": list(os.getloadavg()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(command),
    }


def rounded(value: Any) -> Any:
    """As results hold it: six digits, lists."""
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write_stored(path: Path, content: Mapping[str, Any]) -> None:
    """Raises BadInputError where it cannot be written (SC522)."""
    write_atomically(path, f"{json.dumps(rounded(content), indent=1, ensure_ascii=False)}\n".encode())


def read_stored(path: Path, measure: str) -> dict[str, Any] | None:
    """What was stored, None where there is no such file. `measure`: the key of what runs are judged by.

    Raises:
        BadInputError: it cannot be read, or is no result (SC582).
    """
    if not path.exists():
        return None
    cause, why = None, ""
    try:
        data = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
        told = json.loads(data)
        if _is_result(told, measure):
            return dict(told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        cause, why = error, f": {_why(error)}"
    raise BadInputError(Diagnostic("SC582", f"'{path}' holds no result of earlier runs{why}",
                                   remedy="Move it away, or give another --output; --fresh writes over it.")) from cause


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return "it is no JSON" if isinstance(error, ValueError) else "what it holds is of another kind"


_BY_POPULATION = ("neurons", "spikes", "silent", "never")


def _is_result(told: Any, measure: str) -> bool:
    """Whether all that is told of a result is there, and of its kind; of a run of an earlier version some may be
    absent."""
    figures = told["figures"]
    deviation, runs = figures["std_percent"], figures["runs"]
    return (isinstance(told["name"], str) and isinstance(told["parameters"], dict) and isinstance(runs, list)
            and bool(runs) and is_number(figures["mean_percent"]) and (deviation is None or is_number(deviation))
            and all(_is_run(run, measure) for run in runs))


def _is_run(run: Any, measure: str) -> bool:
    seconds = (run.get("training_cpu_s"), run.get("training_wall_s"))
    shown = [record[name] for record in (run, run.get("before", {})) for name in _BY_POPULATION if name in record]
    return (is_whole(run["seed"]) and is_number(run[measure])
            and all(each is None or is_number(each) for each in seconds)
            and (run.get("latency_s") is None or (is_number(run["latency_s"]) and is_number(run["undecided"])))
            and is_number(run.get("test_accuracy_by_spikes", 0))
            and all(isinstance(each, dict) and all(is_number(value) for value in each.values()) for each in shown))


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.splitlines()[0].strip() if done.stdout.strip() else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    vectors = [name for name in ("avx2", "avx512f") if name in told.get("flags", "").split()]
    model = f"family {told.get('cpu family')} model {told.get('model')}"
    return f"{told.get('model name', platform.processor())} ({model}; {', '.join(vectors)})"


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
