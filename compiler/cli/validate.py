"""`spikec validate`: whether two models, programs or frameworks do the same on one input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..comparison import Comparison, LayerComparison
from .console import JsonOption, print_json, print_table, say
from .models import DtOption, ModelArgument, SampleOption, SpikeOption, parse_sample

_MISMATCH = 1
_ENGINES = "reference (its grid, numpy), exact (continuous time, numpy), source (a torch module, by its framework), " \
           "or a target"


def command(
    model: ModelArgument,
    against: Annotated[str, typer.Option(metavar="MODEL", help="What it is held against, spelled likewise, or "
        "reference, exact or source: the same model, run so.")],
    data: Annotated[str, typer.Option(
        "--data", "-d", help="An .npz of events, an .npy raster (batch, time, *shape), or random[:RATE[:STEPS]], RATE "
        "spikes of a channel and step.")] = "random",
    target_a: Annotated[str | None, typer.Option(
        metavar="NAME", help=f"What runs MODEL: {_ENGINES}. By default what it is compiled to.")] = None,
    target_b: Annotated[str | None, typer.Option(
        metavar="NAME", help="What runs the other one. By default what it came from: source, reference or exact."
    )] = None,
    duration: Annotated[float | None, typer.Option(
        help="Seconds; by default a raster's own, and up to the last event.")] = None,
    tolerance_time: Annotated[float | None, typer.Option(
        help="Seconds that two spikes may be apart. By default 0 on one grid, else a step of it.")] = None,
    tolerance_voltage: Annotated[float | None, typer.Option(
        help="What membranes may differ by. By default 1e-5 on one grid, else they are only measured.")] = None,
    samples: Annotated[int, typer.Option(help="Of random data.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Of random data.", min=0)] = 0,
    plot: Annotated[Path | None, typer.Option(
        metavar="FILE.html|png", help="Both rasters, and the differences in time; needs matplotlib.")] = None,
    dt: DtOption = None,
    spike: SpikeOption = None,
    sample: SampleOption = None,
    json: JsonOption = False,
) -> int:
    """Run two models on the same input and compare them spike by spike; exits 1 where they differ."""
    from ..comparison_plot import check_picture
    from ..validation import validate

    if plot is not None:
        check_picture(plot)
    found = validate(model, against, data, duration=duration, dt=dt, spike=spike, sample=parse_sample(sample),
                     target_a=target_a, target_b=target_b, tolerance_time=tolerance_time,
                     tolerance_voltage=tolerance_voltage, samples=samples, seed=seed)
    if plot is not None:
        found.plot(plot)
    code = 0 if found.ok else _MISMATCH
    if json:
        print_json({"ok": found.ok, "exit_code": code, **found.as_dict(), "plot": None if plot is None else str(plot)})
    else:
        _say(found)
        if plot is not None:
            say(f"wrote {plot}")
    return code


def _say(found: Comparison) -> None:
    say(f"A: {found.a}")
    say(f"B: {found.b}")
    for note in found.notes:
        say(f"note: {note}")
    say()
    middle = ("counts apart",) if found.counted else ("agree", "A alone", "B alone", "latest")
    last = () if found.counted else ("first divergence",)
    print_table(("layer", "neurons", "fired", "spikes A", "spikes B", *middle, "membranes", *last),
                [_row(each, found.counted) for each in found.layers])
    say()
    voltage = "" if found.tolerance_voltage is None else f", membranes {found.tolerance_voltage:g}"
    if found.exact is not None:
        say(found.exact)
    if found.drift_line:
        say(found.drift_line)
    how = ("spikes are counted, neuron by neuron, not matched (--tolerance-time S matches them)" if found.counted else
           f"tolerance: spikes {found.tolerance_time:g} s{voltage}")
    say(f"{found.samples} samples of {found.duration:g} s; {how}")
    say(found.conclusion)


def _row(each: LayerComparison, counted: bool) -> tuple[str, ...]:
    middle = ((f"{each.drift:.1%}",) if counted else
              (f"{each.agree:,}", f"{each.alone_a:,}", f"{each.alone_b:,}", f"{each.latest:.3g} s"))
    first = () if counted else ("" if each.first is None else f"{each.first.time:.9g} s",)
    return (each.pair.a if each.pair.by == "name" else f"{each.pair.a} = {each.pair.b}", f"{each.neurons:,}",
            "" if each.fired is None else f"{100 * each.fired:.0f} %", f"{each.spikes_a:,}", f"{each.spikes_b:,}",
            *middle,
            "" if each.membrane is None else f"{each.membrane:.3g}", *first)
