"""How an error reaches hidden layers, as the library's rules say it by one word."""

from __future__ import annotations

from typing import Any, Literal

from ..learning import Feedback, Noise, Phase, Update
from ..learning_terms import terms
from .numbers import one_of

__all__ = ["FeedbackName", "feedback_by_name", "sleep"]

FeedbackName = Literal["sleep", "kolen_pollack", "fixed", "transposed", "none"]
"""`sleep`: learned from noise (weight mirror); `kolen_pollack`: by the transpose of the forward update; `fixed`: random
for ever; `transposed`: copied (a baseline, not local); `none`: hidden layers do not learn."""


def feedback_by_name(rule: str, name: Any, *, path: Literal["direct", "layered"] = "direct", rate: float = 1e-3,
                     oja: int = 1, oja_rate: float | None = None, decay: float = 1e-3, scale: float = 1.0) -> Feedback:
    """The feedback. `rate`, `oja_rate` (None: `rate`) and `oja` are of sleep: dB = rate hs oc - oja_rate oc^oja B, with
    the counts hs of the noise and oc of the outputs (weight mirror: Akrout et al. 2019). `decay`: of `kolen_pollack`.

    Raises:
        BadInputError: there is no such feedback, or `oja` is not 1 or 2 (SC111), or a rate is no number (SC150).
    """
    one_of(rule, "feedback", name, ("sleep", "kolen_pollack", "fixed", "transposed", "none"))
    if name == "kolen_pollack":
        return Feedback(name, path, scale=scale, decay=decay)
    if name != "sleep":
        return Feedback(name, path, scale=scale)
    one_of(rule, "oja", str(oja), ("1", "2"))
    mirror = terms("rate*x1*y1 - oja_rate*x1*w" if oja == 1 else "rate*x1*y1 - oja_rate*x1*x1*w",
                   rate=rate, oja_rate=rate if oja_rate is None else oja_rate)
    return Feedback("learned", path, scale=scale, updates=(Update("w", "sample", mirror, ("sleep",)),))


def sleep(name: FeedbackName, *, duration: float, every: int, samples: int,
          noise: tuple[float, float] = (0.1, 0.9)) -> tuple[Phase, ...]:
    """The phase in which feedback by `sleep` is learned; nothing for any other."""
    return (Phase("sleep", duration, noise=Noise(*noise), samples=samples, every=every),) if name == "sleep" else ()
