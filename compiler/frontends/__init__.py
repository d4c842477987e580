"""Ways in: how a model becomes a `Graph`."""

from __future__ import annotations

from .builder import Builder, Handle
from .initialisers import Initialiser, normal, uniform

__all__ = ["Builder", "Handle", "Initialiser", "normal", "uniform"]
