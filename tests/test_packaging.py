"""The wheel: what is in it, and that it works where nothing of the source tree is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from as_installed import ROOT, rooms, settings

EXPECTED = Path(__file__).parent / "wheel_files.txt"
TOP_FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, so that the sdist is known to be complete."""
    pytest.importorskip("build")
    source = tmp_path_factory.mktemp("x-y.z")
    for folder in rooms().values():
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in TOP_FILES:
        shutil.copy(ROOT / name, source)
    done = subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."], cwd=source,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_every_package_folder_is_listed() -> None:
    found = {
        ".".join([name, *init.parent.relative_to(folder).parts])
        for name, folder in rooms().items() for init in folder.rglob("__init__.py")
    }
    assert found == set(settings()["tool"]["setuptools"]["packages"])


def test_the_wheel_holds_exactly_what_is_expected(wheel: Path, update_golden: bool) -> None:
    files = sorted(name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name)
    if update_golden:
        EXPECTED.write_text("\n".join(files) + "\n")
    assert files == EXPECTED.read_text().split(), "`pytest tests/test_packaging.py --update-golden` accepts it"
    assert not [name for name in files if not name.startswith("spikec/") or "test" in name]


def test_the_wheel_states_licence_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        about = archive.read(f"{info}/METADATA").decode()
        assert "License-Expression: MIT" in about
        assert "Description-Content-Type: text/markdown" in about
        assert "spikec = spikec.__main__:main" in archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()


def test_every_module_imports_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, with the dependencies (but not this tree) from the environment of the tests."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
                    "--no-index", "--disable-pip-version-check", str(wheel)], check=True)
    site = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                               capture_output=True, text=True, check=True).stdout.strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = """
import importlib, pkgutil, spikec, sys
assert spikec.__file__.startswith(sys.prefix), spikec.__file__
modules = pkgutil.walk_packages(spikec.__path__, "spikec.")
names = [module.name for module in modules if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    modules = [name for name in EXPECTED.read_text().split() if name.endswith(".py")]
    assert int(done.stdout) == len(modules) - 2, "all but spikec itself and __main__"
    command = subprocess.run([place / "bin" / "spikec", "--version"], capture_output=True, text=True, check=True)
    assert command.stdout.split()[0] == "spikec"
