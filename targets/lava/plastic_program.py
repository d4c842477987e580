"""The handle of a plastic network as a program for Lava that learns: saved, loaded, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.facts import is_whole
from ...ir.integer.inputs import Rasters, check_rasters
from ...ir.integer.plastic import PlasticNetwork
from ...ir.integer.plastic_checks import verify_plastic
from ...ir.integer.plastic_signals import Signals, check_signals, said
from ...ir.integer.plastic_state import PlasticState, check_plastic_state, first_plastic_state
from ...ir.integer.plastic_step import PlasticRecords
from ...ir.nodes import Array
from ...runtime.lava.worker import LavaWorker
from .chips import ChipLimit, chip_limits
from .folder import LavaFolder
from .parts import keys_of, keys_of_projections
from .plastic_emit import FORMAT, LARGEST, plastic_files, plastic_of, signal_keys

__all__ = ["LavaLearning", "PlasticLavaProgram"]

_RECORDS = ("spikes", "v", "error", "weight", "tag")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LavaLearning:
    """`spikes`: by population, (time, n) int8; `weight` and `tag`: by projection that learns, (post, pre) int64 at the
    end; `records`: what was asked for, after every so many columns, (times, …)."""

    spikes: Mapping[str, Array]
    weight: Mapping[str, Array]
    tag: Mapping[str, Array]
    records: PlasticRecords


class PlasticLavaProgram(LavaFolder):
    """`plastic`: what it runs; `files`: the program by file name; `limits`: what a chip could not run.

    Raises:
        BadInputError: the network is malformed (SC101 to SC149).
        UnsupportedError: Lava has no process for a part of it (SC559).
    """

    FORMAT: ClassVar[str] = FORMAT

    def __init__(self, plastic: PlasticNetwork) -> None:
        self.plastic = verify_plastic(plastic)
        self.limits: tuple[ChipLimit, ...] = chip_limits(plastic)
        super().__init__(plastic_files(plastic), {"chips": [asdict(each) for each in self.limits]})

    @classmethod
    def _read(cls, told: Any, arrays: Mapping[str, Array]) -> Self:
        return cls(plastic_of(told, arrays))

    def run(self, inputs: Rasters, signals: Signals | None = None, steps: int | None = None, *,
            weights: Mapping[str, Any] | None = None, record: Sequence[str] = (), every: int = 1,
            worker: LavaWorker | None = None, time_limit: float = float("inf"), patience: float = 300.0,
            progress: Callable[[float], None] | None = None) -> LavaLearning:
        """Runs the network in Lava over one stream, from before its first column, without tags and traces.

        Args:
            inputs, signals, steps: as `simulate_plastic`.
            weights: by projection that learns, (post, pre), to begin with; those of the network where none are given.
            record: of "v", "error", "weight" and "tag", and "spikes" of the populations that no output shows.
            every: columns from one record to the next; the first is after so many.
            worker: what runs it; without one, Lava is started for this run alone.
            time_limit, patience, progress: as `LavaWorker.run`.

        Raises:
            BadInputError: a raster, a signal, the weights, `every` (SC403) or `record` (SC407) is malformed.
            LavaError: as `LavaWorker.run`.
        """
        network, signals = self.plastic.network, Signals() if signals is None else signals
        given = {name: np.asarray(raster)[None] for name, raster in inputs.items()}
        longest = max([said(signals), *(each.shape[1] for each in given.values() if each.ndim > 1)])
        rasters, _, columns = check_rasters(network, given, longest if steps is None else steps)
        control, reward, told = check_signals(self.plastic, signals, columns)
        begin = self._begin(weights or {})
        faults = Diagnostics()
        if not (is_whole(every) and every >= 1):
            faults.add("SC403", "every is a whole number of columns", value=repr(every)[:80], limit=">= 1")
        if unknown := sorted(set(record) - set(_RECORDS)):
            faults.add("SC407", "this cannot be recorded", value=", ".join(unknown), limit=", ".join(_RECORDS))
        if not faults.errors and (values := self._values(record, columns, every, begin)) > LARGEST:
            faults.add("SC403", "the run is given and notes more values than there is room for", value=values,
                       limit=LARGEST, remedy="Run fewer columns, and go on by weights=, or record less often (every=).")
        faults.raise_if_errors()
        if not columns:
            return self._told({}, record, columns, every, begin)
        keys, graded = keys_of(network), {each.source for each in network.projections if each.message_bits}
        arrays = {keys[name]: (raster[0] if name in graded else raster[0] != 0)[:columns].astype(np.int32)
                  for name, raster in rasters.items()}
        if self.plastic.neurons:
            arrays["control"] = control.astype(np.int32)
            if any(neuron.error == "reward" for neuron in self.plastic.neurons.values()):
                arrays["reward"] = reward.astype(np.int32)
            arrays |= {key: told[name].astype(np.int32) for (name, _), key in signal_keys(self.plastic).items()}
        arrays |= {f"{self._synapses[name]}.weight": begin[name].astype(np.int32) for name in weights or {}}
        found = self._found(worker, arrays, columns, record, ("--every", str(every)), time_limit,
                            patience, progress)
        return self._told(found, record, columns, every, begin)

    @property
    def _synapses(self) -> dict[str, str]:
        return keys_of_projections(self.plastic.network, (*self.plastic.network.projections, *self.plastic.feedback))

    def _begin(self, weights: Mapping[str, Any]) -> dict[str, Array]:
        """The weights of all that learns before the first column."""
        state: PlasticState = first_plastic_state(self.plastic)
        if unknown := sorted(set(weights) - set(state.learning)):
            raise BadInputError(Diagnostic("SC403", "weights are given for what does not learn",
                                           value=", ".join(unknown), limit=", ".join(state.learning)))
        learning = {name: replace(each, weight=np.asarray(weights.get(name, each.weight)))
                    for name, each in state.learning.items()}
        check_plastic_state(self.plastic, replace(state, learning=learning))
        return {name: each.weight for name, each in learning.items()}

    def _values(self, record: Sequence[str], columns: int, every: int, begin: Mapping[str, Array]) -> int:
        """That a run is given and notes."""
        network, neurons = self.plastic.network, self.plastic.neurons
        somas = sum(each.n for each in network.populations.values())
        learning, synapses = sum(map(network.size, neurons)), sum(each.size for each in begin.values())
        noted = {"v": somas, "error": learning, "weight": synapses, "tag": synapses}
        return (columns * (sum(map(network.size, network.inputs)) + learning + 2 * bool(neurons) + somas)
                + columns // every * sum(noted.get(each, 0) for each in dict.fromkeys(record)))

    def _told(self, found: Mapping[str, Array], record: Sequence[str], columns: int, every: int,
              begin: Mapping[str, Array]) -> LavaLearning:
        """The results by the names of the network; without columns, nothing was found."""
        network, keys, synapses = self.plastic.network, keys_of(self.plastic.network), self._synapses
        shown = dict.fromkeys(network.populations if "spikes" in record else network.outputs.values())

        def noted(variable: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
            return {name: found[f"noted/{(keys | synapses)[name]}.{variable}"].astype(np.int64) if found
                    else np.zeros((columns // every, *shape), dtype=np.int64)
                    for name, shape in shapes.items() if variable in record}

        somas = {name: (network.size(name),) for name in network.populations}
        dendrites = {name: somas[name] for name in self.plastic.neurons}
        matrices = {name: each.shape for name, each in begin.items()}
        return LavaLearning(
            spikes={name: found[f"{keys[name]}.spikes"].astype(np.int8) if found else
                    np.zeros((columns, *somas[name]), dtype=np.int8) for name in shown},
            weight={name: found[f"{synapses[name]}.weight"].astype(np.int64) if found else each
                    for name, each in begin.items()},
            tag={name: found[f"{synapses[name]}.tag"].astype(np.int64) if found else np.zeros_like(each)
                 for name, each in begin.items()},
            records=PlasticRecords(v=noted("v", somas), error=noted("error", dendrites),
                                   weight=noted("weight", matrices), tag=noted("tag", matrices)))
