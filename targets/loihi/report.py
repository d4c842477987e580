"""What a program for Loihi is made of, what was lost on the way, where it lies on the chip, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from ...ir.chip import Chip, ChipLimit
from ...ir.grid import Discretization
from ..tables import Table
from .counts import Activity, Counts
from .energy import LABEL, EnergyEstimate, estimate
from .energy_profile import EnergyProfile, own_profile
from .flows import Flows
from .measurement import Measurement
from .rows import (
    LAVA_COLUMNS,
    CoreRow,
    LayerRow,
    PopulationRow,
    ProjectionRow,
    core_rows,
    layer_rows,
    letters,
    population_rows,
    projection_rows,
)

if TYPE_CHECKING:
    from .program import LoihiProgram

__all__ = ["LoihiReport", "distribution"]

_FLOWS = 10
_ONE_EACH = "There are no rates: these are one spike a column of every input and neuron."
_NO_RATES = "Operations are not known without rates: give data (--data FILE), or compile with calibration data."
_NO_PROFILE = ("There is no published table of what operations of this chip cost: give a profile of your own figures "
               "(--profile FILE, as targets/loihi/profiles/loihi1.toml).")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LoihiReport:
    """Rows of the program's parts. `counts` and `energy` are None where no rates are known; `energy` also where there
    is no profile. `measurement`: of the data, if there were any."""

    target: str
    chip: Chip
    chips_used: int
    grid: Discretization
    layers: tuple[LayerRow, ...]
    populations: tuple[PopulationRow, ...]
    projections: tuple[ProjectionRow, ...]
    cores: tuple[CoreRow, ...]
    flows: Flows
    counts: Counts | None
    energy: EnergyEstimate | None
    measurement: Measurement | None

    @classmethod
    def of(cls, program: LoihiProgram, measurement: Measurement | None = None,
           profile: EnergyProfile | None = None) -> Self:
        """The report on a program. `profile`: what operations cost; by default what is published for the chip."""
        network, mapping = program.quantised.network, program.mapping
        rates = program.rates if measurement is None else measurement.rates
        flows = Flows.of(network, mapping, rates)
        peaks = measurement.peaks if measurement is not None else (
            None if program.calibration is None else program.calibration.peaks)
        counts = energy = None
        if rates is not None:
            activity = Activity.of_rates(network, rates) if measurement is None else measurement.activity
            counts = Counts.count(network, activity)
            profile = own_profile(program.target) if profile is None else profile
            energy = None if profile is None else estimate(counts, profile, mapping, flows)
        return cls(
            target=program.target, chip=mapping.chip, chips_used=mapping.chips_used, grid=program.grid,
            layers=layer_rows(network), populations=population_rows(program.quantised, peaks),
            projections=projection_rows(program.quantised), cores=core_rows(mapping, flows, counts), flows=flows,
            counts=counts, energy=energy, measurement=measurement)

    @property
    def neurons(self) -> int:
        """Of all populations."""
        return sum(row.neurons for row in self.populations)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, as `--json` prints it."""
        measured = self.measurement
        return {
            "target": self.target, "discretization": asdict(self.grid), "neurons": self.neurons,
            "chip": {"name": self.chip.name, "cores": self.chip.cores.value, "chips_used": self.chips_used,
                     "mesh": [self.chip.width.value, self.chip.height.value],
                     "limits": {name: asdict(limit) for name, limit in self.chip.limits.items()}},
            "layers": [asdict(row) for row in self.layers],
            "populations": [asdict(row) for row in self.populations],
            "projections": [asdict(row) for row in self.projections],
            "cores": [asdict(row) for row in self.cores],
            "traffic": self.flows.as_dict() | {"rates_known": self.counts is not None},
            "counts": None if self.counts is None else self.counts.as_dict(),
            "energy": None if self.energy is None else self.energy.as_dict(),
            "measurement": None if measured is None else {
                "samples": measured.samples, "columns": measured.columns,
                "accuracy": {name: {"model": pair[0], "chip": pair[1]} for name, pair in measured.accuracy.items()},
                "drift": {each.name: {"model": float(each.model.sum()), "chip": float(each.chip.sum()),
                                      "relative": each.relative, "differing": each.differing}
                          for each in measured.drifts}},
        }

    def __str__(self) -> str:
        return "\n\n".join([self.headline, *(f"{table}" for table in self.tables()), self.core_map()])

    @property
    def headline(self) -> str:
        """Chip and grid."""
        grid, chip = self.grid, self.chip
        return "\n".join([
            f"target {self.target}: {self.neurons:,} neurons on {len(self.cores)} of {chip.cores.value} cores"
            + (f" of each of {self.chips_used} chips" if self.chips_used > 1 else ""),
            f"grid: dt = {grid.dt:g} s, spike = {grid.spike}, integrator = {grid.integrator}, reset = {grid.reset}, "
            f"delay = {grid.delay}, fires {grid.fires} its threshold, {grid.spikes} a column",
        ])

    def tables(self) -> Iterator[Table]:
        """All tables, in the order in which they are shown."""
        yield self._layers()
        yield self._populations()
        yield self._projections()
        if self.measurement is not None:
            yield from _measured(self.measurement)
        yield distribution(self.cores, self.chip, self.chips_used)
        yield self._traffic()
        if self.counts is not None:
            yield from _counted(self.counts)
        yield _energy(self.energy, self.counts is not None)
        if self.energy is not None:
            yield _figures(self.energy.profile)

    def core_map(self) -> str:
        """The mesh of each chip: a letter a core, a cell a router, a dot where nothing lies."""
        legend = letters(self.cores)
        lines = ["Core map"]
        for chip in range(self.chips_used):
            lines.append(f"chip {chip}, {self.chip.width.value} x {self.chip.height.value} routers of "
                         f"{self.chip.at_router.value} cores")
            cells: dict[tuple[int, int], dict[int, str]] = {}
            for core in self.cores:
                if core.chip == chip:
                    cells.setdefault((core.x, core.y), {})[core.core] = legend[core.label]
            lines += ["  " + " ".join(
                "".join(cells.get((x, y), {}).get(core, ".") for core in range(self.chip.at_router.value))
                for x in range(self.chip.width.value)) for y in range(self.chip.height.value)]
        counted = Counter(core.label for core in self.cores)
        return "\n".join([*lines, *(f"  {letter}  {label} ({counted[label]} core{'s' if counted[label] > 1 else ''})"
                                    for label, letter in legend.items())])

    def _layers(self) -> Table:
        return Table(
            "Layers", ("Type", "W", "H", "C", "ker", "str", "pad", "dil", "grp", "delay", "from", "to"),
            tuple((row.type, f"{row.width}", f"{row.height}", f"{row.channels}", row.kernel, row.stride, row.padding,
                   row.dilation, _or_blank(row.groups), str(row.delay), row.source, row.name) for row in self.layers),
            ("delay: columns of the slowest synapse beyond the one that each takes.",))

    def _populations(self) -> Table:
        return Table(
            "Populations in the numbers of a core",
            ("population", "neurons", "vth", "scale", "dv", "membrane decay", "du", "current decay", "bias exp",
             "latency", "peak u", "peak v"),
            tuple((row.name, f"{row.neurons:,}", f"{row.threshold}", _span(row.scale), f"{row.dv}",
                   _decays(row.membrane), f"{row.du}", _decays(row.current), _or_blank(row.bias_exponent),
                   f"{row.latency}", *(("", "") if row.peaks is None else (f"{each:.1%}" for each in row.peaks)))
                  for row in self.populations),
            ("scale: v of the core for a unit of the model's membrane. decay: what is left after a column, wanted and "
             "held. latency: columns. peak: the largest magnitude that data showed, of a register of 24 bits; beyond "
             "it u wraps around, and v is clipped.",))

    def _projections(self) -> Table:
        return Table(
            "Weights",
            ("from", "to", "weights", "sign", "bits", "exponent", "scale", "saturated", "SQNR dB"),
            tuple((row.source, row.target, f"{row.weights:,}", row.sign, f"{row.weight_bits}", f"{row.exponent}",
                   _span(row.factor), f"{row.saturated:.2%}", "∞" if row.sqnr is None else f"{row.sqnr:.1f}")
                  for row in self.projections),
            ("scale: of what arrives, for a unit of weight; a mantissa times 2^exponent.",))

    def _traffic(self) -> Table:
        flows = self.flows
        rows = tuple(
            (self.cores[source].place, self.cores[source].label, self.cores[target].place, self.cores[target].label,
             f"{sent:.4g}", f"{distance}")
            for source, target, sent, distance in zip(
                flows.source[:_FLOWS].tolist(), flows.target[:_FLOWS].tolist(), flows.sent[:_FLOWS].tolist(),
                flows.distance[:_FLOWS].tolist(), strict=True))
        notes = [f"All {len(flows.sent)} flows: {flows.between:.4g} spikes a column between cores over "
                 f"{flows.hops:.4g} hops, {flows.between_chips:.4g} of them between chips; {flows.inputs:.4g} from "
                 "inputs to cores."]
        return Table("Traffic between cores: the largest flows, spikes a column",
                     ("core", "of", "to core", "of", "spikes", "hops"), rows,
                     (*notes, *(() if self.counts is not None else (_ONE_EACH,))))


def distribution(cores: Sequence[CoreRow], chip: Chip, chips_used: int,
                 columns: Mapping[str, str] = LAVA_COLUMNS) -> Table:
    """The fullest of cores alike, against what a core holds. `columns`: resources and their headings."""
    limits, rows = chip.limits, []
    for label, found in groupby(cores, key=lambda core: core.label):
        alike = list(found)
        rows.append((*(_used(max(core.loads[name] for core in alike), limits[name]) for name in columns),
                     f"{len(alike)}", label))
    unsure = [columns[name] for name in columns if not limits[name].verified]
    notes = [f"Total: {len(cores)} of {chips_used * chip.cores.value} cores. Of cores alike, the "
             "fullest: used/limit and share. Synapses: bits."]
    if unsure:
        notes.append(f"Limits that no first-hand source confirms: {', '.join(unsure)}.")
    return Table("Per core distribution:", (*columns.values(), "Cores", "Layer"), tuple(rows), tuple(notes))


def _measured(measurement: Measurement) -> Iterator[Table]:
    yield Table(
        "Spikes of the model and of the chip, a sample",
        ("population", "model", "chip", "drift", "counts that differ"),
        tuple((each.name, f"{each.model.sum():,.2f}", f"{each.chip.sum():,.2f}",
               "-" if each.relative is None else f"{each.relative:+.2%}", f"{each.differing:.2%}")
              for each in measurement.drifts),
        (f"{measurement.samples:,} samples of {measurement.columns} columns on the chip; the model in float64 on its "
         "grid.",))
    if measurement.accuracy:
        yield Table(
            "Accuracy", ("output", "model", "chip", "difference"),
            tuple((name, f"{model:.2%}", f"{chip:.2%}", f"{100 * (chip - model):+.2f} points")
                  for name, (model, chip) in measurement.accuracy.items()),
            ("The answer is the neuron with most spikes, of a readout that with the highest membrane.",))


def _counted(counts: Counts) -> Iterator[Table]:
    per = "a sample" if counts.samples else "a column, at the rates of the calibration data"
    yield Table(
        f"Spikes, {per}", ("population", "neurons", "spikes", "rate", "busiest", "silent", "ActivationSparsity",
                           "MembraneUpdates"),
        tuple((each.name, f"{each.neurons:,}", f"{each.spikes:,.2f}", f"{each.rate:.4f}", f"{each.busiest:.3f}",
               f"{each.silent:,}", f"{each.activation_sparsity:.4f}",
               "" if each.membrane_updates is None else f"{each.membrane_updates:,.1f}")
              for each in (*counts.inputs, *counts.populations)),
        ("rate: spikes a neuron and column; silent: neurons that never fire.",))
    total = counts.synaptic_operations
    yield Table(
        f"Synaptic operations, {per}", ("from", "to", "Effective_ACs", "Effective_MACs", "Dense", "ConnectionSparsity"),
        tuple((each.source, each.target, f"{each.effective_acs:,.1f}", f"{each.effective_macs:,.1f}",
               f"{each.dense:,.0f}", f"{each.connection_sparsity:.4f}") for each in counts.projections),
        (f"Total: {total['Effective_ACs']:,.1f} Effective_ACs, {total['Effective_MACs']:,.1f} Effective_MACs, "
         f"{total['Dense']:,.0f} Dense; ActivationSparsity {counts.activation_sparsity:.4f}, ConnectionSparsity "
         f"{counts.connection_sparsity:.4f}, ParameterCount {counts.parameter_count:,}, Footprint "
         f"{counts.footprint:,} bytes.",))


def _energy(energy: EnergyEstimate | None, counted: bool) -> Table:
    title = f"Energy and time: {LABEL}"
    if energy is None:
        return Table(title, (), (), (_NO_PROFILE if counted else _NO_RATES,))

    parts = [*((f"dynamic, {part}", joules) for part, joules in energy.dynamic.items()), ("static", energy.static),
             ("all", energy.joules)]
    rows = tuple((name, _unit(joules, "J"), _unit(
        None if joules is None or energy.columns is None else joules * energy.columns, "J")) for name, joules in parts)
    notes = [f"Time: {_unit(energy.seconds, 's')} a column, {_unit(energy.seconds_per_inference, 's')} an inference; "
             f"energy-delay product {_unit(energy.energy_delay, 'Js')}."]
    if energy.left_out:
        notes.append(f"Not in it: {'; '.join(energy.left_out)}.")
    return Table(title, ("part", "a column", "an inference"), rows, tuple(notes))


def _figures(profile: EnergyProfile) -> Table:
    units = {"energy": "J", "time": "s", "power": "W"}
    return Table(f"Figures of the estimate: {profile.name}", ("kind", "of", "value", "source"), tuple(
        (kind, name.replace("_", " "), _unit(figure.value, units[kind]), figure.source)
        for kind, name, figure in profile.rows()), (profile.note,) if profile.note else ())


def _used(used: int, limit: ChipLimit) -> str:
    return f"{used}/{limit.value} {used / max(limit.value, 1):.0%}"


def _or_blank(value: int | None) -> str:
    return "" if value is None else str(value)


def _span(values: tuple[float, float]) -> str:
    low, high = values
    return f"{low:.5g}" if low == high else f"{low:.5g}..{high:.5g}"


def _decays(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.5f} {pair[1]:.5f}"


def _unit(value: float | None, unit: str) -> str:
    """With a prefix of three decimals."""
    if value is None:
        return "-"
    for prefix, size in (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9), ("p", 1e-12), ("f", 1e-15)):
        if value >= size:
            return f"{value / size:.3f} {prefix}{unit}"
    return f"{value:.3g} {unit}"
