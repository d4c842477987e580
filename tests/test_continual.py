"""A class that is learnt on chip, as the example shows it: the new one comes, the old ones stay."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "continual.py"


def test_the_example_learns_a_class_from_twenty_images(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    done = subprocess.run([sys.executable, EXAMPLE, "--held", "0", "--epochs", "3", "--passes", "3"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    old_before, new_before, old_after, new_after = map(float, re.findall(r"([\d.]+) %", last))
    assert old_before > 85, last
    assert new_before < 10, last
    assert new_after > 70, last
    assert old_after > old_before - 10, last
