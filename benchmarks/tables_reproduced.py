"""The page of headline results, docs/results.md: one row for each configuration, whether it was run or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import mean
from typing import Any

from common import RESULTS
from table_parts import NotMeasured, Unsettled, figures, measured, table

from spikec.compiler.reproduce.config import Config, config_named, names
from spikec.compiler.reproduce.figures import COLUMNS, NOT_RUN, aimed, met, quiet, reached, row, silenced
from spikec.compiler.reproduce.runner import current

_FIRST = ("published", "ours", "aim", "met")
_THEN = ("spikes", "silent", "never", "latency", "cpu", "wall")


def stored(config: Config) -> dict[str, Any] | None:
    """What `spikec reproduce` has kept; None where it was not run, or with other settings."""
    return current(config, RESULTS)


def results() -> str:
    """Beside what is published."""
    rows = []
    for config in map(config_named, names()):
        told = row(config, stored(config))
        rows.append((f"`{config.name}`", config.title, *(told[name] for name in _FIRST)))
    return (table(("name", "result", *(COLUMNS[name] for name in _FIRST)), rows)
            + "\n\n" + measured(*SOURCES))


def activity() -> str:
    """What the trained networks do, and what training cost."""
    rows = []
    for config in map(config_named, names()):
        told = row(config, stored(config))
        rows.append((f"`{config.name}`", *(told[name] for name in _THEN)))
    return table(("name", *(COLUMNS[name] for name in _THEN)), rows) + "\n\n" + hardware()


def hardware() -> str:
    """The processors that runs were on."""
    found: dict[str, list[str]] = {}
    for name in names():
        told = stored(config_named(name))
        for run in [] if told is None else told["figures"]["runs"]:
            on = found.setdefault(run["processor"], [])
            if name not in on:
                on.append(name)
    if not found:
        return "Nothing was run yet."
    lines = [f"{processor} ({', '.join(f'`{name}`' for name in on)})" for processor, on in found.items()]
    return f"Hardware: {'; '.join(lines)}. CPU time is that of all threads; wall time depends on what else ran."


def sources() -> str:
    """Where the published figures are from, and in what ours differ; what was tried."""
    lines = []
    for config in map(config_named, names()):
        published, told = config.published, stored(config)
        where = ("No published figure to compare with" if published is None else
                 f"Published figure{'' if published.verified else ', unverified'}: {published.source}")
        lines.append(f"- `{config.name}`: {config.paper}. {where}. {config.differs}".rstrip())
        missed = told is not None and met(config, told) is False
        if missed:
            lines.append(f"  **Missed**: {'; '.join(_missed(config, told))}.")
        if missed or config.aim.tried:
            tried = "; ".join(config.aim.tried) or "nothing beyond the settings that stand in its configuration"
            lines.append(f"  Tried: {tried}.")
    return "\n".join(lines)


def _missed(config: Config, told: dict[str, Any]) -> Iterator[str]:
    """What was found of each part of the aim that is missed, and the part."""
    aim, runs = aimed(config), told["figures"]["runs"]
    if reached(config, told) is False:
        yield f"{row(config, told)['ours']}, where {aim['measure']} is the aim, in percent"
    if silenced(config, told) is False:
        yield f"{quiet(config, runs)} of {len(runs)} seeds reach the aim: {aim['silence']}, in percent"


def synapses() -> str:
    """Tasks of the differentiable synapse: before training, with nothing but the readout fitted, and after it."""
    rows = []
    for config in map(config_named, names()):
        if config.graded is None:
            continue
        told, key = stored(config), config.measure.key
        if told is None:
            rows.append((f"`{config.name}`", "–", "–", NOT_RUN, "–", "–"))
            continue
        runs, shown = told["figures"]["runs"], row(config, told)
        untrained, fitted = (f"{100 * mean(run['before'][each] for run in runs):.1f}" for each in (key, "fitted"))
        rate = mean(run["spikes"]["neurons"] / run["duration_s"] for run in runs)
        rows.append((f"`{config.name}`", untrained, fitted, shown["ours"], f"{rate:.3g}", shown["cpu"]))
    head = ("name", "untrained, %", "its readout fitted, %", "trained, %", "spikes a neuron and second", "CPU s a seed")
    return table(head, rows)


def linear_digits() -> str:
    """What linear classifiers reach on the spectrograms of the spoken digits."""
    rows = [(row["classifier"], row["input"], f"{row['held_out']:.1f}", f"{row['test']:.1f}")
            for row in figures("linear_digits")]
    return (table(("classifier", "spectrogram", "takes 5 to 9, held out, %", "test, %"), rows) + "\n\n"
            + measured("linear_digits"))


Part = Callable[[Config, dict[str, Any]], bool | None]
Aim = tuple[str, str, Callable[[], float], Callable[[float], bool], str]


def mean_of(name: str) -> Callable[[], float]:
    """Percent, over all seeds that the result is stated over; fewer do not settle whether an aim is met."""
    return lambda: float(_settled(name, reached)["figures"]["mean_percent"])


def _settled(name: str, part: Part) -> dict[str, Any]:
    """What is stored of a result, where this part of its aim is settled."""
    config = config_named(name)
    told = stored(config)
    if told is None:
        raise NotMeasured(f"reproduce_{name}")
    found = told["figures"]
    if part(config, told) is None:
        raise Unsettled(f"{found['mean_percent']:.2f} after {found['seeds']} of {config.aim.seeds} seeds")
    return told


def _aims(config: Config) -> Iterator[Aim]:
    told, name, seeds = aimed(config), config.name, config.aim.seeds
    yield (f"{config.title}, test, mean of seeds, %", told["measure"], mean_of(name),
           lambda _: reached(config, _settled(name, reached)) is True, "{:.2f}")
    if "silence" in told:
        yield (f"{config.title}: seeds with as few silent neurons as is aimed at", told["silence"],
               lambda: quiet(config, _settled(name, silenced)["figures"]["runs"]), lambda found: found >= seeds,
               f"{{:.0f}} of {seeds}")


SOURCES = tuple(f"reproduce_{name}" for name in names())
AIMS = tuple(aim for config in map(config_named, names()) for aim in _aims(config))

TABLES: dict[str, Callable[[], str]] = {
    "reproduced": results, "reproduced_activity": activity, "reproduced_sources": sources, "synapses": synapses,
    "linear_digits": linear_digits,
}
