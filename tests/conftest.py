"""Settings that all tests share."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, however slow the machine; `pytest --hypothesis-profile=explore` looks further.
hypothesis.settings.register_profile("spikec", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, database=None, max_examples=600)
hypothesis.settings.load_profile("spikec")

# What is started in the background ignores Ctrl-C, and so would all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write expectation files anew, then look at the diff")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For modules of thousands of tiny runs: threads cost more than they bring."""
    import torch

    from spikec.runtime.threads import set_threads

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    set_threads(1)
    yield
    torch.set_num_threads(before)
    set_threads(0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of commands, with a model file in it."""
    from cli_commands import MODEL

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


@pytest.fixture
def seeded() -> Iterator[None]:
    """Weights are drawn alike in every run, and what an import warns of is an error."""
    import torch

    from spikec import SpikecWarning

    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        yield


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str, str], None]:
    """`golden(name, text)` compares a text with tests/golden/<name>; with --update-golden it writes the file."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update_golden:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is not there: run pytest --update-golden, and look at what it writes"
        assert text == path.read_text(encoding="utf-8")

    return compare
