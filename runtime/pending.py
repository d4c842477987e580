"""The spikes that are still under way when a run ends, as the next run takes them up."""

from __future__ import annotations

import torch
from torch import Tensor

from .signals import Spikes

__all__ = ["join", "under_way"]


def join(first: Spikes, second: Spikes) -> Spikes:
    """Sample by sample, the events of `first` and then those of `second`."""
    samples = torch.cat([_samples(first), _samples(second)])
    order = torch.argsort(samples, stable=True)
    return Spikes(torch.cat([first.times, second.times])[order], torch.cat([first.indices, second.indices])[order],
                  first.offsets + second.offsets)


def under_way(spikes: Spikes, by: float, delays: Tensor, box: float) -> Spikes:
    """Those of which an arrival may still be due after `by`, their times counted from `by` and all below 0: an event at
    0 is one of the next run.

    `delays`: all that spikes of this source meet, ascending. An arrival that was due until `by` must not be due again,
    nor one be lost, where rounding sees t + delay and (t - by) + delay on two sides of their limits, as on any decimal
    grid: such times are moved by what they were rounded.
    """
    reach = float(delays[-1]) + box
    keep = (spikes.times <= by) & (spikes.times + reach >= by * (1 - 1e-12))
    samples = _samples(spikes)[keep]
    counts = torch.bincount(samples, minlength=len(spikes.offsets) - 1)
    offsets = torch.zeros_like(spikes.offsets)
    torch.cumsum(counts, 0, out=offsets[1:])
    sent = spikes.times[keep].detach()
    times = sent - by
    for length in (0.0, box) if box else (0.0,):
        near = torch.searchsorted(delays, -times - length)
        for place in (near - 1, near):
            delay = delays[place.clamp(0, len(delays) - 1)]
            late = (sent + delay) + length > by

            def wrong(moved: Tensor, delay: Tensor = delay, length: float = length, late: Tensor = late) -> Tensor:
                return ((moved + delay) + length > 0) != late

            times = torch.where(wrong(times), -(delay + length), times)
            for _ in range(4):
                aside = torch.nextafter(times, torch.where(late, torch.inf, -torch.inf).to(times))
                times = torch.where(wrong(times), aside, times)
    just_before = -torch.finfo(torch.float64).smallest_normal
    return Spikes(times.clamp(max=just_before), spikes.indices[keep], offsets)


def _samples(spikes: Spikes) -> Tensor:
    numbers = torch.arange(len(spikes.offsets) - 1, device=spikes.offsets.device)
    return torch.repeat_interleave(numbers, spikes.offsets.diff())
