"""How an error reaches hidden layers, as the library's rules say it by one word."""

from __future__ import annotations

from typing import Any, Literal

from ..learning.rule import Feedback, Noise, Phase, Update
from ..learning.terms import terms
from .numbers import one_of

__all__ = ["FeedbackName", "feedback_by_name", "sleep"]

FeedbackName = Literal["sleep", "kolen_pollack", "fixed", "transposed", "none"]
"""`sleep`: learned from noise (weight mirror); `kolen_pollack`: by the transpose of the forward update; `fixed`: random
for ever; `transposed`: copied (a baseline, not local); `none`: hidden layers do not learn."""


def feedback_by_name(rule: str, name: Any, *, path: Literal["direct", "layered"] = "direct", rate: float = 1e-3,
                     oja: int = 1, oja_rate: float | None = None, decay: float = 1e-3, scale: float = 1.0) -> Feedback:
    """The feedback. `rate`, `oja_rate` (None: `rate`) and `oja` are of sleep: dB = rate hs oc - oja_rate oc^oja B, with
    the counts hs of the noise and oc of the outputs (weight mirror: Akrout et al. 2019); with `oja` 0 the decay is
    constant. `decay`: of `kolen_pollack`.

    Raises:
        BadInputError: there is no such feedback, or `oja` is none of 0, 1 and 2 (SC111), or a rate is no number
            (SC150).
    """
    one_of(rule, "feedback", name, ("sleep", "kolen_pollack", "fixed", "transposed", "none"))
    if name == "kolen_pollack":
        return Feedback(name, path, scale=scale, decay=decay)
    if name != "sleep":
        return Feedback(name, path, scale=scale)
    one_of(rule, "oja", str(oja), ("0", "1", "2"))
    mirror = terms(f"rate*x1*y1 - oja_rate*{'x1*' * int(oja)}w", rate=rate,
                   oja_rate=rate if oja_rate is None else oja_rate)
    return Feedback("learned", path, scale=scale, updates=(Update("w", "sample", mirror, ("sleep",)),))


def sleep(name: FeedbackName, *, duration: float, every: int, samples: int,
          noise: tuple[float, float] = (0.1, 0.9), held: bool = False) -> tuple[Phase, ...]:
    """The phase in which feedback by `sleep` is learned; nothing for any other."""
    phase = Phase("sleep", duration, noise=Noise(*noise, held), samples=samples, every=every)
    return (phase,) if name == "sleep" else ()
