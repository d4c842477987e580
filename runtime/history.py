"""What a training reports: a record per epoch, and the result of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from .losses import LossResult

__all__ = ["EpochRecord", "Evaluation", "History", "Tally"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over `samples`. `accuracy` and `silent` (fraction of samples with a neuron that should have fired and did
    not) are None where the loss knows none; a sample without any spike of the output that the loss is of counts as
    wrong. `spikes`: per sample, by population; of a training, as the weights changed."""

    loss: float
    accuracy: float | None
    silent: float | None
    samples: int
    spikes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch: `train` as the weights changed, `validation` after it; `seconds` of training, without validation."""

    epoch: int
    train: Evaluation
    validation: Evaluation | None
    learning_rate: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EpochRecord:
        """What `as_dict` gave, as a record again."""
        validation = record["validation"]
        return cls(record["epoch"], Evaluation(**record["train"]),
                   None if validation is None else Evaluation(**validation), record["learning_rate"], record["seconds"])


@dataclass(slots=True)
class History:
    """The records of a training, in order."""

    records: list[EpochRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.records)

    def __getitem__(self, number: int) -> EpochRecord:
        return self.records[number]

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """All records as plain values."""
        return {"records": [record.as_dict() for record in self.records]}


@dataclass(slots=True)
class Tally:
    """Running sums over batches. Batches are kept as tensors until `fold`, so that counting costs a step nothing."""

    loss: float = 0.0
    correct: int = 0
    silent: int = 0
    samples: int = 0
    knows_classes: bool = True
    knows_silence: bool = True
    spikes: dict[str, int] = field(default_factory=dict)
    _pending: list[tuple[LossResult, Tensor]] = field(default_factory=list)

    def add(self, result: LossResult, labels: Tensor, spikes: Mapping[str, int]) -> None:
        """A batch; `spikes` by population."""
        for name, count in spikes.items():
            self.spikes[name] = self.spikes.get(name, 0) + count
        self._pending.append((LossResult(result.value.detach(), result.predicted, result.silent), labels))

    def fold(self) -> None:
        """Adds up what is pending, in order: the sums do not depend on when this is called."""
        for result, labels in self._pending:
            self.loss += float(result.value) * len(labels)
            self.samples += len(labels)
            if result.predicted is None:
                self.knows_classes = False
            else:
                self.correct += int((result.predicted == labels).sum())
            if result.silent is None:
                self.knows_silence = False
            else:
                self.silent += int(result.silent.reshape(len(labels), -1).any(1).sum())
        self._pending.clear()

    def evaluation(self) -> Evaluation:
        self.fold()
        count = max(self.samples, 1)
        return Evaluation(
            self.loss / count,
            self.correct / count if self.knows_classes else None,
            self.silent / count if self.knows_silence else None,
            self.samples,
            {name: total / count for name, total in self.spikes.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        self.fold()
        return {name: getattr(self, name) for name in
                ("loss", "correct", "silent", "samples", "knows_classes", "knows_silence", "spikes")}
