"""What a trainer can be asked for: options, and how it is to learn."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ..ir.facts import is_number, is_whole
from ..ir.graded.network import refuse_graded
from ..ir.learning.checks import verify_rule
from ..ir.learning.rule import LearningRule
from ..ir.paths import check_path
from ..ir.rules import RULES, rule_named
from .devices import check_device
from .losses import LOSSES
from .optimizers import check_choices

__all__ = ["GRADIENTS", "check_options", "chosen_rule"]

GRADIENTS = {"event": ("exact",), "clock": ("surrogate",), "loihi1": ("surrogate", "exact"),
              "loihi2": ("surrogate", "exact"), "brainscales2": ("exact",), "generic_analog": ("exact",),
              "dynapse2": ("exact",), "xylo": ("exact",)}
"""How gradients of programs of each target are made, by default the first way."""
CHIPS = ("brainscales2", "generic_analog", "dynapse2", "xylo")
"""Targets whose programs take `measure`."""
_SURROGATE = {"surrogate", "sharpness", "detach_reset"}
_INSTEAD = {
    "loss": "The rule's error says what the outputs have done wrong.",
    "optimizer": "A rule applies its updates itself.",
    "lr": "Rates are numbers of the rule: rule_options={'rate': …}; a scheduler multiplies them.",
    "surrogate": "The rule's gates take its place.",
    "duration": "The rule's phases say how long a sample lasts: rule_options={'duration': …}.",
    "gradient_clip": "The rule's bounds say how far weights go.",
    "bump_above": "A rule raises no weights of silent neurons but by what it learns.",
    "dtype": "The target says what it computes in, or its learner takes it: learner={'dtype': …}.",
}
"""What a rule has in the place of options that are for gradients."""


def chosen_rule(program: Any, rule: Any, options: Mapping[str, Any] | None) -> LearningRule | str:
    """The rule that is learnt by, or how gradients are made.

    Raises:
        BadInputError: no program, or options beside a rule that is no name (SC504); a rule that is malformed (SC111,
            SC151 to SC153), or hyper-parameters that it has not (SC514).
        UnsupportedError: a rule that is not there, or that the target does not train by (SC503), or a network that
            takes signals (SC465).
    """
    if not hasattr(program, "network"):
        raise BadInputError(Diagnostic("SC504", "the trainer takes a compiled program", value=type(program).__name__,
                                       remedy="Compile first: Trainer(spikec.compile(graph), …)."))
    refuse_graded(program.network, "Trainer")
    target = getattr(program, "target", "event")
    ways = GRADIENTS.get(target, ("exact",))
    own = ways[0] if rule is None else rule
    if isinstance(own, str) and own in ways:
        return own
    every = tuple(dict.fromkeys((*(way for each in GRADIENTS.values() for way in each), *RULES)))
    local = isinstance(rule, LearningRule) or (isinstance(rule, str) and rule in RULES)
    learns = hasattr(program, "learner")
    if not (local and learns):
        known = local or rule in every
        near = [] if known else get_close_matches(str(rule), every, 1)
        limit = (*ways, *(RULES if learns else ())) if known else every
        raise UnsupportedError(Diagnostic(
            "SC503", f"the target {target} does not train by this rule" if known else "this training rule is not there",
            value=rule.name if isinstance(rule, LearningRule) else str(rule), limit=", ".join(limit),
            remedy=f"Is rule='{near[0]}' meant?" if near else
                   f"Use rule='{ways[0]}'" + (", or compile for another target." if known else ".")))
    if isinstance(rule, LearningRule):
        if options:
            raise BadInputError(Diagnostic(
                "SC504", "rule_options are for a rule that is named", value=", ".join(options),
                remedy="Change the rule itself, with dataclasses.replace."))
        return verify_rule(rule)
    return rule_named(rule, target, **(options or {}))


def check_options(
    program: Any, chosen: LearningRule | str, *, loss: Any, optimizer: Any, lr: Any, scheduler: Any, surrogate: Any,
    duration: Any, gradient_clip: Any, bump_above: Any, dtype: Any, rule_options: Any, learner: Any, measure: Any,
    time_limit: Any, device: Any, input_dropout: Any, checkpoint: Any, checkpoint_seconds: Any,
    callbacks: tuple[Any, ...], **whole: Any
) -> None:
    """`chosen`: by `chosen_rule`. `whole`: options that are whole numbers.

    Raises:
        BadInputError: naming every option that is out of range, missing, or of the other way to train (SC504).
    """
    faults = Diagnostics()
    if isinstance(chosen, LearningRule):
        given = {"loss": loss, "optimizer": optimizer, "lr": lr, "surrogate": surrogate, "duration": duration,
                 "gradient_clip": gradient_clip, "bump_above": bump_above, "dtype": dtype}
        for name, value in given.items():
            if value is not None:
                faults.add("SC504", f"{name} is for gradients, and this trains by a rule", value=repr(value),
                           remedy=f"Leave {name} out. {_INSTEAD[name]}")
        taken = inspect.signature(program.learner).parameters
        known = taken.keys() - {"rule", "device"}
        for name in (learner or {}).keys() - known:
            # A learner that takes any keyword says itself which it knows.
            if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
                faults.add("SC504", "learner has no such option", value=name, limit=", ".join(sorted(known)))
    else:
        _check_gradients(chosen, loss, optimizer, surrogate or {}, dtype, rule_options, learner, faults)
        for name, value in (("lr", lr), ("duration", duration), ("gradient_clip", gradient_clip)):
            if value is not None and not (is_number(value) and 0 < value < math.inf):
                faults.add("SC504", f"{name} must be positive", value=repr(value), limit="a finite number > 0, or None")
        _check_bump(bump_above, loss, faults)
    _check_chip(program, chosen, measure, time_limit, faults)
    check_choices("adam" if optimizer is None else optimizer, scheduler, faults)
    check_device(device, faults)
    for name, number in whole.items():
        least = 0 if name == "seed" else 1
        if not is_whole(number) or number < least:
            faults.add("SC504", f"{name} is out of range", value=repr(number), limit=f"a whole number >= {least}")
    if not (is_number(input_dropout) and 0 <= input_dropout < 1):
        faults.add("SC504", "input_dropout is out of range", value=repr(input_dropout), limit="0 <= input_dropout < 1")
    named = checkpoint is not None and check_path(checkpoint, "a checkpoint", faults)
    if named and Path(checkpoint).is_dir():
        faults.add("SC504", "checkpoint is a folder, not a file", value=checkpoint,
                   remedy="Name a file in it: checkpoint='FOLDER/training.checkpoint'.")
    if not (is_number(checkpoint_seconds) and checkpoint_seconds >= 0):
        faults.add("SC504", "checkpoint_seconds is out of range", value=repr(checkpoint_seconds), limit=">= 0 s")
    for each in callbacks:
        if not callable(each):
            faults.add("SC504", "a callback is not callable", value=repr(each),
                       remedy="It is called as callback(trainer, record).")
    faults.raise_if_errors()


def _check_bump(bump_above: Any, loss: Any, faults: Diagnostics) -> None:
    if bump_above is None:
        return
    if not (is_number(bump_above) and 0 <= bump_above <= 1):
        faults.add("SC504", "bump_above is a share of the samples", value=repr(bump_above), limit="0..1, or None")
    elif getattr(loss, "silent", None) not in ("bump", "both"):
        faults.add("SC504", "bump_above is for losses that bump", value=repr(bump_above),
                   limit='silent="bump" or "both"', remedy="Leave bump_above out, or give the loss that remedy.")


def _check_chip(program: Any, chosen: LearningRule | str, measure: Any, time_limit: Any, faults: Diagnostics) -> None:
    if measure is None:
        if time_limit is not None:
            faults.add("SC504", "time_limit is for measure", value=repr(time_limit), remedy="Leave time_limit out.")
        return
    taken = getattr(program, "learner" if isinstance(chosen, LearningRule) else "module", None)
    if taken is None or "measure" not in inspect.signature(taken).parameters:
        faults.add("SC504", "measure is for chips whose emulator can be exchanged for one of the user's",
                   value=getattr(program, "target", "event"), limit=", ".join(CHIPS), remedy="Leave measure out.")
    elif not callable(measure):
        faults.add("SC504", "measure is not callable", value=repr(measure)[:80],
                   remedy="It is called as measure(codes, spikes, duration).")
    if time_limit is not None and not (is_number(time_limit) and 0 < time_limit < math.inf):
        faults.add("SC504", "time_limit must be positive", value=repr(time_limit), limit="seconds > 0, or None")


def _check_gradients(way: str, loss: Any, optimizer: Any, surrogate: Mapping[str, Any], dtype: Any,
                     rule_options: Any, learner: Any, faults: Diagnostics) -> None:
    for name in surrogate.keys() - (_SURROGATE if way == "surrogate" else set[str]()):
        faults.add("SC504", "surrogate has no such option", value=name,
                   limit=", ".join(sorted(_SURROGATE)) + ", with the rule 'surrogate'")
    if loss is None:
        faults.add("SC504", "gradients need a loss", limit=", ".join(LOSSES),
                   remedy="Give one: Trainer(program, 'first-spike', …); or train by a local rule, which needs none: "
                   "Trainer(program, rule='biograd', …).")
    elif loss not in LOSSES if isinstance(loss, str) else isinstance(loss, type) or not callable(loss):
        faults.add("SC504", "loss is not known", value=repr(loss), limit=", ".join(LOSSES),
                   remedy="Or give a callable of (outputs, labels), as spikec.losses.FirstSpikeCrossEntropy().")
    if dtype not in (None, torch.float32, torch.float64):
        faults.add("SC504", "dtype is not one that the engine computes in", value=repr(dtype),
                   limit="torch.float32, torch.float64")
    for name, value in (("rule_options", rule_options), ("learner", learner)):
        if value:
            faults.add("SC504", f"{name} is for local rules, and this trains by gradients", value=repr(value),
                       remedy=f"Leave {name} out, or name a rule: rule='biograd'.")
