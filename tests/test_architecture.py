"""How the house is built: imports run one way, files stay small, faults are diagnostics."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each room may import from, besides itself.
ROOMS: dict[str, set[str]] = {
    "ir": set(),
    "passes": {"ir"},
    "runtime": {"ir"},
    "targets": {"ir", "passes", "runtime"},
    "compiler": {"ir", "passes", "runtime", "targets"},
    "spikec": {"ir", "passes", "runtime", "targets", "compiler"},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
LONGEST = 600


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports from, absolutely (spikec.ir…) or relatively (..ir…)."""
    place = ["spikec", *path.relative_to(ROOT).parts[:-1]] if path.parts[len(ROOT.parts)] != "spikec" else ["spikec"]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        targets: list[list[str]] = []
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = place[: len(place) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            targets = [[*module, alias.name] for alias in node.names]
        for target in targets:
            if target[0] == "spikec":
                inside = len(target) > 1 and target[1] in ROOMS
                rooms.add(target[1] if inside else "spikec")
    return rooms


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    room = name_of(path).split("/")[0]
    assert imported_rooms(path) <= ROOMS[room] | {room}


def test_imports_inside_the_packages_are_relative() -> None:
    absolute = [
        name_of(path) for path in FILES for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in ROOMS)
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] in ROOMS for alias in node.names))
    ]
    assert absolute == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_faults_are_diagnostics() -> None:
    """No assert, and no bare Exception: a user would get neither code nor remedy."""
    bare = [
        f"{name_of(path)}:{node.lineno}" for path in FILES for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Raise) and _raised(node) in _BARE)
    ]
    assert bare == []


_BARE = {"Exception", "BaseException", "AssertionError", "NotImplementedError", "RuntimeError"}


def _raised(node: ast.Raise) -> str | None:
    value = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return value.id if isinstance(value, ast.Name) else None


def test_nothing_is_unpickled_or_evaluated() -> None:
    """`torch.load` only with weights_only=True; no pickle.load, eval, exec, or numpy loading with allow_pickle."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if (called in {"eval", "exec", "pickle.load", "pickle.loads", "np.load"}
                    or (called == "torch.load" and keywords.get("weights_only") != "True")
                    or keywords.get("allow_pickle") == "True"):
                found.append(f"{name_of(path)}:{node.lineno} {called}")
    assert found == []


def test_no_python_file_stands_in_the_root() -> None:
    assert list(ROOT.glob("*.py")) == []
