"""Kernels from templates: rendered by Jinja2, compiled by the host's C compiler, cached, loaded.

The cache key covers the text, the compiler and its version, its flags and the CPU's features; texts are cached too,
since parsing the templates takes longer than loading the library. Entries are written atomically beside their SHA-256
and checked when loaded, so a damaged file, another process compiling at the same time or a cache that cannot be written
cost time, never correctness.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..ir.diagnostics import Diagnostic, SpikecError
from .environment import warn_once

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "Arguments", "Fields", "KernelError", "arguments_type", "cache_folder", "compile_c", "compiler", "render", "store",
    "stored", "structure",
]

Fields = Sequence[tuple[str, str, int]]
"""Fields of a kernel's argument structure: (C type, name, array length or 0)."""

_FLAGS = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-funswitch-loops",  # the part of -O3 that helps
          "-std=c11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-w",
          "-Werror=implicit-function-declaration")
_NATIVE = ("-march=native", "-mprefer-vector-width=512")


class KernelError(SpikecError):
    """A kernel could not be built on this machine."""

    exit_code = 3


_TEMPLATES = Path(__file__).parent / "kernels"


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True,
    )


@functools.cache
def declared_variables(template: str) -> frozenset[str]:
    """The names after `variables:` in the first comment of a template."""
    source, _, _ = _environment().loader.get_source(_environment(), template)  # type: ignore[union-attr]
    names = source.split("variables:", 1)[1].split("#}", 1)[0]
    return frozenset(name.strip() for name in names.split(",") if name.strip())


def undeclared_variables(template: str) -> frozenset[str]:
    """The variables that a template and what it includes really use."""
    import jinja2
    from jinja2 import meta

    loader = _environment().loader
    source, _, _ = loader.get_source(_environment(), template)  # type: ignore[union-attr]
    syntax = _environment().parse(source)
    used = set(meta.find_undeclared_variables(syntax))
    own = {each.name for each in syntax.find_all(jinja2.nodes.Name) if each.ctx == "store"}
    own |= {each.name for each in syntax.find_all(jinja2.nodes.Macro)}
    for included in meta.find_referenced_templates(syntax):
        if included is not None:
            used |= undeclared_variables(included) - own
    names = (name for made in syntax.find_all(jinja2.nodes.Assign) for name in made.find_all(jinja2.nodes.Name))
    made_here = {name.name for name in names if name.ctx == "store"}
    return frozenset(used - made_here)


def render(template: str, **variables: Any) -> str:
    """The text of a kernel, from the cache or freshly made; `variables` must be exactly those that the template
    declares.

    Raises:
        KernelError: they are not (SC420).
    """
    told = repr((_templates_digest(), template, sorted(variables.items())))
    folder, name = cache_folder(), f"{hashlib.sha256(told.encode()).hexdigest()}.txt"
    if (cached := stored(folder, name)) is not None:
        with contextlib.suppress(OSError):
            return cached.read_text()
    declared = declared_variables(template)
    if declared != set(variables):
        odd = sorted(declared.symmetric_difference(variables))
        raise KernelError(Diagnostic("SC420", f"kernel template {template}: variables {odd} do not agree"))
    text = _environment().get_template(template).render(**variables)
    store(folder, name, text.encode())
    return text


@functools.cache
def _templates_digest() -> str:
    """Of everything that a text is made from but its variables."""
    parts = [metadata.version("jinja2").encode(), *(path.read_bytes() for path in sorted(_TEMPLATES.glob("*.jinja")))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def structure(fields: Fields) -> list[tuple[str, str]]:
    """Fields as (type, declarator) for a template."""
    return [(kind, f"{name}[{length}]" if length else name) for kind, name, length in fields]


class Arguments(ctypes.Structure):
    """What a kernel is given; pointers are addresses. `names`: of its fields."""

    names: ClassVar[frozenset[str]] = frozenset()


@functools.cache
def arguments_type(fields: tuple[tuple[str, str, int], ...]) -> type[Arguments]:
    """The ctypes structure of the same layout."""
    scalars: Mapping[str, Any] = {"int64_t": ctypes.c_int64, "double": ctypes.c_double}
    members = []
    for kind, name, length in fields:
        base = ctypes.c_void_p if kind.endswith("*") else scalars[kind]
        members.append((name, base * length if length else base))
    return type("Args", (Arguments,), {"_fields_": members, "names": frozenset(name for name, _ in members)})


@functools.cache
def compiler() -> tuple[tuple[str, ...], str] | None:
    """The C compiler as (command, version line): CC, cc, gcc, clang, or the ziglang package; None without any."""
    if stated := os.environ.get("CC", "").split():
        if version := _version(stated):
            return tuple(stated), version
        warn_once("CC", " ".join(stated), "does not answer as a C compiler, so another one is looked for",
                  "Set it to the command of a C compiler, or unset it.")
    candidates = [(found,) for name in ("cc", "gcc", "clang") if (found := shutil.which(name))]
    for command in (*candidates, (sys.executable, "-m", "ziglang", "cc")):
        if version := _version(command):
            return command, version
    return None


def _version(command: Sequence[str]) -> str | None:
    """The first line that a compiler says of its version; None where there is none."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.splitlines() or ["unknown"])[0] if done.returncode == 0 else None


def cache_folder() -> Path:
    """Where kernels are kept: SPIKEC_CACHE, else `spikec` in the user's cache folder."""
    if chosen := os.environ.get("SPIKEC_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spikec" / "kernels"


@functools.cache
def cpu_features() -> str:
    """What `-march=native` depends on, as a text that differs between machines that differ."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return hashlib.sha256(line.encode()).hexdigest()
    return f"{platform.machine()} {platform.processor()} {platform.node()}"


@functools.cache
def compile_c(source: str) -> ctypes.CDLL:
    """The library made from C text, from the cache or freshly compiled.

    Raises:
        KernelError: no compiler, or it fails (SC421, SC422).
    """
    found = compiler()
    made_by = (*found[0], found[1]) if found else ("",)
    key = hashlib.sha256("\0".join([source, *made_by, *_FLAGS, *_NATIVE, cpu_features()]).encode()).hexdigest()
    folder = cache_folder()
    cached = stored(folder, f"{key}.so")
    if cached is not None:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(cached))
    if found is None:
        raise KernelError(Diagnostic(
            "SC421", "no C compiler was found, and CPU kernels need one",
            remedy="Install gcc or clang, or 'pip install spikec[zig]'; 'spikec doctor' shows what is found.",
        ))
    with tempfile.TemporaryDirectory(prefix="spikec-") as scratch:
        built = _build(found[0], source, Path(scratch))
        return ctypes.CDLL(str(store(folder, f"{key}.so", built.read_bytes()) or built))


def _build(command: Sequence[str], source: str, scratch: Path) -> Path:
    text, library = scratch / "kernel.c", scratch / "kernel.so"
    text.write_text(source)
    failure = ""
    for flags in ((*_FLAGS, *_NATIVE), (*_FLAGS, _NATIVE[0]), _FLAGS):  # an older compiler may lack the last ones
        done = subprocess.run([*command, *flags, "-o", str(library), str(text), "-lm", "-lpthread"],
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return library
        failure = failure or done.stderr
    raise KernelError(Diagnostic("SC422", f"the C compiler failed: {failure.strip()[:2000]}", value=" ".join(command)))


def store(folder: Path, name: str, content: bytes) -> Path | None:
    """Writes an entry of the cache and its SHA-256 atomically; None, and a warning, where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = hashlib.sha256(content).hexdigest()
        for target, data in ((name, content), (f"{name}.sha256", digest.encode())):
            handle, fresh = tempfile.mkstemp(dir=folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(data)
                os.replace(fresh, folder / target)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(fresh)
                raise
        return folder / name
    except OSError as error:
        warn_once("SPIKEC_CACHE", str(folder), f"kernels cannot be kept there ({error.strerror or error}), and are "
                  "built anew in every process", "Set it to a folder that can be written.")
        return None


def stored(folder: Path, name: str) -> Path | None:
    """An entry of the cache, None where it is missing or damaged."""
    try:
        intact = hashlib.sha256((folder / name).read_bytes()).hexdigest() == (folder / f"{name}.sha256").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return folder / name if intact else None

