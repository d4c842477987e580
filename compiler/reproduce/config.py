"""The configuration of one headline result: what is published, what is aimed at, and all that a training of it needs.

The files `configs/NAME.toml` are data, part of the package: `spikec reproduce NAME` works wherever spikec is installed,
and a path to any other TOML file of this form does as well. Whatever is unknown, missing, of a wrong type or absurd is
reported, all of it at once, before anything is read or trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Any

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.toml_files import read_toml
from ...runtime.augmentation import Changes
from . import graded, local
from .data import IMAGES, DataChoice, read_data
from .graded_tasks import read_task
from .gradients import Training, read_changes, read_loss, read_training
from .measures import ACCURACY, Measure
from .network import NetworkChoice, built, read_network
from .reader import CODE, MOST_SEEDS, Reader

__all__ = ["CONFIGS", "Aim", "Config", "Published", "config_named", "config_of", "names", "read_config"]

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True)
class Published:
    """The figure that is compared with: in percent, its standard deviation and seeds where these are known. `verified`:
    whether it was read in the paper, or computed from what its authors published; `source` says which."""

    percent: float
    deviation: float | None
    seeds: int | None
    verified: bool
    source: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Hidden neurons that fire for no sample, in percent of them: in every seed at least `before` training, and at most
    `after` it."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Aim:
    """What the mean over so many seeds is to reach, or where it is of `every` seed, each of them; `silence`: of what
    learns out of it; `tried`: what is told where either is missed."""

    percent: float
    seeds: int
    every: bool
    silence: Silence | None
    tried: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Config:
    """`way`: "gradient", of a network by a loss, "local", by a local rule, or "graded", of a differentiable synapse by
    signals. `network`, `loss`, `changes` (of images, None for none) and `training` are of gradients, `local` of a rule,
    `graded` of a synapse, whose task needs no `data`. `measure`: what `published`, `aim` and a run tell. `parameters`:
    the tables that a training depends on, as they stand in the file."""

    name: str
    title: str
    paper: str
    differs: str
    way: str
    measure: Measure
    published: Published | None
    aim: Aim
    data: DataChoice | None
    network: NetworkChoice | None
    loss: Any
    changes: Changes | None
    training: Training | None
    local: local.Settings | None
    graded: graded.Settings | None
    parameters: Mapping[str, Any]

    @property
    def epochs(self) -> int:
        """Of one training."""
        shown = self.training or self.local or self.graded
        return 0 if shown is None else shown.epochs

    @property
    def hidden(self) -> tuple[str, ...]:
        """The layers before the last, of networks that learn by gradients."""
        return () if self.network is None else tuple(layer.name for layer in self.network.layers[:-1])

    def shortened(self, epochs: int, trial: bool = False) -> Config:
        """The same over other epochs; `trial`: on few samples, where these are not those of data."""
        table = _TABLES[self.way][-1]
        return replace(self, training=self.training and replace(self.training, epochs=epochs),
                       local=self.local and replace(self.local, epochs=epochs),
                       graded=self.graded and self.graded.shortened(epochs, trial),
                       parameters={**self.parameters, table: {**self.parameters[table], "epochs": epochs}})


_TABLES = {"gradient": ("data", "network", "loss", "changes", "training"), "local": ("data", "local"),
           "graded": ("task", "graded")}
"""What a training of each way depends on; epochs are those of the last."""


def names() -> list[str]:
    """The results that there are configurations of."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def config_named(name: str) -> Config:
    """The configuration of this name, or in the file that it is the path of.

    Raises:
        BadInputError: neither (SC581); as `read_config`.
    """
    if name in names():
        return read_config(CONFIGS / f"{name}.toml")
    if name.endswith(".toml"):
        return read_config(name)
    near = get_close_matches(name, names(), 1)
    raise BadInputError(Diagnostic("SC581", f"there is no result '{name}' to reproduce", limit=", ".join(names()),
                                   remedy=(f"Is '{near[0]}' meant? " if near else "")
                                   + "A configuration of your own is given by its path, FILE.toml."))


def read_config(path: str | Path) -> Config:
    """A configuration from a file.

    Raises:
        BadInputError: no path (SC525), not readable (SC523), or malformed, naming everything that is wrong (SC580).
    """
    place, told = read_toml(path, "the configuration of a result", CODE)
    return config_of(told, place.stem)


def config_of(told: Mapping[str, Any], name: str) -> Config:
    """A configuration from its tables.

    Raises:
        BadInputError: as `read_config` (SC580).
    """
    faults = Diagnostics()
    top = Reader(told, "", faults)
    title, paper, differs = top.text("title"), top.text("paper"), top.text("differs", absent="")
    way = top.text("way", known=tuple(_TABLES)) if "way" in top else "gradient"
    if not way:  # what else the file may have depends on it
        raise BadInputError(*faults.found)
    task = read_task(top.table("task")) if way == "graded" else None
    measure = ACCURACY if way != "graded" else None if task is None else task.measure
    published = _published(top.table("published", needed=False), measure)
    aim = _aim(top.table("aim"), measure)
    data = None if way == "graded" else read_data(top.table("data"), held=way == "local")
    network = loss = changes = training = by_rule = by_signals = None
    if way == "local":
        by_rule = local.read_settings(top.table("local"))
    elif way == "graded":
        by_signals = graded.read_settings(top.table("graded"), task)
    else:
        network = read_network(top.table("network"))
        loss = read_loss(top.table("loss"), faults)
        training = read_training(top.table("training"))
        changes = read_changes(top.table("changes", needed=False), faults)
    top.end()
    if network is not None and data is not None and not faults.errors:
        _given(top, network, data, training)
    if network is not None and data is not None and not faults.errors:
        try:
            built(network, data.channels, 0)
        except BadInputError as error:
            for each in error.diagnostics:
                faults.add(CODE, f"the network cannot be built: {each.message}", node=each.node, value=each.value,
                           limit=each.limit, remedy=each.remedy)
    if aim is not None and aim.silence is not None and (network is None or len(network.layers) < 2):
        top.fault("only networks with hidden layers that learn by gradients have hidden neurons to speak of",
                  "aim.silence", told["aim"]["silence"])
    if changes is not None and data is not None and data.name not in IMAGES:
        top.fault("only images change", "changes", told["changes"], ", ".join(IMAGES))
    faults.raise_if_errors()
    if aim is None or measure is None:  # of which there would be a fault
        raise BadInputError(*faults.found)
    return Config(name, title, paper, differs, way, measure, published, aim, data, network, loss, changes,
                  training, by_rule, by_signals, {table: told[table] for table in _TABLES[way] if table in told})


def _given(top: Reader, network: NetworkChoice, data: DataChoice, training: Training | None) -> None:
    """Whether the network takes the inputs that the data have, for as long as these come."""
    if network.shape is not None and prod(network.shape) != data.channels:
        top.fault(f"the data '{data.name}' have another number of inputs", "network.shape", list(network.shape),
                  f"a product of {data.channels}")
    if training is not None and training.duration < (last := data.options.get("t_max", data.options.get("time", 0.0))):
        top.fault("samples end before their last input", "training.duration", training.duration, f">= {last:g} s")


def _published(table: Reader | None, measure: Measure | None) -> Published | None:
    if table is None or measure is None:
        return None
    found = Published(
        table.number(measure.name, 0, 100), table.maybe("deviation", 0, 50),
        table.whole("seeds", 1, MOST_SEEDS, absent=1) if "seeds" in table else None,
        table.flag("verified"), table.text("source"))
    table.end()
    return found


def _aim(table: Reader | None, measure: Measure | None) -> Aim | None:
    if table is None or measure is None:
        return None
    found = Aim(table.number(measure.name, 0, 100), table.whole("seeds", 1, MOST_SEEDS),
                table.flag("every", absent=False), _silence(table.table("silence", needed=False)), table.texts("tried"))
    table.end()
    return found


def _silence(table: Reader | None) -> Silence | None:
    if table is None:
        return None
    found = Silence(table.number("before", 0, 100), table.number("after", 0, 100))
    table.end()
    return found
