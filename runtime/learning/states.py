"""States of learners: what is loaded has to be of the same one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.nodes import Array

__all__ = ["require_state"]

_REMEDY = "Load it into a learner of the same program, rule, output and projections."


def require_state(given: Mapping[str, Array], own: Mapping[str, Array]) -> None:
    """Whether `given` has the arrays of the learner's `own` state: names, shapes and types.

    Raises:
        BadInputError: naming every array that is missing, unknown or of another form (SC513).
    """
    faults = Diagnostics()
    for name in sorted({*given, *own}):
        forms = [f"{np.asarray(each[name]).dtype} {np.shape(each[name])}" if name in each else "none"
                 for each in (given, own)]
        if forms[0] != forms[1]:
            faults.add("SC513", "the state is of another learner", node=name, value=forms[0], limit=forms[1],
                       remedy=_REMEDY)
    faults.raise_if_errors()
