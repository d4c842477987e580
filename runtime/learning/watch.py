"""What a training by a rule is warned of: saturation, feedback that does not align, silent layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from ...ir.diagnostics import Diagnostic, SpikecWarning
from ..history import EpochRecord

__all__ = ["Watch"]

_WEIGHTS_AT_BOUNDS = 0.25  # share of a projection
_TRACES_FULL = 0.1  # share of the samples' instants
_ALIGNED, _AFTER = 60.0, 3  # degrees, epochs
_SPIKES = 0.1  # of a whole layer, a sample


class Watch:
    """Looks at the record of every epoch, and warns (SpikecWarning) once of each thing at each place. `hidden`:
    layers that are no outputs."""

    def __init__(self, hidden: Iterable[str]) -> None:
        self._hidden = tuple(hidden)
        self._told: set[tuple[str, str]] = set()

    def look(self, record: EpochRecord, aloud: bool = True) -> None:
        """`aloud`: false for records of before a training was resumed, which were told then."""
        for name, found in self._found(record):
            key = found.code, name
            if key not in self._told and aloud:
                warnings.warn(str(found), SpikecWarning, stacklevel=4)
            self._told.add(key)

    def _found(self, record: EpochRecord) -> Iterator[tuple[str, Diagnostic]]:
        figures = record.learning
        if figures is None:
            return
        for name, share in figures.saturated.items():
            if share > _WEIGHTS_AT_BOUNDS:
                yield name, Diagnostic(
                    "SC517", "weights stand at their bounds", node=name, value=f"{100 * share:.0f} %",
                    limit=f"{100 * _WEIGHTS_AT_BOUNDS:.0f} %", severity="warning", remedy="Widen the rule's bounds, "
                    "lower its rate or the scheduler's, or start from smaller weights.")
        for name, share in figures.saturated_traces.items():
            if share > _TRACES_FULL:
                yield f"trace {name}", Diagnostic(
                    "SC517", "a trace stands at the most that it holds", node=name, value=f"{100 * share:.0f} %",
                    limit=f"{100 * _TRACES_FULL:.0f} %", severity="warning", remedy="Give the trace a smaller impulse "
                    "or a shorter time constant, and the rule's terms as much more.")
        for name, angle in figures.angles.items():
            if angle > _ALIGNED and record.epoch + 1 >= _AFTER:
                yield name, Diagnostic(
                    "SC518", f"after {record.epoch + 1} epochs feedback does not point where the forward weights do",
                    node=name, value=f"{angle:.0f} degrees", limit=f"{_ALIGNED:.0f} degrees", severity="warning",
                    remedy="Let feedback learn more often or faster, or forget more slowly; feedback that is fixed "
                    "needs a lower rate.")
        for name in self._hidden:
            count = record.train.spikes.get(name)
            if count is not None and count < _SPIKES:
                yield name, Diagnostic(
                    "SC519", "the hidden layer hardly fires", node=name,
                    value=f"{count:g} spikes a sample", limit=f">= {_SPIKES:g} of the whole layer", severity="warning",
                    remedy="Start from larger weights, lower the threshold or widen the rule's gate, or lower the "
                    "rate; on a chip, a rate that is too small is a drift downwards.")
