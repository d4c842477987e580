"""From a model graph to a program, and from a compiled folder back to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NoReturn, overload

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ..ir.graph import Graph
from ..ir.nodes import GRADED
from ..ir.text import read
from ..passes.lower_graded import is_graded
from ..passes.manager import PassManager
from ..targets.analog.program import ANALOG_TARGETS, AnalogProgram
from ..targets.artefact import GRAPH, check_artefact
from ..targets.clock.program import ClockProgram
from ..targets.dynapse2.program import Dynapse2Program
from ..targets.event.graded import GradedProgram
from ..targets.event.program import Program
from ..targets.loihi.program import LOIHI_TARGETS, LoihiProgram
from ..targets.registry import target_named
from ..targets.xylo.program import XyloProgram
from .frontends.builder import Builder
from .pipeline import lower, lower_graded

__all__ = ["AnyProgram", "compile", "load"]

AnyProgram = Program | GradedProgram | ClockProgram | LoihiProgram | AnalogProgram | Dynapse2Program | XyloProgram


@overload
def compile(graph: Graph | Builder, target: Literal["event"] = "event", dump_ir: str | Path | None = None) -> Program:
    ...


@overload
def compile(graph: Graph | Builder, target: Literal["clock"], dump_ir: str | Path | None = None) -> ClockProgram: ...


@overload
def compile(graph: Graph | Builder, target: Literal["loihi1", "loihi2"], dump_ir: str | Path | None = None,
            **options: Any) -> LoihiProgram: ...


@overload
def compile(graph: Graph | Builder, target: Literal["brainscales2", "generic_analog"],
            dump_ir: str | Path | None = None, **options: Any) -> AnalogProgram: ...


@overload
def compile(graph: Graph | Builder, target: Literal["dynapse2"], dump_ir: str | Path | None = None,
            **options: Any) -> Dynapse2Program: ...


@overload
def compile(graph: Graph | Builder, target: Literal["xylo"], dump_ir: str | Path | None = None,
            **options: Any) -> XyloProgram: ...


@overload
def compile(graph: Graph | Builder, target: str, dump_ir: str | Path | None = None, **options: Any) -> AnyProgram: ...


def compile(graph: Graph | Builder, target: str = "event", dump_ir: str | Path | None = None,
            **options: Any) -> AnyProgram:
    """Makes a program for `target`: lowers `graph` for `event` (to a `GradedProgram` where its neurons send graded
    currents, else to a `Program`), keeps it node by node for `clock`, lowers and quantises it for chips. A `Builder` is
    built first. `dump_ir`: a folder for the text of the graph after each pass. `options`: of the target, for Loihi
    those of `targets.loihi.options.LoihiOptions`, for analog chips those of `targets.analog.options.AnalogOptions`, for
    DYNAP-SE2 those of `targets.dynapse2.options.Dynapse2Options`, for Xylo those of
    `targets.xylo.options.XyloOptions`.

    Raises:
        BadInputError: `graph` is no graph (SC232) or a malformed one (SC101 to SC117), there is no such target
            (SC530) or option (SC533), or `dump_ir` is no path (SC525) or cannot be written (SC522).
        UnsupportedError: the graph asks for what the target cannot do (SC302 to SC306, SC320 to SC324, SC341
            to SC344, SC352, SC371, SC372, SC456, SC457, SC463), or the target is only planned (SC531).
        DoesNotFitError: the network does not fit the chip (SC330, SC331, SC340, SC350, SC351, SC353, SC374, SC375).
    """
    target_named(target)
    if isinstance(graph, Builder):
        graph = graph.build()
    if not isinstance(graph, Graph):
        raise BadInputError(Diagnostic(
            "SC232", "compile takes a Graph", value=type(graph).__name__,
            remedy="Make one with spikec.from_torch (PyTorch modules), spikec.from_nir (NIR), spikec.Builder, or "
                   "spikec.compiler.frontends.load_model (model files); spikec.load reads a compiled folder."))
    if is_graded(graph) and target != GradedProgram.target:
        _refuse_graded(graph, target)
    if target in LOIHI_TARGETS:
        return LoihiProgram(graph, target, lower, options, dump_ir).fitted()
    if target in ANALOG_TARGETS:
        return AnalogProgram(graph, target, lower, options, dump_ir)
    if target == Dynapse2Program.target:
        return Dynapse2Program(graph, lower, options, dump_ir)
    if target == XyloProgram.target:
        return XyloProgram(graph, lower, options, dump_ir)
    if options:
        raise BadInputError(Diagnostic("SC533", f"the target {target} has no options", value=", ".join(options)))
    if target == "clock":
        if dump_ir is not None:
            PassManager(()).run(graph, dump_ir)
        return ClockProgram(graph)
    if is_graded(graph):
        return GradedProgram(graph, lower_graded(graph, dump_ir), lower_graded)
    return Program(graph, lower(graph, dump_ir), lower)


def _refuse_graded(graph: Graph, target: str) -> NoReturn:
    """Raises UnsupportedError: only continuous time has graded currents."""
    faults = Diagnostics()
    for name, node in graph.nodes.items():
        if isinstance(node, GRADED):
            faults.add("SC463", f"{target} has no graded currents", node=name, value=type(node).__name__,
                       remedy="Compile for event, or use a spiking kind (CubaLIF).")
    raise UnsupportedError(*faults.found)


def load(folder: str | Path) -> AnyProgram:
    """The program that `Program.save` wrote. The folder is checked, its data is read, and the code is made again:
    nothing in it is executed.

    Raises:
        BadInputError: no path (SC525), no compiled folder, or files that are missing, unknown or damaged (SC520), or an
            unknown version (SC521).
    """
    target = check_artefact(folder)
    if target in LOIHI_TARGETS:
        return LoihiProgram.load(Path(folder), target, lower)
    if target in ANALOG_TARGETS:
        return AnalogProgram.load(Path(folder), target, lower)
    if target == Dynapse2Program.target:
        return Dynapse2Program.load(Path(folder), lower)
    if target == XyloProgram.target:
        return XyloProgram.load(Path(folder), lower)
    return compile(read(Path(folder) / GRAPH), target)
