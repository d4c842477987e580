"""`spikec run`: a compiled folder on events from a file."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.graded.network import GradedNetwork
from ...targets.registry import TARGETS
from .console import JsonOption, print_json, print_table, say
from .events import read_input


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A compiled folder.")],
    input: Annotated[Path, typer.Option(
        "--input", "-i", metavar="FILE.npz|FILE.npy", help="Events (times, indices, offsets), or a raster (batch, "
        "time, *shape) of the only input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.npz", help="Where the spikes of the outputs go.")
    ] = None,
    duration: Annotated[float | None, typer.Option(
        help="Seconds to simulate; by default as long as it takes, of a model in steps to the column of the last event."
    )] = None,
    probe: Annotated[
        list[str] | None, typer.Option(metavar="NODE.v@T1,T2,…", help="Membrane voltages at these times (seconds).")
    ] = None,
    dt: Annotated[float | None, typer.Option(
        help="Seconds a column of a raster; by default that of the model's grid. Of graded synapses, seconds between "
        "samples, of events too.")] = None,
    backend: Annotated[str | None, typer.Option(
        metavar="emulator|lava|xylosim", help="Of a program for Loihi or Xylo: what runs it. By default the "
        "emulator.")] = None,
    drain: Annotated[bool, typer.Option(
        "--drain", help="Of a program for Loihi or Xylo: go on until all that the input causes has come out.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a compiled folder on a file of events or a raster, and write the spikes of its outputs."""
    from ...ir.event_files import write_events
    from ...ir.paths import require_place
    from ..driver import load

    probes = parse_probes(probe or [])
    if output is not None:
        require_place(output)
    program = load(folder)
    events, batch = read_input(input, tuple(program.network.inputs))
    grid = program.graph.discretization
    options: dict[str, Any] = {}
    if isinstance(events, np.ndarray):
        options["dt"] = dt if dt is not None or grid is None else grid.dt
    elif isinstance(program.network, GradedNetwork):
        options["dt"] = dt
    elif duration is None and TARGETS[program.target].time == "steps" and grid is not None:
        duration = columns_to_the_last(events, grid.dt) * grid.dt
    options |= {} if backend is None else {"backend": backend}
    options |= {"drain": True} if drain else {}
    _check_options(program, options.keys() - {"dt"})
    _ = program.engine  # torch is imported here, which is no part of the time that is shown
    start = time.perf_counter()
    result = program.run(events, duration=duration, probes=probes, **options)
    seconds = time.perf_counter() - start
    spikes = {name: result.spikes[name] for name in program.network.outputs if name in result.spikes}
    highest = {f"{name}.voltage_max": result.voltage_max[name][0]
               for name in program.network.outputs if name in result.voltage_max}
    voltages = {**result.probes, **highest}
    if output is not None:
        write_events(output, spikes, voltages)
    counts = {name: len(each) for name, each in spikes.items()}
    if json:
        shown = ({"probes": dict(result.probes), **highest} if output is None
                 else {"shapes": {name: values.shape for name, values in voltages.items()}})
        print_json({"samples": batch, "spikes": counts, "truncated": result.truncated, "grazing": result.grazing,
                    "duration": result.duration, "seconds": seconds, "latency": dict(result.latency), **shown,
                    "output": None if output is None else str(output)})
        return
    if counts:
        print_table(("output", "spikes", "per sample"),
                    [(name, f"{count:,}", f"{count / max(batch, 1):.2f}") for name, count in counts.items()])
    for name, values in voltages.items():
        say(f"{name}: {' × '.join(map(str, values.shape))} voltages")
    for name in program.network.outputs if result.latency else ():
        say(f"{name}: {result.latency[name]} columns of latency")
    say(f"{batch} samples of {result.duration:g} s in {seconds:.3f} s")
    if output is not None:
        say(f"wrote {output}")


def columns_to_the_last(events: Mapping[str, Events], dt: float) -> int:
    """Columns of `dt` seconds, one at least, in the last of which the last event lies; a time that rounding puts behind
    the end of a column is in it."""
    last = max((float(each.numpy().times.max(initial=0.0)) for each in events.values()), default=0.0)
    return max(1, ceil(last / dt - 1e-6))


def _check_options(program: Any, given: Iterable[str]) -> None:
    """Raises BadInputError, naming every option that programs of this target have not (SC550)."""
    taken, faults = inspect.signature(program.run).parameters, Diagnostics()
    for name in sorted(given):
        if name not in taken:
            faults.add("SC550", f"programs for {program.target} have no --{name}", node=f"--{name}",
                       remedy="Leave it out; it is of programs for Loihi and Xylo.")
    faults.raise_if_errors()


def parse_probes(texts: list[str]) -> dict[str, np.ndarray]:
    """`["hidden.v@0.01,0.02"]` as {"hidden.v": times}.

    Raises:
        BadInputError: naming every text that is none.
    """
    faults = Diagnostics()
    probes: dict[str, np.ndarray] = {}
    for text in texts:
        name, at, times = text.rpartition("@")
        try:
            values = np.array([float(part) for part in times.split(",")])
        except ValueError:
            values = np.array([np.nan])
        if not (at and name.endswith(".v") and np.isfinite(values).all()):
            faults.add("SC550", "a probe reads NODE.v@T1,T2,… with times in seconds", value=text)
        else:
            probes[name] = np.concatenate([probes.get(name, np.empty(0)), values])
    faults.raise_if_errors()
    return probes
