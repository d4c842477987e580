"""spikec: a graph compiler for spiking neural networks that checks what it compiles.

A model comes in (`from_nir`, `from_torch`, `Builder`), `compile` turns it into a program for a target, and the program
runs (`Program.run`), trains (`Program.module`, `Trainer`) and is saved and loaded (`Program.save`, `load`).

Names are imported on first use, so that `import spikec` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiler.ann import convert_ann
    from .compiler.driver import compile, load
    from .compiler.frontends.builder import Builder
    from .compiler.frontends.initialisers import normal, uniform
    from .compiler.frontends.nir.reader import from_nir
    from .compiler.frontends.nir.writer import to_nir
    from .compiler.frontends.onnx.frontend import from_onnx
    from .compiler.frontends.onnx.writer import to_onnx
    from .compiler.frontends.pytorch.frontend import from_torch
    from .compiler.validation import validate
    from .ir import diagnostics as errors
    from .ir import equations, rules
    from .ir.diagnostics import (
        BadInputError,
        Diagnostic,
        DoesNotFitError,
        MismatchError,
        SpikecError,
        SpikecWarning,
        UnsupportedError,
    )
    from .ir.events import Events
    from .ir.graph import Discretization, Graph
    from .ir.learning.rule import LearningRule
    from .ir.readouts import with_readouts
    from .runtime import datasets, encoders, losses, recordings
    from .runtime.threads import get_threads, set_threads
    from .runtime.trainer import Trainer
    from .targets.event.program import Program

__version__ = "0.1.0"

__all__ = [
    "BadInputError", "Builder", "Diagnostic", "Discretization", "DoesNotFitError", "Events", "Graph", "LearningRule",
    "MismatchError", "Program", "SpikecError", "SpikecWarning", "Trainer", "UnsupportedError", "__version__", "compile",
    "convert_ann", "datasets", "encoders", "equations", "errors", "from_nir", "from_onnx", "from_torch", "get_threads",
    "load", "losses", "normal", "recordings", "rules", "set_threads", "to_nir", "to_onnx", "uniform", "validate",
    "with_readouts",
]

# Where each public name lives; None: the name is the module itself.
_HOMES: dict[str, tuple[str, str | None]] = {
    "Builder": (".compiler.frontends.builder", "Builder"),
    "compile": (".compiler.driver", "compile"),
    "convert_ann": (".compiler.ann", "convert_ann"),
    "load": (".compiler.driver", "load"),
    "from_nir": (".compiler.frontends.nir.reader", "from_nir"),
    "to_nir": (".compiler.frontends.nir.writer", "to_nir"),
    "normal": (".compiler.frontends.initialisers", "normal"),
    "uniform": (".compiler.frontends.initialisers", "uniform"),
    "from_onnx": (".compiler.frontends.onnx.frontend", "from_onnx"),
    "to_onnx": (".compiler.frontends.onnx.writer", "to_onnx"),
    "from_torch": (".compiler.frontends.pytorch.frontend", "from_torch"),
    "validate": (".compiler.validation", "validate"),
    "Events": (".ir.events", "Events"),
    "Discretization": (".ir.graph", "Discretization"),
    "Graph": (".ir.graph", "Graph"),
    "LearningRule": (".ir.learning.rule", "LearningRule"),
    "equations": (".ir.equations", None),
    "rules": (".ir.rules", None),
    "with_readouts": (".ir.readouts", "with_readouts"),
    "Program": (".targets.event.program", "Program"),
    "Trainer": (".runtime.trainer", "Trainer"),
    "get_threads": (".runtime.threads", "get_threads"),
    "set_threads": (".runtime.threads", "set_threads"),
    "datasets": (".runtime.datasets", None),
    "encoders": (".runtime.encoders", None),
    "losses": (".runtime.losses", None),
    "recordings": (".runtime.recordings", None),
    "errors": (".ir.diagnostics", None),
    **{
        name: (".ir.diagnostics", name)
        for name in ("BadInputError", "Diagnostic", "DoesNotFitError", "MismatchError", "SpikecError",
                     "SpikecWarning", "UnsupportedError")
    },
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, member = _HOMES[name]
    module = importlib.import_module(home, __name__)
    value = module if member is None else getattr(module, member)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
