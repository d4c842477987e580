"""CUDA kernels from rendered text: compiled by NVRTC through `cuda.core`, cached like the CPU's. This needs no GPU.

Not yet run on a GPU: the kernels are compiled, and their text is checked on the host (tests/test_cuda_text.py).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util

from ..ir.diagnostics import Diagnostic
from . import jit

__all__ = ["compile_cuda", "missing_packages"]


@functools.cache
def missing_packages() -> tuple[str, ...]:
    """The packages, by their names at the package index, without which no CUDA kernel can be compiled here."""
    missing = [package for package, module in (("cuda-core", "cuda.core"), ("cuda-bindings", "cuda.bindings"))
               if not _importable(module)]
    if missing:
        return tuple(missing)
    from cuda.pathfinder import load_nvidia_dynamic_lib

    try:
        load_nvidia_dynamic_lib("nvrtc")
    except RuntimeError:
        return ("nvidia-cuda-nvrtc",)
    return ()


def compile_cuda(source: str, arch: str) -> bytes:
    """Machine code (cubin) of CUDA text for `arch` ("sm_90"), from the cache or freshly compiled.

    Raises:
        KernelError: a package is missing (SC430), or NVRTC refuses the text (SC431).
    """
    if missing := missing_packages():
        raise jit.KernelError(Diagnostic(
            "SC430", f"CUDA kernels need the package {' and '.join(missing)}",
            remedy=f"pip install {' '.join(missing)}, or 'pip install spikec[cuda]'.",
        ))
    key = hashlib.sha256("\0".join([source, arch, _version()]).encode()).hexdigest()
    folder = jit.cache_folder()
    cached = jit.stored(folder, f"{key}.cubin")
    if cached is not None:
        return cached.read_bytes()
    code = _compile(source, arch)
    jit.store(folder, f"{key}.cubin", code)
    return code


def _compile(source: str, arch: str) -> bytes:
    from cuda.core import Program, ProgramOptions

    try:
        options = ProgramOptions(arch=arch, std="c++17", disable_warnings=True)
        return bytes(Program(source, "c++", options).compile("cubin").code)
    except Exception as error:  # the class of NVRTC's errors is no public name of cuda.core
        message = str(error).strip("\0 \n")[:2000]
        raise jit.KernelError(Diagnostic("SC431", f"NVRTC failed: {message}", value=arch)) from error


@functools.cache
def _version() -> str:
    from cuda.bindings import nvrtc

    return ".".join(map(str, nvrtc.nvrtcVersion()[1:]))


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
