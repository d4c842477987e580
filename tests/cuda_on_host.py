"""CUDA text run on the host: compiled as C++, with blocks and threads walked by loops. Kernels whose threads wait for
each other cannot run so."""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
import tempfile
from pathlib import Path

import torch

from spikec.runtime import jit

BEFORE = r"""
#define __device__
#define __global__
#define __noinline__ __attribute__((noinline))
struct Index { unsigned x, y, z; };
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;
extern "C" {
double nextafter(double, double);
double exp(double); double expm1(double); double log1p(double); double sqrt(double); double fabs(double);
double floor(double); float floorf(float);
float expf(float); float expm1f(float); float log1pf(float); float sqrtf(float); float fabsf(float);
}
static double __longlong_as_double(long long bits)
{
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
static int atomicAdd(int *place, int value)
{
    const int before = *place;
    *place = (int)((unsigned)before + (unsigned)value);
    return before;
}
"""
ENTRY = r"""
extern "C" void launch_NAME(const Args *arguments, unsigned columns, unsigned rows, unsigned threads)
{
    gridDim = {columns, rows, 1};
    blockDim = {threads, 1, 1};
    for (unsigned y = 0; y < rows; ++y) for (unsigned x = 0; x < columns; ++x) for (unsigned t = 0; t < threads; ++t) {
        blockIdx = {x, y, 0};
        threadIdx = {t, 0, 0};
        NAME(arguments);
    }
}
"""


@functools.cache
def library(source: str) -> ctypes.CDLL:
    command, _ = jit.compiler() or ((), "")
    entries = re.findall(r"__global__ void (\w+)\(const Args \*A\)", source)
    text = BEFORE + source + "".join(ENTRY.replace("NAME", entry) for entry in entries)
    with tempfile.TemporaryDirectory() as folder:
        path, built = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        path.write_text(text)
        options = ["-std=c++17", "-O0", "-fPIC", "-shared", "-w", "-o", str(built), str(path), "-lm"]
        subprocess.run([*command, *options], check=True)
        return ctypes.CDLL(str(built))


def run_kernel(source: str, entry: str, grid: tuple[int, int], threads: int, arguments: ctypes.Structure,
               device: torch.device) -> None:
    """Takes the place of `gpu.launch`."""
    assert device.type == "cpu"
    start = getattr(library(source), f"launch_{entry}")
    start.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint]
    start(ctypes.addressof(arguments), *grid, threads)
