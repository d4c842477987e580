"""Ways in: how a model becomes a `Graph`. Names are imported on first use: torch and h5py cost time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builder import Builder, Handle
    from .initialisers import Initialiser, normal, uniform
    from .models import load_model
    from .nir_reader import from_nir
    from .nir_writer import to_nir
    from .registry import Leaf, register
    from .torch_frontend import from_torch

__all__ = [
    "Builder", "Handle", "Initialiser", "Leaf", "from_nir", "from_torch", "load_model", "normal", "register", "to_nir",
    "uniform",
]

_HOMES = {
    "Builder": ".builder", "Handle": ".builder", "Initialiser": ".initialisers", "normal": ".initialisers",
    "uniform": ".initialisers", "load_model": ".models", "from_nir": ".nir_reader", "to_nir": ".nir_writer",
    "Leaf": ".registry", "register": ".registry", "from_torch": ".torch_frontend",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
