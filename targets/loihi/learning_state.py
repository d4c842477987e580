"""The state of a plastic network as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np

from ...ir.integer.learning_step import LearningState
from ...ir.integer.plastic_state import PlasticState
from ...ir.nodes import Array

__all__ = ["pack_state", "unpack_state"]

_SOMA = ("u", "v", "under_way")
_DENDRITE = ("arriving", "error", "balance", "count", "trace")


def pack_state(state: PlasticState) -> dict[str, Array]:
    """By "field/population" and "learning.field/projection"."""
    packed = {f"{key}/{name}": each for key in _SOMA for name, each in getattr(state.network, key).items()}
    packed |= {f"{key}/{name}": each for key in _DENDRITE for name, each in getattr(state, key).items()}
    packed |= {f"learning.{each.name}/{name}": np.asarray(getattr(learning, each.name))
               for name, learning in state.learning.items() for each in fields(LearningState)}
    return packed


def unpack_state(like: PlasticState, packed: Mapping[str, Array]) -> PlasticState:
    """The state that was packed, of the same network as `like`."""
    def taken(key: str, names: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.array(packed[f"{key}/{name}"], dtype=each.dtype) for name, each in names.items()}

    learning = {}
    for name, each in like.learning.items():
        values = {field.name: np.array(packed[f"learning.{field.name}/{name}"], dtype=np.int64)
                  for field in fields(LearningState) if field.name != "step"}
        learning[name] = replace(each, **values, step=int(packed[f"learning.step/{name}"]))
    return PlasticState(
        network=replace(like.network, **{key: taken(key, getattr(like.network, key)) for key in _SOMA}),
        learning=learning, **{key: taken(key, getattr(like, key)) for key in _DENDRITE})
