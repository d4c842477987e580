"""A step by gradients: a program's module, a loss, an optimizer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from ..ir.diagnostics import BadInputError, Diagnostic, SpikecWarning
from ..ir.graph import Graph
from .bump import WeightBump
from .graph_module import GraphModule
from .incoming import incoming
from .loss_choice import misfit, name_of, remedied
from .losses import LOSSES, Loss, LossResult, SpikeTimeMSE, class_labels, output_name, target_faults
from .optimizers import OptimizerChoice, SchedulerChoice, choice_name, clip_rows, make_optimizer, make_scheduler
from .steps import Batch, NotANumber

__all__ = ["GradientStep"]

_LEFT_OUT = 10
"""Batches without a finite gradient, one after the other, that a training may leave out."""


class GradientStep:
    """See `Step`. `module`, `optimizer` and `scheduler` are torch's; `options`: keywords of the program's `module`;
    `chip`: those that say what is measured on, which no checkpoint holds.

    Raises:
        BadInputError: the loss has targets for another number of neurons than its output, or a remedy for silent
            neurons that these have not (SC501), or it cannot be taken of this output (SC409).
        UnsupportedError: the network has no such gradient.

    Warns:
        SpikecWarning: the loss was named, and goes without its usual remedy for silent neurons (SC501).
    """

    def __init__(self, program: Any, loss: Loss | str | None, optimizer: OptimizerChoice, *, lr: float | None,
                 scheduler: SchedulerChoice, epochs: int, options: Mapping[str, Any], chip: Mapping[str, Any],
                 duration: float | None, gradient_clip: float | None, bump_above: float | None, device: torch.device,
                 dtype: torch.dtype) -> None:
        self.whole = True
        self.loss: Any = LOSSES[loss]() if isinstance(loss, str) else loss
        self.device = device
        self._duration = duration
        self._clip = gradient_clip
        self._network = program.network
        self._spiking = [name for name, each in program.network.populations.items() if each.spiking]
        self._check_loss(getattr(program, "target", "event"), options.get("gradient"))
        self.module = program.module(dtype=dtype, **options, **chip).to(device)
        self.loss = remedied(self.loss, isinstance(loss, str), program.network, self._shown(), self.module)
        self._trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._left_out = 0
        self._clipped = [] if gradient_clip is None else _before_spikes(program, self.module, self._trained)
        self.optimizer = make_optimizer(optimizer, self._trained, lr)
        self.scheduler = make_scheduler(scheduler, self.optimizer, epochs)
        remedy = getattr(self.loss, "silent", None)
        most = {} if bump_above is None else {"hidden": bump_above}
        self._bump = (WeightBump(program.graph, program.network, self.module, labels=remedy == "bump", **most)
                      if remedy in ("bump", "both") else None)
        self.settings: dict[str, Any] = {
            "loss": choice_name(self.loss), "optimizer": choice_name(optimizer), "lr": lr,
            "scheduler": choice_name(scheduler), "duration": duration,
            **({"surrogate": str(sorted(options.items()))} if options else {}),
            **({} if bump_above is None else {"bump_above": bump_above}),
            "gradient_clip": gradient_clip, "dtype": str(dtype),
            **(self.module.stated() if isinstance(self.module, GraphModule) else {}),
            "parameters": str({name: tuple(value.shape) for name, value in self.module.named_parameters()}),
        }

    @property
    def numbers(self) -> bool | None:
        return class_labels(self.loss)

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def runs(self) -> int:
        return int(getattr(self.module, "runs", 0))

    @runs.setter
    def runs(self, value: int) -> None:
        if hasattr(self.module, "runs"):
            self.module.runs = value

    def classes(self) -> int | None:
        table = getattr(self.loss, "targets", None)
        if table is not None:
            return len(table)
        shown = self._shown()
        return None if shown is None else self._network.size(shown)

    def prepare(self, epoch: int, epochs: int) -> None:
        """Torch's scheduler says the rate of an epoch when the one before has ended, and none is out of reach."""

    def learn(self, events: Any, labels: torch.Tensor) -> Batch:
        out = self.module(events, duration=self._duration)
        result = self._result(out, labels)
        if self.device.type == "cpu":
            value = result.value.item()
            if not math.isfinite(value):
                raise NotANumber(value)
        self.optimizer.zero_grad(set_to_none=True)
        result.value.backward()
        if self._clip is not None:
            clip_rows(self._clipped, self._clip)
        if self._finite():
            self.whole = False
            self.optimizer.step()
        if self._bump is not None and result.silent is not None:
            self._bump.apply(out, output_name(out, getattr(self.loss, "output", None)), result.silent, labels)
        self.whole = True
        return self._batch(out, result, labels)

    @torch.no_grad()
    def answer(self, events: Any, labels: torch.Tensor) -> Batch:
        out = self.module(events, duration=self._duration)
        return self._batch(out, self._result(out, labels), labels)

    def end_epoch(self, epoch: int) -> None:
        if self.scheduler is not None:
            with warnings.catch_warnings():  # torch misses the steps that were made before a resumed epoch's end
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
                self.scheduler.step()

    def state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "bump": {} if self._bump is None else self._bump.factors,
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._bump is not None:
            self._bump.load(state["bump"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])

    def graph(self) -> Graph:
        graph: Graph = self.module.to_graph()
        return graph

    def _finite(self) -> bool:
        """Whether the optimizer can take this batch's gradients; warns of a batch that is left out (SC512).

        Raises:
            NotANumber: too many batches had none, one after the other.
        """
        if self.device.type != "cpu":  # it would have to wait
            return True
        gradients = [each.grad for each in self._trained if each.grad is not None]
        if not gradients or all(map(math.isfinite, torch.stack(torch._foreach_norm(gradients)).tolist())):
            self._left_out = 0
            return True
        self._left_out += 1
        if self._left_out > _LEFT_OUT:
            raise NotANumber(math.inf, "gradient")
        warnings.warn(str(Diagnostic(
            "SC512", "the gradient of a batch is beyond all numbers: the batch is left out", severity="warning",
            limit=f"{_LEFT_OUT} one after the other",
            remedy="Spikes that graze, or a neuron that fires on and on, have gradients without bound: give "
            "gradient_clip, a refractory period, or smaller weights.")),
            SpikecWarning, stacklevel=6)
        return False

    def _result(self, out: Any, labels: torch.Tensor) -> LossResult:
        given = self.loss(out, labels)
        result = LossResult(given) if isinstance(given, torch.Tensor) else given
        value = result.value if isinstance(result, LossResult) else None
        if not isinstance(value, torch.Tensor) or value.ndim or (torch.is_grad_enabled() and not value.requires_grad):
            shown = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(given).__name__
            raise BadInputError(Diagnostic(
                "SC510", "the loss must give one number that depends on the outputs", value=f"{shown}"
                f"{', no gradient' if isinstance(value, torch.Tensor) and not value.requires_grad else ''}",
                limit="a scalar tensor with a gradient, or a LossResult of one",
                remedy="Reduce it with .mean(), and leave out detach, item and counts of spikes."))
        return result

    def _batch(self, out: Any, result: LossResult, labels: torch.Tensor) -> Batch:
        spikes = {name: out.total_spikes(name) for name in self._spiking}
        return Batch(labels, spikes, result.predicted, result.silent, result.value.detach(), by_spikes=result.by_spikes)

    def _shown(self) -> str | None:
        """The population whose output the loss is of, where that is known."""
        name = getattr(self.loss, "output", None)
        outputs = self._network.outputs
        if name is None and len(outputs) == 1:
            name = next(iter(outputs))
        population = "" if name is None else outputs.get(name, name)
        return population if population in self._network.populations else None

    def _check_loss(self, target: str, way: str | None) -> None:
        """Raises BadInputError where the loss does not fit its output (SC409), or has targets for another number of
        neurons (SC501)."""
        shown, name = self._shown(), name_of(self.loss)
        if shown is None or name is None:
            return
        wrong = misfit(name, self._network.populations[shown], shown, target, way)
        if wrong is not None:
            raise BadInputError(wrong)
        if isinstance(self.loss, SpikeTimeMSE) and self.loss.targets is not None:
            faults = target_faults(self.loss.targets, self._network.size(shown), shown)
            if faults:
                raise BadInputError(*faults)


def _before_spikes(
    program: Any, module: torch.nn.Module, parameters: list[torch.nn.Parameter]
) -> list[torch.nn.Parameter]:
    """Those of `parameters` that do not feed a readout."""
    spared = {id(parameter) for name, population in program.network.populations.items() if not population.spiking
              for parameter in incoming(program.graph, module, name).values()}
    return [parameter for parameter in parameters if id(parameter) not in spared]
