"""Writes the tables of docs/*.md and of the README from benchmarks/results/*.json.

    python benchmarks/tables.py            rewrites what stands between <!-- bench:NAME:start --> and the same with end
    python benchmarks/tables.py --check    exit code 1 where a table is not what the results say
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tables_analog
import tables_flow
import tables_gradients
import tables_learning
import tables_loihi
import tables_reproduced
from common import HERE, read_result
from table_parts import NotMeasured, Unsettled, figures, measured, number, table

ROOT = HERE.parent
_PAGES = ("benchmarks", "results", "conversion", "learning", "brainscales2", "dynapse2", "xylo", "plasticity-processor",
          "equations", "differentiable-synapse")
FILES = (*(ROOT / "docs" / f"{page}.md" for page in _PAGES), ROOT / "README.md")
BLOCK = re.compile(r"<!-- bench:(?:(?P<name>\w+):)?start -->\n.*?<!-- bench:(?:\w+:)?end -->", re.DOTALL)
TASKS = {
    "mnist": "784-350-10, batch 50", "yin_yang": "5-120-3, batch 150", "recurrent": "700-256-20 recurrent, batch 32",
}
NETWORKS = {"mlp": "MLP", "conv": "convolutions"}

SOURCES = (*tables_gradients.SOURCES, *tables_reproduced.SOURCES, "steps", "convolution",
           "time_to_accuracy", "clock_speed", "conversion", "scaling_size", "scaling_start",
           "importing", *tables_loihi.SOURCES, *tables_learning.SOURCES, *tables_analog.SOURCES,
           *tables_flow.SOURCES)
"""The results that the summary is written from."""


def steps() -> str:
    """Training steps of all contestants."""
    rows = []
    for task, found in figures("steps")["tasks"].items():
        for name, row in found["rows"].items():
            version = row["versions"].get(name.split(",")[0], "")
            rows.append((TASKS[task], f"{name.split(',')[0]} {version}{name[len(name.split(',')[0]):]}".strip(),
                         number(row["cpu_ms"]), number(row["times_spikec"]), number(row["hidden_spikes"]),
                         number(row["output_spikes"]) if row["output_spikes"] else "–",
                         "yes" if row["spikes_within_20_percent"] else "no"))
    head = ("task", "simulator", "CPU ms a step", "times spikec", "hidden spikes a sample", "output spikes a sample",
            "spikes within 20 %")
    return f"{table(head, rows)}\n\n{measured('steps')}"


def limits() -> str:
    """The arithmetic limit."""
    found = figures("steps")
    rows = []
    for task, part in found["tasks"].items():
        rows.append((TASKS[task], f"{part['synaptic_events'] / 1e6:.2f} M", number(part["limit_ms"]),
                     number(part["rows"]["spikec"]["cpu_ms"]), number(part["times_limit"])))
    head = "task", "synaptic events", "limit, ms", "spikec, ms", "times the limit"
    return (f"{table(head, rows)}\n\nMeasured peak of one core: {number(found['peak_gfma'])} GFMA/s in float32. "
            f"{measured('steps')}")


def convolution() -> str:
    """A synaptic event of a dense network and of a convolutional one, and a step of the latter beside snnTorch."""
    found = figures("convolution")
    rows = [(name, f"{row['synaptic_events_a_sample'] / 1e6:.2f} M", number(row["forward_ns_an_event"]),
             number(row["step_ns_an_event"])) for name, row in found["networks"].items()]
    ratios = [number(found["convolutional_over_dense"][name]) for name in ("forward", "step")]
    events = table(("network", "synaptic events a sample", "forward, ns an event", "training step, ns an event"),
                   [*rows, ("times dense", "", *ratios)])
    ours = found["networks"]["15C5-P2-40C5-P2-300-10"]
    wanted = list(ours["spikes_a_sample"].values())
    steps_taken = [("spikec", number(ours["step"]["cpu_ms"]), "1", ", ".join(map(number, wanted)), "")]
    steps_taken += [(f"snntorch {row['versions']['snntorch']}, steps of {step} ms", number(row["cpu_ms"]),
                     number(row["times_spikec"]), ", ".join(map(number, row["spikes"])),
                     "yes" if all(abs(one - other) <= 0.2 * other
                                  for one, other in zip(row["spikes"], wanted, strict=True)) else "no")
                    for step, row in found["snntorch_by_step_ms"].items()]
    beside = table(("simulator", "CPU ms a step", "times spikec", "spikes a sample, by layer", "spikes within 20 %"),
                   steps_taken)
    return f"{events}\n\n{beside}\n\n{measured('convolution')}"


def scaling() -> str:
    """Growth with events and with size."""
    rows = []
    for kind, found in figures("scaling_events").items():
        first, last = found["points"][0], found["points"][-1]
        rows.append((f"events, {kind}", f"{number(first['events'])} to {number(last['events'])} events",
                     f"time grows as events to the power {found['time_exponent']:.2f}, "
                     f"memory {found['memory_exponent']:.2f}; {number(found['bytes_per_event'])} bytes an event"))
    size = figures("scaling_size")
    rows += [(f"{point['neurons']:,} neurons, fan-out 100", f"{point['spikes']:,} spikes",
              f"{number(point['us_per_spike'])} µs a spike") for point in size["points"]]
    shared = statistics.median(point["wall_ms"] / point["cpu_ms"] for point in size["points"])
    note = f"Growth with size: CPU time; wall time was {shared:.1f} times that, for a core shared with other work. "
    note = f"{note if shared > 1.2 else ''}{measured('scaling_events', 'scaling_size')}"
    return f"{table(('growth with', 'range', 'found'), rows)}\n\n{note}"


def growth(limit: float) -> float:
    """CPU time a spike of the largest network, of that of the smallest; whether it is below `limit` is not settled
    where the quartiles of their runs lie on both sides of it."""
    points = figures("scaling_size")["points"]
    (small_low, small_high), (large_low, large_high) = (
        [each / point["spikes"] for each in point["cpu_ms_quartiles"]] for point in (points[0], points[-1]))
    found = float(figures("scaling_size")["growth"])
    least, most = large_low / small_high, large_high / small_low
    if least <= limit < most:
        raise Unsettled(f"{found:.1f}; by the quartiles of the runs {least:.1f} to {most:.1f}")
    return found


def start() -> str:
    """First use."""
    found = figures("scaling_start")
    return table(("first use", "seconds"), [
        ("`import spikec`, beyond torch's own import", number(found["import_s"])),
        ("the same, with every public name", number(found["import_with_all_names_s"])),
        ("first compile, empty cache, all cores", number(found["compile_cold_s"])),
        ("first compile, empty cache, one core", number(found["compile_cold_one_core_s"])),
        ("the same, kernels cached", number(found["compile_cached_s"])),
    ]) + f"\n\n{measured('scaling_start')}"


def importing() -> str:
    """Imports of large networks."""
    rows = [(f"{NETWORKS[kind]}, {number(found['parameters'] / 1e6)} M", f"`from_{route}`", number(one["wall_s"]),
             number(one["framework_s"]) if one["framework_s"] else "–", number(one["cpu_s"]),
             f"{one['memory_times_parameters']:.2f}", one["check"] or "–")
            for kind, found in figures("importing").items() for route, one in found["routes"].items()]
    head = ("network", "route", "wall s", "a forward run of the module, s", "CPU s",
            "peak memory, times the parameters", "check")
    return f"{table(head, rows)}\n\n{measured('importing')}"


def worst_import(figure: str) -> float:
    """The largest of one figure of any import."""
    return max(float(one[figure]) for found in figures("importing").values() for one in found["routes"].values())


def threads() -> str:
    """One thread and two."""
    found = figures("scaling_threads")
    rows = [("784-350-10" if name.startswith("mnist") else TASKS[name].split(",")[0], str(one["batch"]),
             number(one["one_thread_wall_ms"]), number(one["two_threads_wall_ms"]), f"{one['gain']:.2f}")
            for name, one in found.items()]
    head = ("task", "batch", "one thread, ms a step", "two threads, ms", "times one")
    return f"{table(head, rows)}\n\n{measured('scaling_threads')}"


def race() -> str:
    """Time to 97.5 %."""
    found = figures("time_to_accuracy")
    rows = [(name, number(found[name]["wall_s"]), number(found[name]["cpu_s"]), number(found[name]["checking_cpu_s"]),
             number(found[name]["epochs"])) for name in ("spikec", "snntorch")]
    seeds = len(found["spikec"]["runs"])
    count = "One training (one seed)" if seeds == 1 else f"Medians of {seeds} trainings"
    best = found["grid_best"]
    grid = [(number(one["lr"]), str(one["batch"]), "yes" if one["reached"] else "no", number(one["cpu_s"]),
             f"{100 * one['best']:.2f}") for one in figures("time_to_accuracy_grid")]
    return "\n\n".join([
        table(("simulator", "wall s", "CPU s", "of it looks at the validation set", "epochs"), rows),
        f"{count} of each. spikec is {number(found['times_faster'])} times faster, and {number(without_looks(found))} "
        f"times without the looks at the validation set. snnTorch ran with the fastest of the {len(grid)} "
        f"configurations that were run (learning rate {number(best['lr'])}, batch {best['batch']}){corner(best)}:",
        table(("learning rate", "batch", "reached 97.5 %", "CPU s", "best accuracy, %"), grid),
        measured("time_to_accuracy", "time_to_accuracy_grid"),
    ])


def without_looks(found: dict[str, Any]) -> float:
    """The ratio of CPU times without those of the looks at the validation set."""
    theirs, ours = (float(found[name]["cpu_s"] - found[name]["checking_cpu_s"]) for name in ("snntorch", "spikec"))
    return theirs / ours


def race_won(seeds: int) -> float:
    """How many times faster spikec is; fewer than `seeds` trainings do not settle whether an aim is met."""
    found = figures("time_to_accuracy")
    run = len(found["spikec"]["runs"])
    if run < seeds:
        raise Unsettled(f"{number(found['times_faster'])} with {run} of {seeds} seeds; {number(without_looks(found))} "
                        "without the looks at the validation set")
    return float(found["times_faster"])


def corner(best: dict[str, Any]) -> str:
    """Where the fastest configuration lies at an edge of those that were run, there may be faster ones beyond it."""
    run = figures("time_to_accuracy_grid")
    edges = [f"the {end} {name} that was run" for key, name in (("lr", "learning rate"), ("batch", "batch"))
             for end, of in (("smallest", min), ("largest", max)) if best[key] == of(one[key] for one in run)]
    return f"; that is {' and '.join(edges)}, so a configuration that was not run may be faster" if edges else ""


def clock() -> str:
    """The clock target beside each framework on its own network."""
    stored = read_result("clock_speed")
    if stored is None:
        raise NotMeasured("clock_speed")
    rows = [
        (f"{row['framework']} {row['version']}", row["mode"], steps,
         *(f"{number(row[what][who]['cpu_ms'])}" for what in ("forward", "training") for who in ("framework", "clock")),
         f"{row['forward']['times_faster_cpu']:.1f} / {row['training']['times_faster_cpu']:.1f}",
         f"{row['gradients_apart']:.0e}" if row["surrogate"] else "other surrogate",
         f"{row['hidden_rate']:.2f}, {row['output_rate']:.2f}")
        for steps, found in stored["figures"].items() for row in found
    ]
    head = ("framework", "mode", "steps", "forward, ms", "clock, ms", "training step, ms", "clock, ms", "times faster",
            "gradients apart", "spikes a neuron and step, hidden, output")
    parameters = stored["parameters"]
    network = "-".join(str(size) for size in parameters["network"])
    return (f"{network}, batch {parameters['batch']}, {parameters['source']}, CPU time on one core.\n\n"
            f"{table(head, rows)}\n\n{measured('clock_speed')}")


def slowest_clock() -> float:
    """The smallest ratio of any framework's CPU time to the clock's."""
    return min(float(row[what]["times_faster_cpu"]) for found in figures("clock_speed").values() for row in found
               for what in ("forward", "training"))


def conversion_accuracy() -> str:
    """The converted network, over the number of steps, and single spikes."""
    found = figures("conversion")
    rate, latency = found["rate"], found["latency"]
    steps = list(rate["accuracy"])
    rows = [("accuracy, %", *(f"{rate['accuracy'][step]:.2f}" for step in steps)),
            ("lost, points", *(f"{rate['lost'][step]:.2f}" for step in steps))]
    return "\n\n".join([
        f"{rate['samples']:,} test images; without spikes {rate['ann']:.2f} %:", table(("steps", *steps), rows),
        f"Latencies, {latency['samples']} images: the outputs differ from the network's own by at most "
        f"{latency['largest_difference']:.0e}; accuracy {latency['accuracy']:.2f} %, without spikes "
        f"{latency['ann']:.2f} %.", measured("conversion")])


def conversion_layers() -> str:
    """Each layer of the converted network against its activations."""
    rows = [(name, f"{layer['neurons']:,}", f"{layer['correlation']:.4f}", number(layer["difference"]),
             number(layer["activation"]), "–" if layer["spikes"] is None else number(layer["spikes"]))
            for name, layer in figures("conversion")["rate"]["layers"].items()]
    return table(("layer", "neurons", "correlation", "mean difference", "mean activation", "spikes a neuron and image"),
                 rows)


def conversion_options() -> str:
    """Accuracy with other options."""
    found = figures("conversion")["variants"]
    first = next(iter(found.values()))
    rows = [(name, *(f"{each:.1f}" for each in row["accuracy"].values())) for name, row in found.items()]
    return (f"Accuracy in % on the first {first['samples']:,} test images (without spikes {first['ann']:.1f}):\n\n"
            + table(("option", *(f"{step} steps" for step in first["accuracy"])), rows))


def _ratio(task: str, peer: str) -> Callable[[], float]:
    return lambda: float(figures("steps")["tasks"][task]["rows"][peer]["times_spikec"])


def _conv_ratio(step_ms: str) -> Callable[[], float]:
    return lambda: float(figures("convolution")["snntorch_by_step_ms"][step_ms]["times_spikec"])


AIMS: tuple[tuple[str, str, Callable[[], float], Callable[[float], bool], str], ...] = (
    ("Gradient against finite differences, worst tensor", "≤ 1e-6",
     tables_gradients.worst, lambda x: x <= 1e-6, "{:.1e}"),
    ("Spike times and derivatives through equal and double time constants", "≤ 1e-9",
     lambda: max(figures("gradients_sweep")["worst"].values()), lambda x: x <= 1e-9, "{:.1e}"),
    ("784-350-10 training step, times faster than snnTorch", "≥ 30",
     lambda: min(_ratio("mnist", name)() for name in ("snntorch", "snntorch, first layer hoisted")),
     lambda x: x >= 30, "{:.3g}"),
    ("The same step, times the arithmetic limit of the core", "≤ 5",
     lambda: figures("steps")["tasks"]["mnist"]["times_limit"], lambda x: x <= 5, "{:.1f}"),
    ("Yin-Yang 5-120-3 step, times faster than jaxsnn's EventProp", "≥ 15", _ratio("yin_yang", "jaxsnn"),
     lambda x: x >= 15, "{:.3g}"),
    ("700-256-20 recurrent step, times faster than jaxsnn's EventProp", "≥ 10", _ratio("recurrent", "jaxsnn"),
     lambda x: x >= 10, "{:.3g}"),
    ("The same, times faster than Norse's adjoint", "≥ 10", _ratio("recurrent", "norse"), lambda x: x >= 10, "{:.3g}"),
    *((f"{what}, times faster than snnTorch at steps of {step} ms", "≥ 10", _conv_ratio(step), lambda x: x >= 10,
       "{:.3g}") for what, step in (("15C5-P2-40C5-P2-300-10 training step", "1"), ("The same", "4"))),
    ("A synaptic event of that training step, over one of the dense 784-800-10", "≤ 2",
     lambda: figures("convolution")["convolutional_over_dense"]["step"], lambda x: x <= 2, "{:.2f}"),
    ("MNIST to 97.5 %, from a cold start, times faster than snnTorch with the fastest settings that were run", "≥ 20",
     lambda: race_won(3), lambda x: x >= 20, "{:.3g}"),
    ("Clock target against each framework on its own 784-512-10, forward and training step, times faster", "≥ 5",
     slowest_clock, lambda x: x >= 5, "{:.1f}"),
    ("MNIST CNN converted to spikes, points of accuracy lost at 32 steps", "≤ 0.3",
     lambda: figures("conversion")["rate"]["lost"]["32"], lambda x: x <= 0.3, "{:.2f}"),
    ("Two threads against one (784-350-10)", "≥ 1.8",
     lambda: figures("scaling_threads")["mnist"]["gain"], lambda x: x >= 1.8, "{:.2f}"),
    ("Time a spike of a recurrent net, 100,000 against 1,000 neurons", "≤ 3",
     lambda: growth(3.0), lambda x: x <= 3, "{:.1f}"),
    ("Import of 10 million parameters beyond the framework's own time, slowest route, s", "< 5",
     lambda: worst_import("beyond_framework_s"), lambda x: x < 5, "{:.2f}"),
    ("The same, peak of extra memory, largest of the routes, times the parameters", "≤ 2",
     lambda: worst_import("memory_times_parameters"), lambda x: x <= 2, "{:.2f}"),
    ("First compile, s", "< 3", lambda: figures("scaling_start")["compile_cold_s"], lambda x: x < 3, "{:.2f}"),
    ("Compile with cached kernels, s", "< 0.1", lambda: figures("scaling_start")["compile_cached_s"],
     lambda x: x < 0.1, "{:.2f}"),
    ("`import spikec` beyond torch's own import, s", "< 0.5", lambda: figures("scaling_start")["import_s"],
     lambda x: x < 0.5, "{:.3f}"),
    *tables_reproduced.AIMS,
    *tables_loihi.AIMS,
    *tables_analog.AIMS,
    *tables_learning.AIMS,
    *tables_flow.AIMS,
)
"""(what, aim, figure, whether it is met, format)."""


def summary() -> str:
    """Aims and what was found."""
    rows = []
    for what, aim, figure, met, form in AIMS:
        try:
            value = figure()
        except Unsettled as unsettled:
            rows.append((what, aim, str(unsettled), "not settled"))
        except (NotMeasured, KeyError):
            rows.append((what, aim, "not measured", "–"))
        else:
            rows.append((what, aim, form.format(value), "yes" if met(value) else "**no**"))
    return f"{table(('what', 'aim', 'found', 'met'), rows)}\n\n{measured(*SOURCES)}"


def machine() -> str:
    """What the summary's figures were measured on; a line for each machine."""
    machines: dict[str, list[str]] = {}
    for name in SOURCES:
        stored = read_result(name)
        if stored is not None:
            record = stored["machine"]
            text = (f"{record['processor']}, {record['cores']} cores; {record['compiler']}; "
                    f"Python {record['python']}, torch {record['versions']['torch']}")
            machines.setdefault(text, []).append(name)
    if not machines:
        raise NotMeasured("steps")
    if len(machines) == 1:
        return f"Machine: {next(iter(machines))}."
    return "\n".join(f"- {', '.join(held)}: {text}." for text, held in machines.items())


TABLES: dict[str, Callable[[], str]] = {
    "steps": steps, "limits": limits, "scaling": scaling, "start": start, "importing": importing,
    "threads": threads, "race": race, "convolution": convolution,
    "clock": clock, "conversion_accuracy": conversion_accuracy, "conversion_layers": conversion_layers,
    "conversion_options": conversion_options, "summary": summary, "machine": machine,
    **tables_gradients.TABLES, **tables_loihi.TABLES,
    **tables_learning.TABLES, **tables_analog.TABLES, **tables_flow.TABLES,
    **tables_reproduced.TABLES,
}


def written(name: str) -> str:
    """One table, or that it was not measured."""
    try:
        return TABLES[name]()
    except NotMeasured as missing:
        return f"Not measured yet (`{missing}`)."


def rewritten(text: str) -> str:
    """`text` with every block between markers as the results say; a block without a name is the summary."""
    def block(match: re.Match[str]) -> str:
        label = match["name"]
        mark = f"{label}:" if label else ""
        return f"<!-- bench:{mark}start -->\n{written(label or 'summary')}\n<!-- bench:{mark}end -->"

    return BLOCK.sub(block, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for path in FILES:
        if not path.exists():
            continue
        before = path.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            stale.append(path)
            if not options.check:
                _replace(path, after)
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'not what the results say' if options.check else 'rewritten'}")
    return 1 if stale and options.check else 0


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
