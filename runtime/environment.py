"""Environment variables that cannot be used as they are set: told once a process, never passed over in silence."""

from __future__ import annotations

import functools
import warnings

from ..ir.diagnostics import Diagnostic, SpikecWarning

__all__ = ["warn_once"]


@functools.cache
def warn_once(variable: str, value: str, problem: str, remedy: str) -> None:
    """Warns (SC552) that `variable` is set to what cannot be used, the first time it is met."""
    warnings.warn(str(Diagnostic("SC552", f"{variable}: {problem}", value=value, remedy=remedy, severity="warning")),
                  SpikecWarning, stacklevel=3)
