"""The kernels of mapping.jinja: units of neurons onto cores, and cores onto a mesh. They run on one thread, and the
same seed gives the same."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir.chip import RESOURCES
from ..ir.diagnostics import Diagnostic
from ..ir.nodes import Array
from . import jit

__all__ = ["RESOURCE_ORDER", "MappingKernel", "mapping_source"]

RESOURCE_ORDER = tuple(RESOURCES)
"""As the kernel counts loads."""
_NUMBERS = ("n_units n_bundles n_cores n_places n_decays n_thresholds n_formats n_traces word header group widest "
            "most_neurons most_bits most_reads most_members sweeps fewest looked nearby seed")
_ARRAYS: Mapping[str, str] = {
    "int64_t": "limits loads neurons bits decays threshold begin pins source axons width format in_begin in_bundle "
               "in_slots out_slots traces in_synapses own_begin own_bundle order cluster reached to_itself open "
               "awaited link_begin link_core place holder place_x place_y",
    "int32_t": "core laid slot_core slot_count decay_counts threshold_counts format_counts "
               "trace_counts member members seat",
    "double": "rate link_rate",
}
_FIELDS: tuple[tuple[str, str, int], ...] = (
    *(("int64_t", name, 0) for name in _NUMBERS.split()), ("double", "heat", 0), ("double", "work", 0),
    ("double", "foresight", 0),
    *((f"{kind} *", name, 0) for kind, names in _ARRAYS.items() for name in names.split()))
_TYPES = {name: np.dtype({"int64_t": np.int64, "int32_t": np.int32, "double": np.float64}[kind])
          for kind, names in _ARRAYS.items() for name in names.split()}
_ARGS = jit.arguments_type(_FIELDS)


def mapping_source() -> str:
    return jit.render("mapping.jinja", fields=jit.structure(_FIELDS))


@functools.cache
def _library() -> ctypes.CDLL:
    return jit.compile_c(mapping_source())


class MappingKernel:
    """Arguments of the kernels, which live as long as this does."""

    def __init__(self, seed: int) -> None:
        self._arguments = _ARGS(seed=seed)
        self._held: dict[str, Array] = {}

    def set(self, **values: Any) -> None:
        """Numbers and arrays by name; arrays become contiguous and of the kernel's type, and are written to."""
        for name, value in values.items():
            if name in _TYPES:
                array = np.ascontiguousarray(value, dtype=_TYPES[name])
                self._held[name] = array
                setattr(self._arguments, name, array.ctypes.data)
            else:
                setattr(self._arguments, name, value)

    def __getitem__(self, name: str) -> Array:
        """An array as it is now."""
        return self._held[name]

    def call(self, entry: str) -> int:
        """What the kernel returns; it takes no lock of Python's."""
        function = getattr(_library(), entry)
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int64
        result = int(function(ctypes.byref(self._arguments)))
        if result == -2:
            raise jit.KernelError(Diagnostic("SC423", "there was no memory for a kernel to work in",
                                             value=f"{self._arguments.n_units} units"))
        return result
