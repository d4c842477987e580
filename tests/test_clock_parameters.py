"""Parameters of a module on the clock target, as an optimizer or a file of weights leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import spikec
from spikec import BadInputError, Builder, Discretization
from spikec.runtime.clock.module import ClockModule

RASTER = np.ones((2, 4, 3))


def module() -> ClockModule:
    net = Builder(Discretization(1e-3))
    cells = net.cubalif("cells", 5, tau_mem=20e-3, tau_syn=5e-3, refractory=2e-3)
    net.connect(net.input("in", 3), cells, weight=np.ones((5, 3)), bias=0.5, name="fc")
    net.connect(cells, cells, weight=np.zeros((5, 5)), delay=2e-3, name="rec")
    net.output("out", cells)
    return spikec.compile(net.build(), target="clock").module()


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(("name", "value", "said"), [
    ("fc.weight", np.nan, "SC104 at 'fc': weight is not finite (value: nan"),
    ("fc.weight", -np.inf, "SC104 at 'fc': weight is not finite (value: -inf"),
    ("fc.bias", np.nan, "SC104 at 'fc': bias"),
    ("rec.delay", -1e-3, "SC103 at 'rec': delay must not be negative"),
    ("cells.tau_mem", np.nan, "SC104 at 'cells': tau_mem"),
    ("cells.tau_mem", 0.0, "SC103 at 'cells': tau_mem must be positive"),
    ("cells.tau_syn", -1e-3, "SC103 at 'cells': tau_syn must be positive"),
    ("cells.refractory", -1e-3, "SC103 at 'cells': refractory must not be negative"),
    ("cells.v_threshold", np.inf, "SC104 at 'cells': v_threshold"),
])
def test_a_parameter_that_became_illegal_is_named(name: str, value: float, said: str, grad: bool) -> None:
    net = module()
    net(RASTER)
    parameter = net.get_parameter(name)
    parameter.data[(0,) * parameter.dim()] = value
    with torch.set_grad_enabled(grad), pytest.raises(BadInputError) as caught:
        net(RASTER)
    assert said in str(caught.value)
    assert all("lower lr" in str(fault.remedy) for fault in caught.value.diagnostics)


def test_all_of_them_are_named() -> None:
    net = module()
    net.get_parameter("fc.bias").data[1] = np.nan
    net.get_parameter("cells.tau_mem").data[:] = -1.0
    with pytest.raises(BadInputError) as caught:
        net(RASTER)
    assert [(fault.code, fault.node) for fault in caught.value.diagnostics] == [("SC103", "cells"), ("SC104", "fc")]


def test_what_an_optimizer_that_diverged_left_is_told() -> None:
    net = module()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e38)
    for _ in range(3):
        optimizer.zero_grad()
        spikes = net(torch.ones(2, 8, 3)).spikes("out")
        (spikes.sum() * 1e3).backward()
        optimizer.step()
        if not all(parameter.isfinite().all() for parameter in net.parameters()):
            break
    with pytest.raises(BadInputError, match="SC104"):
        net(RASTER)


def test_a_file_of_weights_with_nan_is_told(tmp_path: Path) -> None:
    state = module().state_dict()
    state["fc.weight"][2, 1] = np.nan
    torch.save(state, tmp_path / "weights.pt")
    net = module()
    net.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with pytest.raises(BadInputError, match="SC104 at 'fc'"):
        net(RASTER)


def test_a_matrix_larger_than_the_sum_of_floats_is_legal() -> None:
    net = module()
    net.get_parameter("fc.weight").data[:] = 3e38  # the sum overflows, no element does
    net(RASTER)
