"""The Python blocks of the chips' pages, one after the other as one program, from the top of each page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from as_installed import ROOT

BLOCK = re.compile(r"(?:<!-- (with|not run): ([^>]*?) -->\n)?```python\n(.*?)```", re.DOTALL)
"""`with: FOLDER`: packages that stand in for a vendor's; `not run: WHY`: what needs the vendor's own."""


def program_of(page: str) -> tuple[str, list[str]]:
    """The blocks that run, and the folders of their stand-ins."""
    found = BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert found and all(why.strip() for mark, why, _ in found if mark)
    return ("\n".join(code for mark, _, code in found if mark != "not run"),
            [str(ROOT / why) for mark, why, _ in found if mark == "with"])


def run(code: str, folder: Path, paths: list[str]) -> str:
    python_path = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True,
                          check=False, env={**os.environ, "PYTHONPATH": python_path})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


CHECKS = {
    "brainscales2": """
assert len(fake) == len(own) > 10 and (fake.indices == own.indices).all() and abs(fake.times - own.times).max() < 1e-4
assert trainer.history.records[-1].train.samples == 5
seen = [[], []]
for seed in range(4):  # other weights, two layers, a loop with a delay
    made = spikec.Builder()
    first, one = made.input("x", 6), made.cubalif("h", 7, tau_mem=12e-3, tau_syn=6e-3, refractory=1e-3)
    two = made.cubalif("o", 3, tau_mem=9e-3, tau_syn=5e-3, reset="v_reset", v_reset=-0.2)
    first.connect(one, weight=spikec.normal(1.2, 0.4, seed=seed))
    one.connect(two, weight=spikec.normal(1.5, 0.3, seed=seed + 10))
    one.connect(one, weight=spikec.normal(-0.2, 0.1, seed=seed + 20), delay=15e-3)
    made.output("out", two)
    ideal = spikec.compile(made.build(), target="brainscales2", rows=2, mismatch="none", noise=False)
    given = spikec.encoders.latency(np.random.default_rng(seed).random((5, 6)), t_max=20e-3)
    for kept, measure in zip(seen, (FakeChip(ideal).measure, None)):
        spikes = ideal.run(given, 60e-3, measure=measure).spikes
        kept += [np.bincount(spikes[name].indices, minlength=7) for name in ("h", "o")]
apart = sum(abs(mine - its).sum() for mine, its in zip(*seen))
assert apart <= 2 and sum(each.sum() for each in seen[0]) > 100, (apart, seen)
""",
    "dynapse2": """
assert trainer.history.records[-1].train.samples == 60 and len(seen) > 3
assert spikec.load("folder").codes.keys() == program.codes.keys()
assert all((np.abs(each) <= 15).all() for each in again.masks.values())

def steps_program(codes, spikes, duration):  # the masks of a step are those of the program that is compiled again
    now = program.recompile(trainer.module.to_graph())
    assert all((now.codes[name] == each).all() for name, each in codes.items())
    assert "config.json" in now.files()
    return program.emulator(seed=7).measure(codes, spikes, duration)

trainer = spikec.Trainer(program, "first-spike", lr=2e-2, epochs=1, batch_size=20, duration=duration,
                         measure=steps_program, progress=False)
trainer.fit((events, labels))
assert any((trainer.program.codes[name] != each).any() for name, each in program.codes.items())
""",
    "plasticity-processor": """
assert (answer.predictions == labels).mean() > 0.9
""",
    "xylo": """
assert trainer.history.records[-1].train.accuracy > 0.4
assert spikec.load("net-xylo").plan.shifts == program.plan.shifts
""",
}
"""What is asserted of the names of a page, after its blocks."""


@pytest.mark.parametrize("page", ["brainscales2", "dynapse2", "plasticity-processor", "xylo"])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    pytest.importorskip("snntorch")
    code, paths = program_of(page)
    run(code + CHECKS.get(page, ""), tmp_path, paths)
