"""What is told of a result: its figures in words, the same in the terminal and on the page of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from .config import Config
from .runner import named

__all__ = ["COLUMNS", "NOT_RUN", "SILENCE", "aimed", "met", "numbers", "quiet", "reached", "row", "silenced", "table"]

NOT_RUN = "not run"
COLUMNS: Mapping[str, str] = {
    "published": "published, %", "aim": "aim, %", "ours": "ours, %", "met": "met",
    "spikes": "spikes a neuron and sample", "silent": "silent neurons a sample, %",
    "never": "never fire, %: before; after",
    "latency": "first output spike", "cpu": "training, CPU s a seed", "wall": "wall s",
}
"""Of a row, and what they are called."""
SILENCE = "hidden neurons that never fire"


def row(config: Config, stored: Mapping[str, Any] | None) -> dict[str, str]:
    """Texts by the names of `COLUMNS`; `stored`: what `reproduce` gave, None where it was not run."""
    published = config.published
    told = {
        "published": "none" if published is None else
        _spread(published.percent, published.deviation) + (" (1 seed)" if published.seeds == 1 else "")
        + ("" if published.verified else " (unverified)"),
        "aim": "; ".join(aimed(config).values()),
    }
    if stored is None:
        return {**told, **{name: NOT_RUN if name == "ours" else "–" for name in COLUMNS if name not in told}}
    figures = stored["figures"]
    runs = figures["runs"]
    seeds = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    return {
        **told,
        "ours": f"{_spread(figures['mean_percent'], figures['std_percent'])} ({seeds})" + _each(config, runs)
        + _by_spikes(runs),
        "met": _verdict(config, stored),
        "spikes": _by_population(runs, "spikes", lambda value: f"{value:.3g}"),
        "silent": _by_population(runs, "silent", lambda value: f"{100 * value:.1f}"),
        "never": _by_population([run.get("before", {}) for run in runs], "never", lambda value: f"{100 * value:.1f}")
        + "; " + _by_population(runs, "never", lambda value: f"{100 * value:.1f}"),
        "latency": _latency(runs),
        "cpu": _seconds(runs, "training_cpu_s"), "wall": _seconds(runs, "training_wall_s"),
    }


def numbers(config: Config, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `row` tells of accuracies or errors, in percent, and whether the aim is reached, for programs to read."""
    published, figures = config.published, {} if stored is None else stored["figures"]
    return {"published": None if published is None else published.percent, "aim": config.aim.percent,
            "seeds": len(figures.get("runs", ())), "mean": figures.get("mean_percent"),
            "deviation": figures.get("std_percent"), "met": None if stored is None else met(config, stored)}


def met(config: Config, stored: Mapping[str, Any]) -> bool | None:
    """Whether both parts of the aim are reached. None while that is open, as of each part."""
    parts = reached(config, stored), silenced(config, stored)
    return False if False in parts else None if None in parts else True


def reached(config: Config, stored: Mapping[str, Any]) -> bool | None:
    """Whether the mean, or every seed, reaches the aim of the measure. None while fewer seeds are done than it is
    stated over, unless it is of every seed and one has missed it; and of trials and of other epochs, which the aim is
    not of."""
    runs = stored["figures"]["runs"]
    if config.aim.every:
        return _of_every(config, stored, _reaching(config, runs))
    if not _whole(config, stored) or len(runs) < config.aim.seeds:
        return None
    return config.measure.reached(stored["figures"]["mean_percent"], config.aim.percent)


def silenced(config: Config, stored: Mapping[str, Any]) -> bool | None:
    """Whether every seed begins and ends as silent as is aimed at; None while that is open, as of `reached`."""
    return True if config.aim.silence is None else _of_every(config, stored, quiet(config, stored["figures"]["runs"]))


def _of_every(config: Config, stored: Mapping[str, Any], count: int) -> bool | None:
    """Of an aim of every seed that `count` seeds reach: no further seed can mend one that has missed it."""
    done = len(stored["figures"]["runs"])
    if not _whole(config, stored):
        return None
    return False if count < done else None if done < config.aim.seeds else True


def aimed(config: Config) -> dict[str, str]:
    """Each part of the aim in words: of the `measure`, and of `silence` where there is one."""
    aim, told = config.aim, {}
    told["measure"] = f"{config.measure.sign} {aim.percent:g}" + (" in every seed" if aim.every else "")
    if aim.silence is not None:
        told["silence"] = f"{SILENCE} ≥ {aim.silence.before:g} before, ≤ {aim.silence.after:g} after, in every seed"
    return told


def quiet(config: Config, runs: Sequence[Mapping[str, Any]]) -> int:
    """How many seeds begin with as many silent neurons as the aim asks for, and end with as few."""
    aim = config.aim.silence
    return 0 if aim is None else sum(
        _never(config, run["before"]) >= aim.before and _never(config, run) <= aim.after for run in runs)


def _never(config: Config, record: Mapping[str, Any]) -> float:
    """Percent of the hidden neurons that fire for no sample."""
    sizes: dict[str, int] = {name: record["neurons"][name] for name in config.hidden if name in record["neurons"]}
    silent: int = sum(round(record["never"][name] * size) for name, size in sizes.items())
    return 100 * silent / sum(sizes.values())


def _verdict(config: Config, stored: Mapping[str, Any]) -> str:
    """Of both parts, where one at least is settled."""
    by_measure, by_silence = reached(config, stored), silenced(config, stored)
    if by_measure is None and by_silence is not False:
        return _unsettled(config, stored)
    told = _unsettled(config, stored) if by_measure is None else "yes" if by_measure else "**no**"
    if config.aim.silence is None or by_silence is None:
        return told
    runs = stored["figures"]["runs"]
    seeds = f"reached by {quiet(config, runs)} of {len(runs)}"
    return f"{told}; {SILENCE}: {'yes' if by_silence else f'**no**, {seeds}'}"


def _whole(config: Config, stored: Mapping[str, Any]) -> bool:
    return bool(stored["name"] == named(config, False, None))


def _unsettled(config: Config, stored: Mapping[str, Any]) -> str:
    """Why nothing is said of the aim."""
    runs = stored["figures"]["runs"]
    return f"– ({len(runs)} of {config.aim.seeds} seeds run)" if _whole(config, stored) else "– (not the whole result)"


def _reaching(config: Config, runs: Sequence[Mapping[str, Any]]) -> int:
    """How many seeds reach the aim."""
    return sum(config.measure.reached(100 * run[config.measure.key], config.aim.percent) for run in runs)


def table(config: Config, stored: Mapping[str, Any]) -> tuple[tuple[str, str], Sequence[tuple[str, str]]]:
    """Head and rows of a table of one result."""
    told = row(config, stored)
    rows = [(COLUMNS[name], told[name].replace("**", "")) for name in COLUMNS]
    return ("result", config.title), rows


def _by_population(runs: Sequence[Mapping[str, Any]], key: str, form: Callable[[float], str]) -> str:
    """Means over runs; a dash where a run, of an earlier version, does not tell it."""
    if any(key not in run for run in runs):
        return "–"
    return ", ".join(f"{name} {form(mean(run[key][name] for run in runs))}" for name in runs[0][key])


def _each(config: Config, runs: Sequence[Mapping[str, Any]]) -> str:
    """How many seeds reach the aim, where it is of every seed."""
    if not config.aim.every:
        return ""
    return f"; {config.measure.sign} {config.aim.percent:g} in {_reaching(config, runs)} of {len(runs)}"


def _by_spikes(runs: Sequence[Mapping[str, Any]]) -> str:
    """The accuracy without pseudospikes, where the loss takes these."""
    found = [100 * run["test_accuracy_by_spikes"] for run in runs if "test_accuracy_by_spikes" in run]
    return f"; {_spread(mean(found), stdev(found) if len(found) > 1 else None)} without pseudospikes" if found else ""


def _seconds(runs: Sequence[Mapping[str, Any]], key: str) -> str:
    found = [run[key] for run in runs if run.get(key) is not None]
    return f"{mean(found):.0f}" if len(found) == len(runs) else "–"


def _latency(runs: Sequence[Mapping[str, Any]]) -> str:
    found = [run["latency_s"] for run in runs if run.get("latency_s") is not None]
    if not found:
        return "–"
    undecided = mean(run["undecided"] for run in runs)
    return f"{1e3 * mean(found):.1f} ms" + (f"; none in {100 * undecided:.1f} % of samples" if undecided else "")


def _spread(value: float, deviation: float | None) -> str:
    return f"{value:.2f}" if deviation is None else f"{value:.2f} ± {deviation:.2f}"
