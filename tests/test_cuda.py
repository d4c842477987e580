"""CUDA kernels compile with NVRTC, which needs no GPU; what stands in the way is said by its exact name."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spikec.runtime import nvrtc
from spikec.runtime.clock.scan import clock_text
from spikec.runtime.clock.surrogates import SURROGATES
from spikec.runtime.jit import KernelError
from spikec.runtime.loop_kernels import loop_source
from spikec.runtime.sweep_kernels import sweep_source

REALS = (torch.float32, torch.float64)
FIRING = [(True, uniform, refractory) for uniform in (True, False) for refractory in (True, False)]
SILENT = [(False, uniform, False) for uniform in (True, False)]
SWEEPS = list(itertools.product(REALS, ("j", "u", "c"), FIRING + SILENT))

TERMS = {
    1: ("a_00", "la_00", "ra_00", "b_0", "rc_0", "q_0", "h_0", "lh_0", "theta", "floor"),
    2: ("a_00", "a_01", "a_11", "la_00", "ra_00", "b_0", "b_1", "lb_1", "q_0", "gain_1", "h_0", "h_1", "theta"),
    3: ("a_00", "b_0", "lb_0", "lh_0", "lz_0", "q_0", "ra_01", "gain_2", "theta", "floor"),
}
PLAIN = {"spiking": True, "at": False, "many": False, "lag": False, "rest": False, "late": True, "resets_late": False,
         "above": False, "surrogate": "atan", "detach": True, "show": False, "sources": 2, "recurrent": False}
CLOCKS = [
    (1, (), PLAIN), (1, TERMS[1], PLAIN | {"rest": True, "resets_late": True, "show": True, "detach": False}),
    (2, TERMS[2], PLAIN | {"many": True, "at": True, "lag": True, "surrogate": "sigmoid"}),
    *((3, TERMS[3], PLAIN | {"above": above, "detach": above}) for above in (True, False)),
    *((1, ("h_0", "theta"), PLAIN | {"surrogate": name}) for name in SURROGATES),
]

MISSING = nvrtc.missing_packages()
needs_nvrtc = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def every_text() -> dict[str, str]:
    """Every kernel there is, by a name for messages."""
    texts = {
        f"{dtype} cell {cell} spiking {spiking} uniform {uniform} refractory {refractory}":
            sweep_source("cuda", dtype, 1, cell, spiking, uniform, refractory)
        for dtype, cell, (spiking, uniform, refractory) in SWEEPS
    }
    for dtype, (states, grads, settings), training in itertools.product(REALS, CLOCKS, (True, False)):
        texts[f"{dtype} clock {states} {grads} {settings} {training}"] = clock_text(
            "cuda", dtype, 1, states, TERMS[states], grads if training else (), training=training, **settings)
    loops = itertools.product(REALS, (True, False))
    return texts | {f"{dtype} loop, dense {dense}": loop_source("cuda", dtype, dense) for dtype, dense in loops}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path))
    return tmp_path


def complaints(text: str, arch: str) -> str:
    """What NVRTC says against a text; without optimisation, so that all of them take seconds."""
    from cuda.bindings import nvrtc as binding

    _, program = binding.nvrtcCreateProgram(text.encode(), b"kernel.cu", 0, [], [])
    options = [f"-arch={arch}".encode(), b"-std=c++17", b"-G", b"-w"]
    (status,) = binding.nvrtcCompileProgram(program, len(options), options)
    _, size = binding.nvrtcGetProgramLogSize(program)
    # the binding writes into the bytes object: never into one of length 1, which all of Python shares
    log = b" " * (size + 2)
    binding.nvrtcGetProgramLog(program, log)
    binding.nvrtcDestroyProgram(program)
    return "" if status == binding.nvrtcResult.NVRTC_SUCCESS else log.decode().strip("\0 ") or str(status)


@needs_nvrtc
@pytest.mark.parametrize("arch", ["compute_80", "compute_90"])
def test_nvrtc_accepts_every_kernel(arch: str) -> None:
    faults = {name: said for name, text in every_text().items() if (said := complaints(text, arch))}
    assert not faults
    assert complaints("no CUDA", arch)


@needs_nvrtc
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_kernels_become_machine_code(arch: str) -> None:
    texts = [
        sweep_source("cuda", torch.float32, 1, "j", True, True, False),
        sweep_source("cuda", torch.float64, 1, "c", True, False, True),
        loop_source("cuda", torch.float32, False),
    ]
    for text in texts:
        assert b"forward" in nvrtc.compile_cuda(text, arch)


@needs_nvrtc
def test_compiled_text_is_cached_and_a_damaged_entry_made_again(cache: Path) -> None:
    text = 'extern "C" __global__ void nothing() {}'
    code = nvrtc.compile_cuda(text, "sm_90")
    (entry,) = cache.glob("*.cubin")
    assert entry.read_bytes() == code
    entry.write_bytes(b"damaged")
    assert nvrtc.compile_cuda(text, "sm_90") == code
    assert entry.read_bytes() == code


@needs_nvrtc
def test_a_text_that_is_no_cuda_gives_the_compilers_message(cache: Path) -> None:
    with pytest.raises(KernelError, match=r"(?s)SC431.*undefined_name"):
        nvrtc.compile_cuda('extern "C" __global__ void broken() { undefined_name = 1; }', "sm_90")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "missing_packages", lambda: ("cuda-core", "nvidia-cuda-nvrtc"))
    with pytest.raises(KernelError, match=r"SC430.*cuda-core and nvidia-cuda-nvrtc.*pip install cuda-core nvidia"):
        nvrtc.compile_cuda("", "sm_90")


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no CUDA device, and here is one")
def test_the_benchmark_says_what_is_missing() -> None:
    script = Path(__file__).parent.parent / "benchmarks" / "gpu.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "no GPU kernel can run here" in done.stderr
