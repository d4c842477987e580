"""What is compared: the frameworks, pinned by the files in `requirements/`, each with its small needs."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).parent / "requirements"
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
FRAMEWORKS = ("snntorch", "norse", "sinabs", "spikingjelly", "rockpool")
PIN = re.compile(r"^([A-Za-z0-9_.\-]+)==(\S+)", re.MULTILINE)


def pins() -> dict[str, str]:
    """Every pinned distribution and its version."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        found |= dict(PIN.findall(path.read_text(encoding="utf-8")))
    shared = dict(PIN.findall(CONSTRAINTS.read_text(encoding="utf-8")))
    return found | {name: shared[name] for name in ("torch", "numpy", "onnx", "nir")}


def missing() -> list[str]:
    """What is not installed in the version that is pinned."""
    told = []
    for name, version in pins().items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            told.append(f"{name} {version} is not installed")
            continue
        if found.partition("+")[0] != version:  # a local part says which build it is
            told.append(f"{name} is {found}, and {version} is pinned")
    return told
