"""The tree laid out as it is installed, for static checkers, which do not know setuptools' package-dir."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def rooms() -> dict[str, Path]:
    """The folder of each top package, by its installed name."""
    return {name: ROOT / folder for name, folder in settings()["tool"]["setuptools"]["package-dir"].items()}


def lay_out(place: Path) -> Path:
    """Copies every room to its installed place below `place`, with the checkers' settings beside it."""
    for name, folder in rooms().items():
        shutil.copytree(folder, place.joinpath(*name.split(".")), dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place
