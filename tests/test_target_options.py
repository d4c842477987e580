"""Options that several targets take are looked at alike, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikec
from spikec import BadInputError

CHIPS = ("loihi2", "brainscales2", "generic_analog", "dynapse2")


def graph() -> spikec.Graph:
    net = spikec.Builder()
    inputs, neurons = net.input("in", 2), net.cubalif("a", 2, tau_mem=20e-3, tau_syn=10e-3)
    net.connect(inputs, neurons, weight=np.full((2, 2), 0.1))
    net.output("out", neurons)
    return net.build()


def faults(target: str, **options: Any) -> dict[str, Any]:
    with pytest.raises(BadInputError) as caught:
        spikec.compile(graph(), target, **options)
    assert {each.code for each in caught.value.diagnostics} == {"SC533"}
    return {each.message: each for each in caught.value.diagnostics}


@pytest.mark.parametrize("target", CHIPS)
def test_a_misspelt_option_and_a_bad_seed_are_told_together(target: str) -> None:
    found = faults(target, sede=3, seed=-1)
    unknown = found[f"the target {target} has no option 'sede'"]
    assert "seed" in str(unknown.limit)
    assert unknown.remedy == "Is 'seed' meant?"
    assert found["seed is a whole number"].value == "-1"


@pytest.mark.parametrize("seed", [2**63, 1.5, True, "1", None])
def test_seeds_are_what_generators_take(seed: Any) -> None:
    for target in CHIPS:
        assert "seed is a whole number" in faults(target, seed=seed)


@pytest.mark.parametrize(("target", "name"), [("brainscales2", "noise"), ("brainscales2", "partition"),
                                              ("dynapse2", "noise"), ("dynapse2", "feedback")])
def test_flags_are_true_or_false(target: str, name: str) -> None:
    assert f"{name} is a truth value" in faults(target, **{name: 1})
