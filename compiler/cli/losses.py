"""Which loss `spikec train` uses: the one that was asked for, or the usual one for the kind of the output."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

from ...ir.diagnostics import BadInputError, Diagnostic, UnsupportedError
from ..tasks import Task

__all__ = ["LOSS_HELP", "choose_loss", "with_remedy"]

LOSS_HELP = ("Of an output that spikes: first-spike, spike-time (whose labels are the wanted times), spike-count-mse "
             "(a heuristic), pseudospike (of QIF and Theta neurons), on the target clock spike-count; of a readout: "
             "voltage-max or integrated-voltage (the first one that fits by default; of QIF and Theta neurons "
             "pseudospike, where it fits).")


def choose_loss(wanted: str | None, network: Any, task: Task, target: str, rule: str | None = None) -> str:
    """The name of the loss: `wanted`, or the usual one for the network's output on the target, by the gradient `rule`.

    Raises:
        BadInputError: no such loss, or one that fits neither the output nor the labels.
        UnsupportedError: the network has several outputs.
    """
    from ...runtime.loss_choice import OF_READOUTS, OF_SPIKES, misfit, usual_loss

    if len(network.outputs) != 1:
        raise UnsupportedError(Diagnostic(
            "SC502", "the command trains a network with one output", value=", ".join(network.outputs),
            remedy="Train it in Python: spikec.Trainer with a loss that names its output, as "
            "spikec.losses.VoltageMaxCrossEntropy(output=NAME)."))
    ((output, shown),) = network.outputs.items()
    known = (*OF_SPIKES, *OF_READOUTS)
    loss = wanted or usual_loss(network, shown, target, rule) or OF_READOUTS[0]
    if loss not in known:
        raise BadInputError(Diagnostic("SC550", "there is no such loss", value=loss, limit=", ".join(known),
                                       remedy="See --loss."))
    wrong = misfit(loss, network.populations[shown], output, target, rule)
    if wrong is not None:
        raise BadInputError(wrong)
    labels = task.train[1]
    if loss == "spike-time" and not (labels.dtype.kind == "f" and labels.ndim in (2, 3)):
        raise BadInputError(Diagnostic(
            "SC506", "the loss 'spike-time' needs the wanted spike times as labels", node=output,
            value=f"labels {labels.dtype} {labels.shape}", limit="floats (samples, neurons) or with a last axis of "
            "spikes, seconds, inf for none",
            remedy="Give such labels in an .npz file, use --loss first-spike, or train in Python with "
            "spikec.losses.SpikeTimeMSE(targets=…)."))
    if loss != "spike-time" and not (labels.dtype.kind in "iu" and labels.ndim == 1):
        raise BadInputError(Diagnostic("SC506", f"the loss '{loss}' needs the number of a class for each sample",
                                       node=output, value=f"labels {labels.dtype} {labels.shape}",
                                       limit="whole numbers (samples,)",
                                       remedy="Write labels.astype(np.int64); of one-hot labels, labels.argmax(1)."))
    return loss


def with_remedy(loss: str, silent: str | None) -> Any:
    """The loss, or its name where no remedy for silent neurons is asked for. `silent`: as losses have it, or "none".

    Raises:
        BadInputError: there is no such remedy, or the loss knows none (SC550).
    """
    from ...runtime.losses import LOSSES, Silent

    if silent is None:
        return loss
    known = ("none", *get_args(Silent))
    if silent not in known:
        raise BadInputError(Diagnostic("SC550", "there is no such remedy for silent neurons", value=silent,
                                       limit=", ".join(known), remedy="See --silent."))
    made: Any = LOSSES[loss]()
    if "silent" not in {each.name for each in fields(made)}:
        having = ", ".join(name for name, make in LOSSES.items() if hasattr(make(), "silent"))
        raise BadInputError(Diagnostic("SC550", f"the loss '{loss}' has no remedy for silent neurons", value=silent,
                                       limit=having, remedy="Leave --silent out."))
    return replace(made, silent=None if silent == "none" else silent)
