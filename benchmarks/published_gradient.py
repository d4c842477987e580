"""The training that was published with the chip's runs (Göltz et al., Nature Machine Intelligence 3, 2021; fastAndDeep
33e4876), written again from its equations, for networks whose spikes a chip gives.

A neuron with tau_mem = tau_syn = 1 whose inputs i came before its spike, with a = sum w_i exp(t_i) and
b = sum w_i t_i exp(t_i), fires at t = b / a - W(z), z = -(theta / a) exp(b / a). Its derivatives are taken with the
nominal W, at the time that was measured; where there is no real W, the nominal neuron would not have fired, and they
are zero. Where what a sample would change of a weight is larger than a bound, the sample changes none of that neuron's
weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import lambertw
from torch import Tensor

__all__ = ["FirstSpikes"]


class FirstSpikes(torch.autograd.Function):
    """Measured first-spike times (batch, n), as a function of the inputs' times (batch, m) and of weights (n, m)."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, weight: Tensor, measured: Tensor, theta: float, bound: float) -> Tensor:
        ctx.save_for_backward(times, weight, measured)
        ctx.theta, ctx.bound = theta, bound
        return measured.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        times, weight, measured = ctx.saved_tensors
        error = torch.nan_to_num(error, 0.0, 0.0, 0.0)
        causal = (times[:, None, :] < measured[:, :, None]) & torch.isfinite(measured)[:, :, None]
        before = torch.where(torch.isfinite(times), times, 0.0)
        grown = torch.exp(before)[:, None, :]
        held = torch.where(causal, weight[None], 0.0)
        a = (held * grown).sum(2) + 1e-6
        b = (held * grown * before[:, None, :]).sum(2) + 1e-6
        with np.errstate(all="ignore"):
            found = lambertw((-(ctx.theta / a) * torch.exp(b / a)).numpy())
        real = torch.from_numpy((np.imag(found) == 0) & np.isfinite(found))
        slope = torch.where(real, -1 / a / (1 + torch.from_numpy(np.real(found))), 0.0)[:, :, None]
        apart = torch.where(causal, torch.where(torch.isfinite(measured), measured, 0.0)[:, :, None]
                            - before[:, None, :], 0.0)
        by_weight = torch.where(causal, slope * grown * apart, 0.0) * error[:, :, None]
        by_time = torch.where(causal, slope * held * grown * (apart - 1), 0.0) * error[:, :, None]
        kept = by_weight.abs().amax(2, keepdim=True) <= ctx.bound
        return by_time.sum(1), torch.where(kept, by_weight, 0.0).sum(0), None, None, None
