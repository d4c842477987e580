"""The environment of Lava: found, made, checked, and every way in which it can be missing."""

from __future__ import annotations

import json
import re
import time
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_commands import say, say_json
from lava_here import lava_python, stand_in

from spikec.ir.diagnostics import BadInputError, SpikecError
from spikec.runtime.lava.environment import (
    LAVA_VERSION,
    REQUIREMENTS,
    LavaError,
    check_lava,
    default_folder,
    find_lava,
    install_lava,
)


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKEC_LAVA_PYTHON", raising=False)
    monkeypatch.delenv("SPIKEC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def command(path: Path, text: str) -> Path:
    """A shell script in the place of an interpreter."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def code_of(call: Callable[[], object], kind: type[SpikecError] = LavaError) -> str:
    with pytest.raises(kind) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code


def test_the_folder_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_folder() == tmp_path / "cache" / "spikec" / f"lava-{LAVA_VERSION}"
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine" / f"lava-{LAVA_VERSION}"


def test_every_requirement_is_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all(re.match(r"[\w-]+==\d+(\.\d+)+( ;|$)", line) for line in lines)
    assert f"lava-nc=={LAVA_VERSION}" in lines


def test_without_an_environment_lava_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(find_lava) == "SC553"
    code, told = say_json(capsys, "lava", "check")
    assert (code, told["exit_code"], told["diagnostics"][0]["code"]) == (3, 3, "SC553")
    assert "spikec lava install" in told["diagnostics"][0]["remedy"]


def test_half_an_environment_is_none() -> None:
    folder = default_folder()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    with pytest.raises(LavaError, match="half-made"):
        find_lava()


@pytest.mark.parametrize("text", ["echo python 3 9", "echo python 3 14", "echo something else", "exit 1"])
def test_an_interpreter_of_a_wrong_version_or_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SPIKEC_LAVA_PYTHON", str(command(tmp_path / "python", text)))
    assert code_of(find_lava, BadInputError) == "SC554"
    code, _, told = say(capsys, "lava", "check")
    assert code == 4
    assert "Python 3.10 to 3.13" in told


@pytest.mark.parametrize("name", ["missing", "folder", "text"])
def test_what_is_no_command_is_no_interpreter(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("print()")
    monkeypatch.setenv("SPIKEC_LAVA_PYTHON", str(tmp_path / name))
    assert code_of(check_lava, BadInputError) == "SC554"
    assert code_of(lambda: install_lava(tmp_path / name, tmp_path / "made"), BadInputError) == "SC554"
    assert not (tmp_path / "made").exists()


def test_an_interpreter_without_lava(tmp_path: Path) -> None:
    venv.create(tmp_path / "plain", with_pip=False)
    with pytest.raises(LavaError, match="No module named 'lava'") as caught:
        check_lava(tmp_path / "plain" / "bin" / "python")
    assert caught.value.diagnostics[0].code == "SC556"


def test_another_version_of_lava(tmp_path: Path) -> None:
    with pytest.raises(LavaError, match=r"its Lava is 0\.9\.0"):
        check_lava(stand_in(tmp_path / "old", "0.9.0"))


def test_a_lava_that_imports_and_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(LavaError, match=r"No module named 'lava\.magma\.core") as caught:
        check_lava(stand_in(tmp_path / "hollow"))
    assert caught.value.diagnostics[0].code == "SC556"


def test_an_import_that_hangs_is_ended(tmp_path: Path) -> None:
    python = stand_in(tmp_path / "slow")
    (module,) = (tmp_path / "slow").glob("lib/python*/site-packages/lava/magma/compiler/var_model.py")
    module.write_text("import time; time.sleep(600)")
    start = time.monotonic()
    assert code_of(lambda: check_lava(python, time_limit=1.0)) == "SC556"
    assert time.monotonic() - start < 10


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_without_a_network_nothing_is_left(no_network: None, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "pyvenv.cfg").touch()
    told: list[str] = []
    with pytest.raises(LavaError, match="lava-nc") as caught:
        install_lava(folder=folder, report=told.append)
    assert caught.value.diagnostics[0].code == "SC555"
    assert "SPIKEC_LAVA_PYTHON" in str(caught.value)
    assert "half-made" in told[0]
    assert not folder.exists()


def test_an_installation_has_a_time_limit(tmp_path: Path) -> None:
    python = command(tmp_path / "python", 'case "$2" in -c) echo python 3 11;; *) sleep 600;; esac')
    with pytest.raises(LavaError, match="it takes too long") as caught:
        install_lava(python, tmp_path / "made", time_limit=0.5)
    assert caught.value.diagnostics[0].code == "SC555"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("taken", ["file", "folder", "link"])
def test_what_is_in_the_way_stays(taken: str, tmp_path: Path) -> None:
    place = tmp_path / "made"
    if taken == "file":
        place.write_text("mine")
    else:
        (tmp_path / "elsewhere" if taken == "link" else place).mkdir()
        if taken == "link":
            place.symlink_to(tmp_path / "elsewhere")
        (place / "mine").write_text("mine")
    assert code_of(lambda: install_lava(folder=place), BadInputError) == "SC522"
    assert (place if taken == "file" else place / "mine").read_text() == "mine"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert code_of(lambda: install_lava(folder=tmp_path / "file" / "made")) == "SC555"
    assert code_of(lambda: install_lava(folder=""), BadInputError) == "SC525"


def test_lava_that_is_there_is_checked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    python = str(lava_python())
    monkeypatch.setenv("SPIKEC_LAVA_PYTHON", python)
    code, told = say_json(capsys, "lava", "check")
    assert code == 0
    assert (told["lava"]["lava"], told["lava"]["interpreter"]) == (LAVA_VERSION, python)
    code, out, _ = say(capsys, "lava", "check", "--python", python)
    assert code == 0
    assert f"Lava {LAVA_VERSION} runs" in out


def test_an_environment_that_is_there_is_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder stands for one that was made: its interpreter is that which has Lava, and its mark is there."""
    (tmp_path / "made" / "bin").mkdir(parents=True)
    command(tmp_path / "made" / "bin" / "python", f'exec "{lava_python()}" "$@"')
    (tmp_path / "made" / "spikec-lava.json").write_text(json.dumps({}))
    code, told = say_json(capsys, "lava", "install", "--folder", str(tmp_path / "made"))
    assert (code, told["lava"]["folder"]) == (0, str(tmp_path / "made"))
