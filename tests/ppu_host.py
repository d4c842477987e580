"""A generated kernel of the plasticity processor on this host: compiled with the stand-in of `tests/ppu_standin`, one
library for each of the two processors, and run on arrays."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["COMPILER", "HostKernel"]

COMPILER = shutil.which("g++") or shutil.which("c++")
STANDIN = Path(__file__).parent / "ppu_standin"
COLUMNS = 256


class HostKernel:
    """`n_target`, `n_source`: as in `kernel_text`; `columns`: (half, column) of each target."""

    def __init__(self, text: str, folder: Path, n_source: int, columns: Sequence[tuple[int, int]]) -> None:
        assert COMPILER is not None
        kernel, made = folder / "kernel.hpp", folder / "kernel.so"
        kernel.write_text(text)
        subprocess.run([COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{STANDIN}",
                        f'-DKERNEL="{kernel}"', str(STANDIN / "driver.cpp"), "-o", str(made)], check=True)
        self.rows = n_source
        self.half, self.column = np.array(columns).T
        active = np.zeros((2, COLUMNS), dtype=np.uint8)
        active[self.half, self.column] = 1
        self.libraries: list[Any] = []
        for half in (0, 1):  # each processor has a memory of its own
            library = ctypes.CDLL(shutil.copy(made, folder / f"kernel{half}.so"))
            library.run.restype = ctypes.c_uint64
            library.prepare(half, n_source, _pointer(active))
            self.libraries.append(library)

    def begin(self, causal: Any, acausal: Any) -> None:
        """The first call: `causal`, `acausal` (n_target, n_source), what empty sensors of excitatory rows read."""
        zero = np.zeros_like(causal)
        self._put([zero, zero], [causal, zero], [acausal, zero])
        for library in self.libraries:
            library.put_neurons(*map(_pointer, (np.zeros((2, COLUMNS), np.uint8),) * 2))
            assert library.run() == 125

    def update(self, weights: Any, causal: Any, acausal: Any, rate: Any, readouts: Any,
               **symbols: Any) -> tuple[Any, Any]:
        """`weights`, `causal`, `acausal` (2, n_target, n_source) of excitatory and inhibitory rows; `rate` (n_target,);
        `readouts` (reads, n_target), one for each call; `symbols`: what the host writes. Returns w+ and w-."""
        self._put(weights, causal, acausal)
        for library in self.libraries:
            for name, value in symbols.items():
                values = np.atleast_1d(value)
                kind = ctypes.c_int8 if values.min() < 0 or values.dtype == np.int8 else ctypes.c_uint8
                (kind * len(values)).in_dll(library, name)[:] = values.tolist()
            for read in readouts:
                library.put_neurons(_pointer(self._neurons(rate)), _pointer(self._neurons(read)))
                library.run()
        found = np.zeros((2, *np.shape(weights[0])), dtype=np.int64)
        for half, library in enumerate(self.libraries):
            got = np.zeros((4, self.rows, COLUMNS), dtype=np.uint8)
            resets = np.zeros((4, self.rows), dtype=np.int32)
            library.get(_pointer(got), _pointer(resets))
            here = self.half == half
            assert not resets[[1 - half, 3 - half]].any()  # never those of the other processor
            for sign in (0, 1):
                found[sign, here] = got[2 * sign + half][:, self.column[here]].T
        return found[0], found[1]

    def _neurons(self, values: Any) -> Any:
        found = np.zeros((2, COLUMNS), dtype=np.uint8)
        found[self.half, self.column] = values
        return found

    def _put(self, *arrays: Any) -> None:
        given = []
        for pair in arrays:
            found = np.zeros((4, self.rows, COLUMNS), dtype=np.uint8)
            for sign in (0, 1):
                for half in (0, 1):
                    here = self.half == half
                    found[2 * sign + half][:, self.column[here]] = np.asarray(pair[sign])[here].T
            given.append(found)
        for library in self.libraries:
            library.put(*map(_pointer, given))


def _pointer(array: Any) -> Any:
    """It holds the array as long as it lives."""
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)
