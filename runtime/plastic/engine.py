"""The emulator of plastic networks: one stream, column by column, bit for bit as `simulate_plastic`, on one core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.integer.learning_numbers import Rounding
from ...ir.integer.learning_step import OF_SIGN
from ...ir.integer.plastic import PlasticNetwork
from ...ir.integer.plastic_checks import verify_plastic
from ...ir.integer.plastic_signals import Signals
from ...ir.integer.plastic_state import PlasticState, check_plastic_state, first_plastic_state, numbered
from ...ir.nodes import Array
from .course import Course, check_course, course_of
from .memory import Memory
from .products import RuleCode, rule_code

__all__ = ["PlasticEngine", "PlasticRun", "PlasticStream"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlasticRun:
    """`counts` (windows, n) int32: spikes of the output in each window; `membranes` (windows, n) int32: its v after the
    last column of each; `spikes`: by population that was to be shown, (columns, n) int8; `state`: where it ends, if
    that was asked for."""

    counts: Array
    membranes: Array
    spikes: Mapping[str, Array]
    state: PlasticState | None = None


class PlasticEngine:
    """Runs a plastic network.

    Args:
        plastic: a legal one.
        rounding: of learning: with Lava's random numbers, or with numbers of one's own for each synapse and neuron.
        output: the population that windows count; None: the one that the network's only output shows.

    Raises:
        BadInputError: the network (SC101 to SC149) or the output (SC403) is malformed.
    """

    def __init__(self, plastic: PlasticNetwork, rounding: Rounding = "synapse", output: str | None = None) -> None:
        self.plastic, self.rounding = verify_plastic(plastic), rounding
        faults, shown = Diagnostics(), list(plastic.network.outputs.values())
        if rounding not in ("lava", "synapse"):
            faults.add("SC403", "learning rounds in one of two ways", value=rounding, limit="lava or synapse")
        if output is None and len(shown) > 1:
            faults.add("SC403", "the network has several outputs, of which windows count one", limit=", ".join(shown),
                       remedy="Give output=.")
        if output is not None and output not in plastic.network.populations:
            faults.add("SC403", "no population of this name can be counted", node=output,
                       limit=", ".join(plastic.network.populations))
        faults.raise_if_errors(BadInputError)
        self.output = shown[0] if output is None else output
        signs = {each.name: each.sign for each in (*plastic.network.projections, *plastic.feedback)}
        found = {name: rule_code(rule, signs[name]) for name, rule in plastic.rules.items()}
        self.codes: tuple[RuleCode, ...] = tuple(dict.fromkeys(found.values()))
        self.code_of = {name: self.codes.index(code) for name, code in found.items()}

    def begin(self, state: PlasticState | None = None) -> PlasticStream:
        """A stream that goes on from `state`, or from the first column.

        Raises:
            BadInputError: the state is malformed (SC403).
        """
        return PlasticStream(self, first_plastic_state(self.plastic) if state is None
                             else check_plastic_state(self.plastic, state))

    def run(self, inputs: Mapping[str, Any], signals: Signals | None = None, state: PlasticState | None = None, *,
            steps: int | None = None, windows: Any = (), spikes: Iterable[str] | None = None,
            learning: bool = True) -> PlasticRun:
        """One stretch of rasters, as of `simulate_plastic`; a stream of many samples `begin`s, and takes lists.

        Args:
            inputs: by input, (time, n) or (time, *shape).
            signals: what columns are, teachers and noise.
            state: where an earlier run ended.
            steps: columns; None: as many as the longest raster or signal has.
            windows: (windows, 2): in which columns, from start to stop, spikes of the output are counted.
            spikes: populations whose spikes are wanted; None: all.
            learning: whether the network learns, as of `simulate_plastic`.

        Raises:
            BadInputError: a raster, a signal, the state or a window is malformed (SC403).
            KernelError: the kernel cannot be built here (SC421, SC422).
        """
        stream = self.begin(state)
        found = stream.run(course_of(self.plastic, inputs, signals, steps), windows, learning=learning,
                           spikes=self.plastic.network.populations if spikes is None else spikes)
        return PlasticRun(counts=found.counts, membranes=found.membranes, spikes=found.spikes, state=stream.state())


class PlasticStream:
    """A network that goes on learning: where it stands, and how it is taken further."""

    def __init__(self, engine: PlasticEngine, state: PlasticState) -> None:
        self.engine = engine
        self._memory = Memory(engine.plastic, engine.rounding, engine.codes, engine.code_of, state)

    def run(self, course: Course, windows: Any = (), *, spikes: Iterable[str] = (),
            learning: bool = True) -> PlasticRun:
        """Takes the stream further by the columns of `course`, in one call of the kernel.

        Args:
            course: inputs and signals.
            windows: (windows, 2): in which columns of it, from start to stop, spikes of the output are counted.
            spikes: populations whose spikes are wanted.
            learning: whether the network learns.

        Raises:
            BadInputError: the course or a window is malformed (SC403).
            KernelError: the kernel cannot be built here (SC421, SC422).
        """
        network = self.engine.plastic.network
        limits = np.asarray(windows, dtype=np.int64).reshape(-1, 2) if np.size(windows) == 0 else np.asarray(windows)
        course = check_course(self.engine.plastic, course, limits)
        n = network.populations[self.engine.output].n
        shown = {name: np.zeros((course.columns, network.populations[name].n), dtype=np.int8) for name in spikes}
        counts, membranes = (np.zeros((len(limits), n), dtype=np.int32) for _ in range(2))
        if course.columns:
            self._memory.run(course, self.engine.output, np.ascontiguousarray(limits, dtype=np.int64), counts,
                             membranes, shown, learning)
        return PlasticRun(counts=counts, membranes=membranes, spikes=shown)

    def state(self) -> PlasticState:
        """Where the stream stands: a copy."""
        return self._memory.state()

    def weights(self, name: str) -> Array:
        """(post, pre) int64: the weights of a dense projection as they are now."""
        return self._memory.weights(name)

    def spikes(self) -> Mapping[str, int]:
        """By population, since figures were last asked for, but for columns that are asleep."""
        return self._memory.spikes()

    def set_weights(self, name: str, weight: Array) -> None:
        """Gives a dense projection, plastic or not, other weights (post, pre), as they are held; a state has those of
        plastic ones alone.

        Raises:
            BadInputError: there is no such projection, or the weights do not fit it (SC403).
        """
        projections = numbered(self.engine.plastic)
        if name not in projections or not self._memory.is_matrix(name):
            raise BadInputError(Diagnostic("SC403", "no dense projection without delays has this name", node=name,
                                           limit=", ".join(filter(self._memory.is_matrix, projections))))
        projection, given = projections[name][1], np.asarray(weight)
        low, high = OF_SIGN[projection.sign]
        if given.shape != projection.connection.weight.shape or given.dtype.kind != "i" or (
                given.size and not low <= given.min() <= given.max() <= high):
            raise BadInputError(Diagnostic("SC403", "weights do not fit their projection", node=name,
                                           value=f"{given.dtype}{given.shape}",
                                           limit=f"{projection.connection.weight.shape}, each {low}..{high}"))
        self._memory.set_weights(name, given)

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """By plastic projection, since they were last asked for: `weights_changed`, `weights_clipped` and
        `tags_clipped`: how often one was, where its bounds cut what it had become; `raised` and `raised_clipped`, how
        often a spike raised a trace of a source, and how often beyond 127; `post_raised` and `post_clipped`, the same
        of targets. By population: `spikes` (awake), and `errors_clipped`, how often an error beyond 127 was said as
        127. By plastic projection too: `weights_at_bounds`, now."""
        return self._memory.figures()
