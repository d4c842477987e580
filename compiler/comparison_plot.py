"""A comparison as a picture: both rasters of every layer, and how far apart in time the spikes are that agree."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.events import Events
from ..ir.nodes import Array
from ..ir.npz import write_atomically
from ..ir.paths import path_of, require_place
from ..runtime.drawing import new_figure
from .comparison import Comparison, LayerComparison, matched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "save"]

MOST_LAYERS = 8
# Of the palette of Okabe and Ito, which is told apart by everyone.
_A, _B, _ALONE = "#0072B2", "#009E73", "#D55E00"


def check_picture(path: str | Path) -> Path:
    """The path of a picture that can be written.

    Raises:
        BadInputError: no path (SC525), another suffix (SC550), or no file can be written there (SC522).
    """
    target = path_of(path, "a picture to write")
    if target.suffix not in (".png", ".html"):
        raise BadInputError(Diagnostic("SC550", f"'{path}' is no picture that can be written",
                                       value=target.suffix or "no suffix", limit=".png, .html"))
    require_place(target)
    return target


def save(comparison: Comparison, path: str | Path) -> None:
    """Writes the picture as `.png`, or as a self-contained `.html` page with the text of the comparison.

    Raises:
        BadInputError: no path (SC525), matplotlib is missing (SC532), another suffix (SC550), or the file cannot be
            written (SC522).
    """
    target = check_picture(path)
    stream = io.BytesIO()
    draw(comparison).savefig(stream, format="png", dpi=150)
    data = stream.getvalue()
    write_atomically(target, _page(comparison, data) if target.suffix == ".html" else data)


def draw(comparison: Comparison) -> Figure:
    """A figure with two axes for each layer (the last ones, where there are many): the rasters of the sample with the
    first divergence, and a histogram of differences in time over all samples.

    Raises:
        BadInputError: matplotlib is missing (SC532).
    """
    layers = comparison.layers[-MOST_LAYERS:]
    figure = new_figure(11, 1 + 2.4 * len(layers))
    grid = figure.subplots(len(layers), 2, squeeze=False, width_ratios=(3, 1))
    sample = comparison.first.sample if comparison.first is not None else 0
    for (raster, differences), layer in zip(grid, layers, strict=True):
        _draw_layer(raster, differences, comparison, layer, sample)
    grid[-1][0].set_xlabel(f"seconds (sample {sample})")
    grid[-1][1].set_xlabel("A later than B, ms")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(f"A: {comparison.a}   B: {comparison.b}   {comparison.verdict}", fontsize=10)
    return figure


def _draw_layer(raster: Axes, differences: Axes, comparison: Comparison, layer: LayerComparison, sample: int) -> None:
    from matplotlib.ticker import MaxNLocator

    one, other = comparison.recordings
    nobody = Events.from_samples([])
    a, b = one.spikes.get(layer.pair.a, nobody), other.spikes.get(layer.pair.b, nobody)
    late, alone = matched(layer.pair, a, b, comparison.tolerance_time)
    for events, colour, shift, label in ((a, _A, 0.2, "A"), (b, _B, -0.2, "B")):
        times, neurons = _sample(events, sample)
        raster.plot(times, neurons + shift, "|", color=colour, markersize=5, label=label)
    times, neurons = alone.get(sample, np.empty((2, 0)))
    raster.plot(times, neurons, "o", color=_ALONE, markersize=5, fillstyle="none", label="on one side alone")
    raster.yaxis.set_major_locator(MaxNLocator(integer=True))
    raster.set_xlim(0, comparison.duration * 1.02)
    raster.set_ylabel("neuron")
    raster.set_title(f"{layer.pair.a}: {layer.spikes_a:,} and {layer.spikes_b:,} spikes, {layer.agree:,} agree",
                     fontsize=9, loc="left")
    differences.hist(1e3 * late, bins=41, color=_A)
    differences.set_ylabel("spikes")


def _sample(events: Events, sample: int) -> tuple[Array, Array]:
    if sample >= events.batch:
        return np.empty(0), np.empty(0, np.int64)
    times, indices = events.numpy().sample(sample)
    return times, indices


def _page(comparison: Comparison, png: bytes) -> bytes:
    picture = base64.b64encode(png).decode()
    return "\n".join([
        "<!doctype html>", '<html lang="en">', '<meta charset="utf-8">',
        f"<title>spikec validate: {comparison.verdict}</title>",
        "<style>body { font-family: sans-serif; max-width: 72em; margin: 2em auto } img { max-width: 100% }",
        "pre { white-space: pre-wrap }</style>",
        f"<h1>{comparison.verdict}</h1>", f"<pre>{html.escape(str(comparison))}</pre>",
        f'<img alt="rasters and differences in time" src="data:image/png;base64,{picture}">', "</html>", "",
    ]).encode()
