"""What of the machine and of the optional parts is there, and what to do about what is missing: `spikec doctor`."""

from __future__ import annotations

import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from ..ir.diagnostics import SpikecError, SpikecWarning
from ..runtime import datasets, jit, threads
from ..runtime.lava.environment import check_lava

__all__ = ["OPTIONAL", "Finding", "examine"]

# Packages by the exact name under which pip installs them, and what they are for.
OPTIONAL: dict[str, str] = {
    "cuda-core": "GPU kernels",
    "cuda-bindings": "GPU kernels",
    "nvidia-cuda-nvrtc": "GPU kernels: their compiler",
    "ziglang": "a C compiler where there is none",
    "snntorch": "models from snnTorch",
    "scikit-learn": "the data set 'digits'",
    "matplotlib": "plots",
    "tonic": "recordings of event cameras",
}
_REQUIRED = ("numpy", "torch", "networkx", "jinja2", "h5py", "nir", "onnx", "typer", "rich")


@dataclass(frozen=True, slots=True)
class Finding:
    """`state`: `ok`, `missing` (an optional part), or `problem` (something that work will trip over)."""

    part: str
    state: Literal["ok", "missing", "problem"]
    detail: str
    remedy: str | None = None


def examine() -> list[Finding]:
    """Every finding, in the order in which a reader asks."""
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions, _processor, _compiler, _cache, _gpu, _lava, _optional, _data,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)  # what they would say is among the findings
        return [finding for part in parts for finding in part()]


def _versions() -> Iterator[Finding]:
    yield Finding("spikec", "ok", f"{metadata.version('spikec')} on Python {platform.python_version()}, "
                                  f"{platform.system()} {platform.machine()}")
    for name in _REQUIRED:
        version = _version(name)
        yield (Finding(name, "ok", version) if version
               else Finding(name, "problem", "not installed", f"pip install {name}"))


def _processor() -> Iterator[Finding]:
    features: set[str] = set()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                features = set(line.split(":", 1)[1].split())
                break
    vectors = [name for name in ("avx2", "fma", "avx512f", "avx512dq", "asimd", "sve") if name in features]
    chosen = os.environ.get("SPIKEC_THREADS", "")
    if chosen and not chosen.isdecimal():
        yield Finding("SPIKEC_THREADS", "problem", f"'{chosen}' is not a number of threads: all cores are used",
                      "Set SPIKEC_THREADS to a whole number, or unset it")
    yield Finding("processor", "ok", f"{threads.get_threads()} threads in use of {os.cpu_count()}; "
                                     f"vectors: {', '.join(vectors) or 'none known'}")


def _compiler() -> Iterator[Finding]:
    found = jit.compiler()
    if found is None:
        yield Finding("C compiler", "problem", "none found: CPU kernels cannot be built",
                      "Install gcc or clang, set CC, or pip install ziglang")
        return
    command, version = found
    stated = os.environ.get("CC", "").split()
    if stated and list(command) != stated:
        yield Finding("CC", "problem", f"'{' '.join(stated)}' does not answer as a C compiler: another one is used",
                      "Set CC to the command of a C compiler, or unset it")
    yield Finding("C compiler", "ok", f"{' '.join(command)}: {version}")
    try:
        jit.compile_c("int spikec_doctor(void) { return 0; }")
    except Exception as error:  # whatever it is, the doctor reports it
        yield Finding("C compiler works", "problem", str(error), "Set CC to another compiler, or pip install ziglang")
    else:
        yield Finding("C compiler works", "ok", "built and loaded a kernel")


def _cache() -> Iterator[Finding]:
    folder = jit.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding("kernel cache", "problem", f"{folder} cannot be written: {error.strerror or error}; kernels are "
                      "built anew in every process", "Set SPIKEC_CACHE to a folder that can be written")
        return
    entries = [entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()]
    yield Finding("kernel cache", "ok", f"{folder}: {len(entries)} files, {sum(entries) / 1e6:.1f} MB")


def _lava() -> Iterator[Finding]:
    try:
        facts = check_lava()
    except SpikecError as error:
        told = error.diagnostics[0]
        missing = told.code == "SC553"
        yield Finding("Lava", "missing" if missing else "problem", told.message, told.remedy)
    else:
        yield Finding("Lava", "ok", f"{facts.lava} on Python {facts.python}: {facts.interpreter}")


def _gpu() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        built = "built for CUDA" if torch.version.cuda else "built without CUDA"
        yield Finding("GPU", "missing", f"torch sees none (torch is {built})")
        return
    for number in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(number)
        major, minor = torch.cuda.get_device_capability(number)
        yield Finding(f"GPU {number}", "ok", f"{name}, compute capability {major}.{minor}")


def _optional() -> Iterator[Finding]:
    for name, purpose in OPTIONAL.items():
        version = _version(name)
        yield (Finding(name, "ok", f"{version} ({purpose})") if version
               else Finding(name, "missing", f"not installed ({purpose})", f"pip install {name}"))


def _data() -> Iterator[Finding]:
    folder = datasets.data_folder()
    stated = "SPIKEC_DATA" if os.environ.get("SPIKEC_DATA") else "cache"
    there = folder.is_dir()
    yield Finding("data folder", "ok" if there or stated == "cache" else "problem",
                  f"{folder} ({stated})" + ("" if there else ", does not exist"),
                  None if there or stated == "cache" else "Set SPIKEC_DATA to a folder that exists")
    for name in datasets.DATASETS:
        yield (Finding(f"data set {name}", "ok", "present") if datasets.is_present(name)
               else Finding(f"data set {name}", "missing", "not present", f"spikec data get {name}"))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
