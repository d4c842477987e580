"""One result from its configuration: a training for each seed, each stored when it is done, and what they come to.

Labels of the test part are looked at once, after the last epoch; no epoch and no seed is picked. A run that is stored
is kept while the settings are the same; an interrupted training goes on from its checkpoint to the same bits.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.diagnostics import BadInputError, Diagnostic
from . import graded, gradients, local
from .config import Config
from .data import loaded
from .lock import alone
from .measures import Measure
from .stopwatch import Stopwatch
from .stored import machine_record, read_stored, rounded, source_folder, write_stored

__all__ = ["WAYS", "Way", "current", "file_of", "named", "output_folder", "reproduce", "summary"]


@dataclass(frozen=True, slots=True)
class Way:
    """How a configuration is trained once. `train`: (config, parts, seed, checkpoint, fresh, progress) -> figures;
    `parts` is None where there are no data. `check`: whether it can be trained, before data are read."""

    train: Callable[..., dict[str, Any]]
    check: Callable[[Config], None] = lambda config: None


WAYS: Mapping[str, Way] = {"gradient": Way(gradients.train, gradients.check), "local": Way(local.train),
                           "graded": Way(graded.train)}


def output_folder() -> Path:
    """Where results are kept unless another place is named: beside the others in a clone, else ./reproduced."""
    root = source_folder()
    return Path("reproduced") if root is None else root / "benchmarks" / "results"


def named(config: Config, quick: bool, epochs: int | None) -> str:
    """Of the stored result; one that is not the whole has a name of its own, and never takes the place of the whole."""
    other = "" if epochs is None else f"-{epochs}-epochs"
    return f"reproduce_{config.name}{'-quick' if quick else ''}{other}"


def file_of(output: Path, name: str) -> Path:
    """Where the result of this name is stored."""
    return output / f"{name}.json"


def reproduce(config: Config, *, seeds: int | None = None, epochs: int | None = None, quick: bool = False,
              output: Path, fresh: bool = False, progress: bool = True, command: Sequence[str] = (),
              say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """What is stored when all seeds are done. `seeds`: from 0; None: as many as the aim is of, one where it is
    `quick`, which is a trial on a few samples, two epochs.

    Raises:
        TrainingInterrupted: after Ctrl-C, with everything saved.
        BadInputError: an option is out of range (SC550), the data are not there (SC540), an earlier result or a
            checkpoint cannot be used (SC582, SC508, SC509), another process trains this (SC583), or nothing can be
            written (SC522).
    """
    name = named(config, quick, epochs)
    if quick or epochs is not None:
        config = config.shortened(epochs or 2, trial=quick)
    wanted = seeds if seeds is not None else 1 if quick else config.aim.seeds
    _make(output)
    file = file_of(output, name)
    with alone(file):
        return _all_seeds(config, wanted, file, quick=quick, fresh=fresh, progress=progress, command=command, say=say)


def _all_seeds(config: Config, wanted: int, file: Path, *, quick: bool, fresh: bool, progress: bool,
               command: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """What `file` holds when this many seeds are done."""
    name, parameters = file.stem, {**rounded(config.parameters), **({"quick": True} if quick else {})}
    found = None if fresh else read_stored(file, config.measure.key)
    stored = found if found is not None and found["parameters"] == parameters else None
    if found is not None and stored is None:
        say(f"the settings have changed since '{file.name}' was written: all seeds are trained again")
    runs: list[dict[str, Any]] = [] if stored is None else list(stored["figures"]["runs"])
    way, parts = WAYS[config.way], None
    for seed in range(wanted):
        if any(run["seed"] == seed for run in runs):
            say(f"seed {seed}: done before")
            continue
        if parts is None and config.data is not None:
            way.check(config)
            parts = loaded(config.data, quick)
        checkpoint = file.with_name(f".{name}-{seed}.checkpoint")
        record = machine_record(command)
        run = {**way.train(config, parts, seed, checkpoint, fresh=fresh, progress=progress),
               **{key: record[key] for key in ("commit", "uncommitted_changes", "processor", "started")}}
        runs.append(run)
        stored = {"name": name, "title": config.title, "machine": record, "parameters": parameters,
                  "figures": {**summary(runs, config.measure), "runs": runs}}
        write_stored(file, stored)
        checkpoint.unlink(missing_ok=True)
        Stopwatch.forget(checkpoint)
        say(f"seed {seed}: {config.measure.title} {100 * run[config.measure.key]:.2f} %, {run['training_cpu_s']:.0f} s "
            "of CPU time")
    if stored is None:
        raise BadInputError(Diagnostic("SC550", "no seed was asked for", value=str(wanted), limit=">= 1"))
    return stored


def current(config: Config, output: Path) -> dict[str, Any] | None:
    """What is stored of a whole result; None where it was not run, or with other settings than these.

    Raises:
        BadInputError: the file holds no result (SC582).
    """
    stored = read_stored(file_of(output, named(config, False, None)), config.measure.key)
    return stored if stored is not None and stored["parameters"] == rounded(config.parameters) else None


def summary(runs: Sequence[Mapping[str, Any]], measure: Measure) -> dict[str, Any]:
    """Mean and sample standard deviation of what runs are judged by, in percent."""
    found = [100 * run[measure.key] for run in runs]
    return {"seeds": len(runs), "mean_percent": statistics.mean(found),
            "std_percent": statistics.stdev(found) if len(found) > 1 else None}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(Diagnostic("SC522", f"'{folder}' cannot be made: {error.strerror or error}",
                                       remedy="Name another folder with --output.")) from error
