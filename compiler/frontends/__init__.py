"""Ways in: how a model becomes a `Graph`. Names are imported on first use: torch and h5py cost time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builder import Builder, Handle
    from .initialisers import Initialiser, normal, uniform
    from .models import load_model
    from .nir.reader import from_nir
    from .nir.writer import to_nir
    from .pytorch.frontend import from_torch
    from .pytorch.registry import Leaf, register

__all__ = [
    "Builder", "Handle", "Initialiser", "Leaf", "from_nir", "from_torch", "load_model", "normal", "register", "to_nir",
    "uniform",
]

_HOMES = {
    "Builder": ".builder", "Handle": ".builder", "Initialiser": ".initialisers", "normal": ".initialisers",
    "uniform": ".initialisers", "load_model": ".models", "from_nir": ".nir.reader", "to_nir": ".nir.writer",
    "Leaf": ".pytorch.registry", "register": ".pytorch.registry", "from_torch": ".pytorch.frontend",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
