"""What `MODEL` means on the command line: which front end reads it.

    net.nir          a NIR file
    net.onnx         an ONNX file
    net.spk          spikec's text form, with the arrays beside it
    net.py:make      the user's own code: `make` is a Graph, a torch module, or a function that returns one of them

Code runs in the last spelling only, which says so; every other file is read as data.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ...ir.checks import verify
from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecError
from ...ir.facts import check_dt
from ...ir.graph import Discretization, Graph
from ...ir.paths import path_of
from ...ir.ranges import check_discretization
from .builder import Builder
from .pytorch.registry import qualified_name

__all__ = ["MODEL_KINDS", "as_graph", "is_code", "is_folder", "is_module", "load_code", "load_model", "refuse_sample",
           "stated_grid"]


def load_model(model: str | Path, discretization: Discretization | None = None, dt: float | None = None,
               sample: Any = None) -> Graph:
    """The graph that `model` names, as on the command line: `FILE.py:NAME` (runs the file, and calls what it names
    where that can be called), `.nir`, or the text form `.spk`. `discretization`: for graphs and files that state none.
    `dt`: seconds a step, and `sample`: what `forward` takes, of torch modules, as for `from_torch`. What user code
    prints goes to stderr.

    Raises:
        BadInputError: no path (SC525), no such file or an unknown kind (SC230), a malformed file, user code that fails
            (SC231), `dt` that is no length of a step (SC222) or says too little (SC210), a malformed `discretization`
            (SC116).
        UnsupportedError: a kind or a model that spikec cannot read.
    """
    text = str(path_of(model, "a model", remedy="Give FILE.py:NAME, or a file with one of the suffixes "
                       f"{', '.join(MODEL_KINDS)}."))
    faults = Diagnostics()
    check_discretization(discretization, faults)
    if dt is not None:
        check_dt(dt, "SC222", faults)
    faults.raise_if_errors()
    if is_code(text):
        found = load_code(text)
        with redirect_stdout(sys.stderr):
            return as_graph(found, text, discretization, dt, sample)
    refuse_sample(text, sample)
    file = Path(text)
    if file.suffix == ".py":
        raise BadInputError(Diagnostic("SC230", f"'{text}' is code, and does not say what to call",
                                       remedy=f"Write {text}:NAME, which runs the file."))
    if file.suffix not in MODEL_KINDS:
        raise BadInputError(Diagnostic("SC230", f"'{text}' is no model that spikec reads",
                                       value=file.suffix or "no suffix",
                                       limit=f"{', '.join(MODEL_KINDS)}, FILE.py:NAME, or a folder that "
                                       "`spikec compile` wrote, for the commands",
                                       remedy="Check the path."))
    if discretization is None:
        _refuse_step(text, dt)
    return MODEL_KINDS[file.suffix](file, discretization)


def stated_grid(dt: float | None, spike: str | None) -> Discretization | None:
    """The grid of `dt` seconds on which a spike means `spike`, "delta" or "box"; None without `spike`.

    Raises:
        BadInputError: naming what is wrong: `spike` is neither, or `dt` is missing (SC550).
    """
    if spike is None:
        return None
    faults = Diagnostics()
    if spike not in ("delta", "box"):
        faults.add("SC550", "a spike has no such meaning on a grid", value=repr(spike), limit="delta, box",
                   remedy="delta: an impulse; box: a current of 1 for a step.")
    if dt is None:
        faults.add("SC550", "what a spike means on a grid is given, and the grid's step is not", value=f"spike {spike}",
                   remedy="Give dt too.")
    faults.raise_if_errors()
    return Discretization(dt or 0.0, spike="box" if spike == "box" else "delta")


def refuse_sample(model: str, sample: Any) -> None:
    """A sample says how a torch module is traced; nothing else is."""
    if sample is not None:
        raise BadInputError(Diagnostic("SC550", f"a sample is for torch modules, and '{model}' is none",
                                       remedy="Leave --sample out."))


def _refuse_step(model: str, dt: float | None) -> None:
    """A time step without the meaning of a spike on its grid is not a grid, and is never left aside in silence."""
    if dt is not None:
        raise BadInputError(Diagnostic(
            "SC210", f"--dt alone does not say what a spike of '{model}' means on the grid", value=f"{dt:g} s",
            remedy="Add --spike delta (an impulse) or --spike box (a current of 1 for dt); without --dt and --spike "
            "the model is read in continuous time."))


def _from_nir(path: Path, discretization: Discretization | None) -> Graph:
    from .nir.reader import from_nir

    return from_nir(path, discretization)


def _from_text(path: Path, discretization: Discretization | None) -> Graph:
    from ...ir.text import read

    return _stated(read(path), discretization)


def _from_onnx(path: Path, discretization: Discretization | None) -> Graph:
    from .onnx.frontend import from_onnx

    return from_onnx(path, discretization)


def _stated(graph: Graph, discretization: Discretization | None) -> Graph:
    return verify(graph if discretization is None else replace(graph, discretization=discretization))


Reader = Callable[[Path, Discretization | None], Graph]
MODEL_KINDS: Mapping[str, Reader] = {".nir": _from_nir, ".spk": _from_text, ".onnx": _from_onnx}
"""The reader of each kind of file, by suffix."""


def is_code(model: str) -> bool:
    """Whether `model` is spelled FILE.py:NAME."""
    path, colon, _ = model.rpartition(":")
    return bool(colon) and path.endswith(".py")


def is_folder(model: str | Path) -> bool:
    """Whether `model` names a folder, which only `spikec compile` makes; an empty text names none."""
    return bool(str(model)) and Path(model).is_dir()


def load_code(model: str) -> Any:
    """What FILE.py:NAME is, or gives when it is called: a Graph, or a torch module. What the code prints goes to
    stderr.

    Raises:
        BadInputError: no such file or name (SC230), or the code fails or gives something else (SC231).
    """
    path, _, name = model.rpartition(":")
    if not Path(path).is_file():
        raise BadInputError(Diagnostic("SC230", f"there is no file '{path}'", remedy="Check the path."))
    with redirect_stdout(sys.stderr):
        found = _called(Path(path), name, model)
    if not (isinstance(found, Graph) or is_module(found)):
        raise BadInputError(Diagnostic("SC231", f"'{model}' gives no model", value=type(found).__name__,
                                       limit="a Graph, a Builder or a torch module"))
    return found


def as_graph(found: Any, where: str, discretization: Discretization | None, dt: float | None,
             sample: Any = None) -> Graph:
    """The graph of what `load_code` found at `where`. Arguments and errors as for `load_model`."""
    if isinstance(found, Graph):
        refuse_sample(where, sample)
        if discretization is None:
            _refuse_step(where, dt)
        return _stated(found, discretization)
    from .pytorch.frontend import from_torch

    if discretization is not None:
        raise BadInputError(Diagnostic(
            "SC550", "a torch module says itself what a spike means on its grid", value=discretization.spike,
            remedy="Leave --spike out; --dt alone is the module's time step."))
    try:
        return from_torch(found, sample, dt=dt)
    except SystemExit as error:
        raise _failure(Path(where.rpartition(":")[0]), where, error) from error


def _called(path: Path, name: str, where: str) -> Any:
    """What `name` in the file is, or gives when it is called."""
    sys.path.insert(0, str(path.resolve().parent))  # as when Python runs the file
    try:
        module = _executed(path)
        if not hasattr(module, name):
            raise BadInputError(Diagnostic("SC230", f"'{path}' defines no '{name}'",
                                           limit=", ".join(key for key in vars(module) if not key.startswith("_"))))
        found = getattr(module, name)
        if callable(found) and not is_module(found):
            found = found()
        if isinstance(found, Builder):
            found = found.build()
        return found
    except SpikecError:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(path, where, error) from error
    finally:
        sys.path.pop(0)


def _failure(path: Path, where: str, error: BaseException) -> BadInputError:
    return BadInputError(Diagnostic(
        "SC231", f"'{where}' fails with {type(error).__name__}: {error}", value=_line(path, error),
        remedy="The fault is in that code; SPIKEC_TRACEBACK=1 shows the whole traceback on the command line."))


def _line(path: Path, error: BaseException) -> str | None:
    """Where the user's file was when the error arose: its innermost line, or that of a syntax error."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    lines = [line for file, line in places if Path(file).resolve() == path.resolve()]
    return f"{path}, line {lines[-1]}" if lines else None


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_spikec_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadInputError(Diagnostic("SC230", f"'{path}' is no Python file"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def is_module(value: Any) -> bool:
    """Whether it is a torch module; asked without importing torch."""
    return any(qualified_name(kind) == "torch.nn.modules.module.Module" for kind in type(value).__mro__)
