"""The emulator: an integer network over a batch of rasters, bit for bit as `simulate_integer`, on all cores.

Populations that are in no cycle, but for what a neuron brings itself, run one after another, each over all columns:
what dense projections bring is gathered from rows of weights by lists of spikes, all else is added to a drive
beforehand. Populations in a cycle run together, column by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.integer.checks import verify_integer
from ...ir.integer.inputs import Rasters, check_rasters
from ...ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection, held_weight
from ...ir.integer.state import IntegerState, check_state, columns_under_way, first_state
from ...ir.integer.step import IntegerResult
from ...ir.nodes import Array
from ..arenas import empty, zeros
from .kernels import HOSTS, PATH, POPULATION, Call, blocks_of, lanes_of
from .sources import Source
from .tables import Table, is_own, rows_of, tables_of

__all__ = ["IntegerEngine"]

_MOST_BYTES = 1 << 26
"""What a part of the batch may take in flags and drives, beside its result."""


class IntegerEngine:
    """Runs an integer network. `device`: where its kernels run, "cpu" or a CUDA device.

    Raises:
        BadInputError: the network is malformed (SC101 to SC142).
    """

    def __init__(self, network: IntegerNetwork, device: str | torch.device = "cpu") -> None:
        self.network = verify_integer(network)
        self.device = torch.device(device)
        self._tables: dict[tuple[str, bool], list[Table]] = {}
        self._biases: dict[str, Tensor] = {}
        self._own: dict[str, Tensor | None] = {}

    def run(self, inputs: Rasters, steps: int | None = None, *, spikes: Iterable[str] | None = None,
            states: Iterable[str] = (), state: IntegerState | None = None, keep_state: bool = False) -> IntegerResult:
        """Runs a batch.

        Args:
            inputs: by input, (batch, time, n) or (batch, time, *shape), whole numbers; as of `simulate_integer`.
            steps: columns; None: as many as the longest raster has.
            spikes: populations whose spikes are wanted; None: all.
            states: populations whose u and v after each column are wanted.
            state: where an earlier run ended, from which this one goes on; None: before the first column.
            keep_state: whether the result says where it ends.

        Raises:
            BadInputError: a raster, the state, or what is asked for, is malformed (SC403).
            KernelError: kernels cannot be built here (SC421 to SC423, SC430, SC431).
        """
        wanted = self._wanted(self.network.populations if spikes is None else spikes)
        shown = self._wanted(states)
        rasters, batch, columns = check_rasters(self.network, inputs, steps)
        sizes = {name: population.n for name, population in self.network.populations.items()}
        now = self._state(state, batch, keep_state)
        result = IntegerResult(
            state=now if keep_state else None,
            spikes={name: _array((batch, columns, sizes[name]), torch.uint8) for name in wanted},
            u={name: _array((batch, columns, sizes[name]), torch.int32) for name in shown},
            v={name: _array((batch, columns, sizes[name]), torch.int32) for name in shown})
        part = max(1, _MOST_BYTES // max(1, 5 * columns * sum(sizes.values())))
        for first in range(0, batch if columns else 0, part):
            chosen = slice(first, min(first + part, batch))
            given = {name: raster[chosen, :columns] for name, raster in rasters.items()}
            run = _Run(self, given, chosen.stop - first, columns, result, chosen, now)
            for component in self.schedule:
                run.component(component)
            if keep_state:
                run.keep_under_way()
        return result

    @cached_property
    def schedule(self) -> tuple[tuple[str, ...], ...]:
        """Strongly connected components in topological order."""
        view = nx.DiGraph()
        view.add_nodes_from(self.network.populations)
        view.add_edges_from((each.source, each.target) for each in self.network.projections
                            if each.source in self.network.populations)
        components = nx.condensation(view)
        return tuple(tuple(name for name in self.network.populations if name in components.nodes[number]["members"])
                     for number in nx.topological_sort(components))

    @cached_property
    def lanes(self) -> Mapping[str, int]:
        """Neurons of a block of each population: one number a component, whose kernel serves all of it."""
        on_host = self.device.type in HOSTS
        return {name: lanes_of(max(map(self.network.size, component))) if on_host else 1
                for component in self.schedule for name in component}

    def tables(self, projection: IntegerProjection, grouped: bool = False) -> list[Table]:
        """A projection's tables, made when they are first needed."""
        key = projection.name, grouped
        if key not in self._tables:
            lanes = self.lanes[projection.target]
            sizes = self.network.size(projection.source), self.network.size(projection.target)
            self._tables[key] = ([rows_of(projection, lanes, True, self.device)] if grouped
                                 else tables_of(projection, lanes, *sizes, self.device))
        return self._tables[key]

    def bias(self, population: IntegerPopulation) -> Tensor:
        """(blocks * lanes,) int32, with its exponent."""
        if population.name not in self._biases:
            lanes = self.lanes[population.name]
            bias = np.zeros(blocks_of(population.n, lanes) * lanes, dtype=np.int32)
            if population.bias is not None:
                bias[:population.n] = population.bias.astype(np.int32) << population.bias_exponent
            self._biases[population.name] = torch.from_numpy(bias).to(self.device)
        return self._biases[population.name]

    def own(self, name: str) -> Tensor | None:
        """(blocks * lanes,) int32: what a spike of a neuron brings the neuron itself, by projections that are `is_own`;
        None without any."""
        if name not in self._own:
            found = [each for each in self.network.incoming[name] if each.source == name and is_own(each)]
            lanes, n = self.lanes[name], self.network.size(name)
            total = np.zeros(blocks_of(n, lanes) * lanes, dtype=np.int64)
            for each in found:
                held = held_weight(each).astype(np.int64)
                total[:n] += held << each.exponent if each.exponent > 0 else held >> -each.exponent
            self._own[name] = torch.from_numpy(total.astype(np.int32)).to(self.device) if found else None
        return self._own[name]

    def _state(self, given: IntegerState | None, batch: int, kept: bool) -> IntegerState | None:
        """Where the run starts, as arrays that it may write to; None: zeros, of which nothing is to be known."""
        if given is not None:
            start = check_state(self.network, given, batch)
        elif kept or any(each.u0 is not None or each.v0 is not None for each in self.network.populations.values()):
            start = first_state(self.network, batch)
        else:
            return None
        return IntegerState(u=_copied(start.u), v=_copied(start.v), under_way=_copied(start.under_way))

    def _wanted(self, names: Iterable[str]) -> list[str]:
        faults, found = Diagnostics(), list(names)
        for name in found:
            if name not in self.network.populations:
                faults.add("SC403", "no population of this name can be shown", node=name,
                           limit=", ".join(self.network.populations))
        faults.raise_if_errors(BadInputError)
        return found


def _array(shape: tuple[int, ...], dtype: torch.dtype) -> Array:
    return empty(shape, dtype, torch.device("cpu")).numpy()


def _copied(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.array(array, dtype=np.int32) for name, array in arrays.items()}


@dataclass(slots=True)
class _Run:
    """One part of a batch. `now`: where it starts, and, when it is over, where it ends."""

    engine: IntegerEngine
    rasters: Mapping[str, Array]
    batch: int
    steps: int
    result: IntegerResult
    chosen: slice
    now: IntegerState | None
    sources: dict[str, Source] = field(init=False)

    def __post_init__(self) -> None:
        self.sources = {name: Source(raster, self.engine.device) for name, raster in self.rasters.items()}

    def component(self, names: tuple[str, ...]) -> None:
        incoming = self.engine.network.incoming
        if len(names) == 1 and all(is_own(each) for each in incoming[names[0]] if each.source == names[0]):
            self._forward(names[0])
        else:
            self._recur(names)

    def _forward(self, name: str) -> None:
        engine, projections = self.engine, self.engine.network.incoming[name]
        gathered = [each for each in projections if isinstance(each.connection, IntegerDense) and each.delay is None]
        gathered = [each for each in gathered if each.source != name]
        others = [each for each in projections if each not in gathered and each.source != name]
        begun = self._under_way(name)
        drive = self._drive(name, others, begun) if others or begun is not None else None
        call = self._call(name)
        for projection in gathered:
            self._add_path(call, projection, "values" if projection.message_bits else "groups")
        state = {} if self.now is None else self._state(name)
        shown = self._add_population(call, name, drive, **state)
        blocks = blocks_of(engine.network.populations[name].n, engine.lanes[name])
        call.run("forward", call.chunks() * blocks)
        self._keep(name, shown, state)

    def _recur(self, names: tuple[str, ...]) -> None:
        network = self.engine.network
        inside = [each for each in network.projections if each.source in names and each.target in names]
        inside.sort(key=lambda each: names.index(each.source))
        drives = {name: self._drive(name, [each for each in network.incoming[name] if each.source not in names],
                                    self._under_way(name)) for name in names}
        call = self._call(names[0])
        most = max(network.size(name) for name in names)
        for projection in inside:
            for table in self.engine.tables(projection):
                call.add(PATH, {**table.numbers, "source": names.index(projection.source)},
                         {**table.tensors, "drive": drives[projection.target]})
        states = {name: self._state(name) for name in names}
        shown = {name: self._add_population(call, name, drives[name], **states[name]) for name in names}
        call.arguments.most = most
        call.run("recur", self.batch, listed=self._zeros((self.batch, most)), scratch=self._zeros((self.batch, most)))
        for name in names:
            self._keep(name, shown[name], states[name])

    def keep_under_way(self) -> None:
        """What spikes of the last columns bring in later ones, and what was under way before and still is."""
        if self.now is None:
            return
        for name, late in columns_under_way(self.engine.network).items():
            last = min(self.steps, late)
            begun = self._under_way(name) if self.steps < late else None
            ends = self._drive(name, self.engine.network.incoming[name], begun, last + late, self.steps - last)
            self.now.under_way[name][self.chosen] = ends[:, last:].cpu().numpy()

    def _under_way(self, name: str) -> Tensor | None:
        """(batch, columns, n): what is under way when the run begins; None: nothing."""
        if self.now is None or not (found := self.now.under_way[name][self.chosen]).any():
            return None
        return torch.from_numpy(found).to(self.engine.device)

    def _state(self, name: str) -> dict[str, Tensor]:
        """`u` and `v`, which the kernel starts from and leaves as they are at the end."""
        if self.now is None:
            return {key: self._zeros((self.batch, self.engine.network.size(name))) for key in ("u", "v")}
        return {key: torch.from_numpy(each[name][self.chosen]).to(self.engine.device)
                for key, each in (("u", self.now.u), ("v", self.now.v))}

    def _drive(self, name: str, projections: Iterable[IntegerProjection], begun: Tensor | None,
               columns: int | None = None, first: int = 0) -> Tensor:
        """(batch, columns, n), of all columns unless stated: `begun`, and what projections bring of the spikes from
        column `first` on, which is column 0 of it."""
        engine, n = self.engine, self.engine.network.size(name)
        columns = self.steps if columns is None else columns
        drive = self._zeros((self.batch, columns, n))
        if begun is not None:
            drive[:, :begun.shape[1]] = begun[:, :columns]
        on_host = engine.device.type in HOSTS
        for projection in projections:
            source = self.sources[projection.source].since(first)
            lists = source.lists("values" if projection.message_bits else "ones")
            for table in engine.tables(projection):
                call = self._call(name, columns)
                tasks = self.batch if on_host else self.batch * source.columns
                call.add(PATH, {**table.numbers, "columns": source.columns}, {
                    **table.tensors, "begins": lists.begins, "ends": lists.ends, "indices": lists.indices,
                    "values": lists.values, "drive": drive})
                call.run("deliver", tasks, scratch=self._zeros((tasks, n)) if table.scratch else None)
        return drive

    def _call(self, name: str, columns: int | None = None) -> Call:
        return Call(self.engine.device, self.engine.lanes[name], self.steps if columns is None else columns, self.batch)

    def _add_path(self, call: Call, projection: IntegerProjection, way: Any) -> None:
        source = self.sources[projection.source]
        lists = source.lists(way)
        (table,) = self.engine.tables(projection, lists.grouped)
        call.add(PATH, {**table.numbers, "columns": source.columns}, {
            **table.tensors, "begins": lists.begins, "ends": lists.ends, "indices": lists.indices,
            "values": lists.values})

    def _add_population(self, call: Call, name: str, drive: Tensor | None, **state: Tensor) -> dict[str, Tensor]:
        """Returns what the kernel writes: `spikes`, and `u` and `v` where they are wanted."""
        population = self.engine.network.populations[name]
        shown = {"spikes": self._written(self.result.spikes, name, torch.uint8)}
        if name in self.result.u:
            shown |= {"u": self._written(self.result.u, name, torch.int32),
                      "v": self._written(self.result.v, name, torch.int32)}
        call.add(POPULATION, {
            "n": population.n, "left_u": 4095 - population.du, "left_v": 4096 - population.dv,
            "threshold": population.threshold << 6,
        }, {"bias": self.engine.bias(population), "own": self.engine.own(name), "drive": drive,
            "spikes": shown["spikes"], "u_shown": shown.get("u"), "v_shown": shown.get("v"), **state})
        return shown

    def _written(self, into: Mapping[str, Array], name: str, dtype: torch.dtype) -> Tensor:
        """Where a kernel writes (batch, time, n): the result itself where that lies on the device."""
        if name in into and self.engine.device.type == "cpu":
            return torch.from_numpy(into[name][self.chosen])
        return empty((self.batch, self.steps, self.engine.network.size(name)), dtype, self.engine.device)

    def _keep(self, name: str, shown: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        self.sources[name] = Source(shown["spikes"], self.engine.device)
        for key, of in (("spikes", self.result.spikes), ("u", self.result.u), ("v", self.result.v)):
            if name in of and shown[key].device.type != "cpu":
                of[name][self.chosen] = shown[key].cpu().numpy()
        if self.now is not None and self.engine.device.type != "cpu":
            for key, now in (("u", self.now.u), ("v", self.now.v)):
                now[name][self.chosen] = state[key].cpu().numpy()

    def _zeros(self, shape: tuple[int, ...]) -> Tensor:
        return zeros(shape, torch.int32, self.engine.device)
