"""Event lists as torch operations, for any device: the same as kernels/events.jinja does on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .signals import Spikes

__all__ = ["gather_events", "sort_records", "sum_origins"]


def gather_events(sources: Sequence[Spikes], delays: Mapping[int, Tensor], box: float, duration: float, batch: int,
                  probe_times: Tensor | None, device: torch.device) -> dict[str, Tensor]:
    """The events that reach a population, sample after sample: start (source -1), inputs in order of arrival, probes
    (source -2), end (-1). Ties are in the order of sources and of their events; `origins` count the events of all
    sources, -1 for what is none. Returns the arrays of the kernels by name."""
    samples_of = torch.arange(batch, device=device)
    zeros = torch.zeros(batch, dtype=torch.int64, device=device)
    never = torch.full_like(zeros, -1)
    # columns: key (a time to sort by), time, sample, source, row, sign, origin; listed in the order of ties
    starts = (never.double(), zeros.double(), samples_of, never, zeros, zeros + 1, never)
    parts: list[tuple[Tensor, ...]] = [starts]
    base = 0
    for number, source in enumerate(sources):
        count = len(source.times)
        times = source.times.detach() + delays[number][source.indices] if number in delays else source.times.detach()
        origins = torch.arange(base, base + count, device=device)
        samples = torch.repeat_interleave(samples_of, source.offsets.diff(), output_size=count)
        ends = 2 if box > 0 else 1
        arrivals = torch.stack([times, times + box][:ends], 1).reshape(-1)
        signs = torch.ones(count, ends, dtype=torch.int64, device=device)
        signs[:, 1:] = -1
        new = (source.times.detach() >= 0).repeat_interleave(ends)
        kept = (arrivals <= duration) & ((arrivals > 0) | ((arrivals == 0) & new))
        columns = [arrivals, arrivals, samples.repeat_interleave(ends), torch.full_like(signs.reshape(-1), number),
                   source.indices.repeat_interleave(ends), signs.reshape(-1), origins.repeat_interleave(ends)]
        parts.append(tuple(column[kept] for column in columns))
        base += count
    if probe_times is not None and len(probe_times):
        rows = torch.arange(len(probe_times), device=device).repeat(batch)
        times = probe_times.to(device).repeat(batch)
        parts.append((times, times, samples_of.repeat_interleave(len(probe_times)), torch.full_like(rows, -2), rows,
                      torch.ones_like(rows), torch.full_like(rows, -1)))
    parts.append((torch.full_like(starts[0], torch.inf), torch.full_like(starts[0], duration), *starts[2:]))
    keys, times, samples, source_of, rows, signs, origins = (torch.cat(column) for column in zip(*parts, strict=True))
    order = torch.argsort(keys, stable=True)
    order = order[torch.argsort(samples[order], stable=True)]
    counts = torch.bincount(samples, minlength=batch)
    return {
        "event_times": times[order], "event_sources": source_of[order].int(), "event_rows": rows[order].int(),
        "event_signs": signs[order].int(), "event_origins": origins[order], "event_counts": counts,
        "event_offsets": _offsets(counts),
    }


def sort_records(counts: Tensor, kinds: Tensor, times: Tensor, neurons: Tensor,
                 batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes among records, (segments, capacity) each, by sample and (time, neuron): their times, neurons, offsets, and
    for each record its rank among the spikes. `counts` (segments,) says how much of each segment is used."""
    capacity = kinds.shape[1]
    used = (torch.arange(capacity, device=kinds.device) < counts[:, None]) & (kinds != 2)
    records = used.reshape(-1).nonzero().squeeze(1)
    samples = records // (capacity * max(1, len(counts) // max(1, batch)))
    found, who = times.reshape(-1)[records], neurons.reshape(-1)[records].long()
    order = torch.argsort(who, stable=True)
    order = order[torch.argsort(found[order], stable=True)]
    order = order[torch.argsort(samples[order], stable=True)]
    ranks = torch.zeros(kinds.numel(), dtype=torch.int64, device=kinds.device)
    ranks[records[order]] = torch.arange(len(records), device=kinds.device)
    return found[order], who[order], _offsets(torch.bincount(samples, minlength=batch)), ranks


def sum_origins(g_events: Tensor, sources: Tensor, origins: Tensor, total: int) -> Tensor:
    """Gradients (blocks, events) of merged events, as those (total,) of the events they come from."""
    inputs = sources >= 0
    sums = torch.zeros(total, dtype=torch.float64, device=g_events.device)
    # at most two events have one origin, so that the order of summation does not matter
    return sums.index_add_(0, origins[inputs], g_events.sum(0, dtype=torch.float64)[inputs])


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
