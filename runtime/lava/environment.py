"""The environment that runs Lava: an interpreter of its own, since Lava's pins clash with torch's.

`SPIKEC_LAVA_PYTHON` names an interpreter that can import Lava; else it is that of the folder which `install_lava` made.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ...ir.diagnostics import BadInputError, Diagnostic, SpikecError
from ...ir.npz import write_atomically
from ...ir.paths import path_of
from ..jit import cache_folder
from .processes import Expired, ProcessGroup

__all__ = [
    "LAVA_VERSION", "LavaError", "LavaFacts", "check_lava", "default_folder", "find_lava", "install_lava", "lava_host",
]

LAVA_VERSION = "0.10.0"
VARIABLE = "SPIKEC_LAVA_PYTHON"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
HOST = Path(__file__).with_name("host.py")
_OLDEST, _NEWEST = (3, 10), (3, 13)
_MARK = "spikec-lava.json"
"""Written last: a folder without it was left half-made."""
_INSTALL = "Make its environment: spikec lava install."


class LavaError(SpikecError):
    """Lava is missing, cannot be installed, or a program fails in it."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class LavaFacts:
    """An interpreter that runs Lava, and the versions in it. `folder`: of the environment; None where
    SPIKEC_LAVA_PYTHON names the interpreter."""

    interpreter: str
    python: str
    lava: str
    numpy: str
    scipy: str
    folder: str | None


def default_folder() -> Path:
    """Where `install_lava` makes the environment unless it is told: beside the kernels, in the user's cache."""
    cache = cache_folder()
    return (cache if os.environ.get("SPIKEC_CACHE") else cache.parent) / f"lava-{LAVA_VERSION}"


def find_lava() -> Path:
    """The interpreter that runs Lava; that Lava really is there, `check_lava` says.

    Raises:
        BadInputError: SPIKEC_LAVA_PYTHON names none of a version that Lava runs on (SC554).
        LavaError: there is no environment, or half of one (SC553).
    """
    if stated := os.environ.get(VARIABLE):
        python_version(stated, VARIABLE)
        return Path(stated)
    folder = default_folder()
    if _is_whole(folder):
        return _interpreter(folder)
    told = "its environment was left half-made" if folder.exists() else "it has no environment yet"
    raise LavaError(Diagnostic("SC553", f"Lava is missing: {told}", value=str(folder),
                               remedy=f"{_INSTALL} {VARIABLE} names another interpreter that has it."))


def python_version(interpreter: str | Path, said_by: str) -> tuple[int, int]:
    """Major and minor version of an interpreter that can run Lava.

    Raises:
        BadInputError: it does not answer, or Lava does not run on its version (SC554).
    """
    limit = f"Python {_said(_OLDEST)} to {_said(_NEWEST)}"
    code = "import sys; print('python', *sys.version_info[:2])"
    try:
        done = subprocess.run([interpreter, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
        found = re.fullmatch(r"python (\d+) (\d+)\s*", done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        found = None
    if found is None:
        raise BadInputError(Diagnostic("SC554", f"{said_by} names no Python interpreter", value=str(interpreter),
                                       limit=limit, remedy="Give the path of its executable, as bin/python in a "
                                       "virtual environment."))
    version = int(found[1]), int(found[2])
    if not _OLDEST <= version <= _NEWEST:
        raise BadInputError(Diagnostic("SC554", f"Lava {LAVA_VERSION} does not run on the Python that {said_by} names",
                                       value=f"{interpreter}, Python {_said(version)}", limit=limit,
                                       remedy="Name one of these, or let spikec lava install --python PATH make an "
                                       "environment from it."))
    return version


def install_lava(python: str | Path | None = None, folder: str | Path | None = None, *, time_limit: float = 1800.0,
                 report: Callable[[str], None] | None = None) -> LavaFacts:
    """Makes the environment, and checks that Lava runs in it; one that is there and whole is checked alone.

    `python`: the interpreter that it is made from; unless stated this one, or the newest of 3.10 to 3.13 on the path.
    `folder`: where; `default_folder()` unless stated. `time_limit`: seconds. `report`: is told what happens.

    Raises:
        BadInputError: the interpreter is none, or of a wrong version (SC554), the folder is no path (SC525) or is taken
            by something else (SC522).
        LavaError: it cannot be made (SC555) or does not work (SC556). Nothing of it stays.
    """
    place = (default_folder() if folder is None else path_of(folder, "the folder of Lava's environment")).absolute()
    base = _base_interpreter(python)
    tell = report or (lambda text: None)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.with_name(f".{place.name}.lock")):
            if not _is_whole(place):
                _clear(place, tell)
                try:
                    _make(place, base, time.monotonic() + time_limit, tell)
                    facts = _probed(_interpreter(place), str(place))
                    write_atomically(place / _MARK, json.dumps(asdict(facts), indent=2).encode())
                except BaseException:
                    shutil.rmtree(place, ignore_errors=True)
                    raise
                return facts
    except OSError as error:
        raise LavaError(Diagnostic("SC555", f"Lava's environment cannot be made: {error.strerror or error}",
                                   value=str(place), remedy="Free space, or name another folder.")) from error
    tell(f"{place} is there already")
    return _probed(_interpreter(place), str(place))


def check_lava(python: str | Path | None = None, *, time_limit: float = 120.0) -> LavaFacts:
    """Runs two steps of one neuron in an interpreter, that of `find_lava` unless stated.

    Raises:
        BadInputError: the interpreter is none, or of a wrong version (SC554).
        LavaError: there is none (SC553), or Lava is not in it, of another version, or does not work (SC556).
    """
    if python is not None:
        python_version(python, "the argument python")
        return _probed(Path(python), None, time_limit)
    interpreter = find_lava()
    return _probed(interpreter, None if os.environ.get(VARIABLE) else str(interpreter.parent.parent), time_limit)


def lava_host(interpreter: Path, deadline: float) -> tuple[ProcessGroup, dict[str, str]]:
    """A running host in which Lava is imported, and the versions there.

    Raises:
        LavaError: Lava is not there, of another version, or cannot be imported in time (SC556).
    """
    try:
        # Threads of linear algebra bring nothing to Lava's small products, and it has a process for each.
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        group = ProcessGroup([interpreter, "-I", HOST], {**os.environ, **single})
    except OSError as error:
        raise _does_not_work(interpreter, f"it cannot be started: {error.strerror or error}") from error
    try:
        line = group.read_line(deadline)
        if line is None:
            raise _does_not_work(interpreter, _last_line(group.tail()))
        versions: dict[str, str] = json.loads(line)["ready"]
        if versions["lava"] != LAVA_VERSION:
            raise _does_not_work(interpreter, f"its Lava is {versions['lava']}")
        return group, versions
    except Expired:
        group.end()
        raise _does_not_work(interpreter, "importing it takes too long") from None
    except (ValueError, KeyError, TypeError) as error:
        group.end()
        raise _does_not_work(interpreter, f"it says what is not understood ({error})") from error
    except BaseException:
        group.end()
        raise


def _probed(interpreter: Path, folder: str | None, time_limit: float = 120.0) -> LavaFacts:
    deadline = time.monotonic() + time_limit
    group, versions = lava_host(interpreter, deadline)
    with group:
        try:
            group.send("{}")
            answer = group.read_line(deadline)
        except (Expired, OSError):
            raise _does_not_work(interpreter, f"two steps take longer than {time_limit:g} s") from None
        if answer != json.dumps({"exit": 0}):
            raise _does_not_work(interpreter, _last_line(group.tail()))
    return LavaFacts(str(interpreter), versions["python"], versions["lava"], versions["numpy"], versions["scipy"],
                     folder)


def _does_not_work(interpreter: Path, why: str) -> LavaError:
    return LavaError(Diagnostic("SC556", f"Lava does not work in this interpreter: {why}", value=str(interpreter),
                                limit=f"Lava {LAVA_VERSION}", remedy=_INSTALL))


def _base_interpreter(python: str | Path | None) -> str:
    if python is not None:
        found = str(shutil.which(python) or python)
        python_version(found, "the argument python")
        return found
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        return sys.executable
    for minor in range(_NEWEST[1], _OLDEST[1] - 1, -1):
        if found_here := shutil.which(f"python3.{minor}"):
            try:
                python_version(found_here, "the path")
            except BadInputError:  # version managers put commands there that only say what is not installed
                continue
            return found_here
    raise BadInputError(Diagnostic("SC554", "there is no Python that Lava runs on", value=f"Python {sys.version}",
                                   limit=f"Python {_said(_OLDEST)} to {_said(_NEWEST)}",
                                   remedy="Install one of them, and name it: spikec lava install --python PATH."))


def _make(place: Path, base: str, deadline: float, tell: Callable[[str], None]) -> None:
    """A virtual environment with what `requirements.txt` pins.

    Raises:
        LavaError: it cannot be made (SC555).
    """
    tell(f"making an environment in {place}")
    _do([base, "-m", "venv", "--clear", str(place)], deadline, "the virtual environment cannot be made",
        "Its Python may lack the module venv: Debian and Ubuntu have it in python3-venv.")
    tell(f"installing lava-nc {LAVA_VERSION}")
    # On Python 3.11 and later Lava works, but its metadata refuse: its pins are installed as they stand.
    _do([str(_interpreter(place)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
         "--retries", "2", "--timeout", "20", "--no-deps", "--ignore-requires-python", "--only-binary", ":all:",
         "-r", str(REQUIREMENTS)], deadline, "its packages cannot be installed",
        "Check the network, and pip's index or proxy (pip config list); with no network, name an interpreter that has "
        f"Lava in {VARIABLE}.")


def _do(command: list[str], deadline: float, problem: str, remedy: str) -> None:
    try:
        with ProcessGroup(command) as group:
            code = group.wait(deadline)
            if code == 0:
                return
            why = _last_line(group.tail(), "ERROR")
    except Expired:
        why = "it takes too long"
    except OSError as error:
        why = error.strerror or str(error)
    raise LavaError(Diagnostic("SC555", f"{problem}: {why}", value=" ".join(command)[:300], remedy=remedy))


def _clear(place: Path, tell: Callable[[str], None]) -> None:
    """Removes what was left half-made.

    Raises:
        BadInputError: something else is there (SC522).
    """
    if not place.exists() and not place.is_symlink():
        return
    if place.is_symlink() or not place.is_dir() or (any(place.iterdir()) and not (place / "pyvenv.cfg").is_file()):
        raise BadInputError(Diagnostic("SC522", f"'{place}' is there, and is no environment of Lava",
                                       remedy="Name another folder, or remove it."))
    tell(f"{place} was left half-made, and is made anew")
    shutil.rmtree(place)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One at a time; the lock of a process that is gone is free."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _is_whole(folder: Path) -> bool:
    return (folder / _MARK).is_file() and _interpreter(folder).exists()


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


def _said(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _last_line(text: str, beginning: str = "") -> str:
    """The last line that begins like that, or the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it says nothing"]
    return next((line for line in reversed(lines) if line.startswith(beginning)), lines[-1])[:400]
