"""The page docs/api.md, written from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cached_property
from importlib import import_module
from typing import Any

from spikec.ir import nodes

WIDTH = 110
INTRO = """\
# API

Everything that `import spikec` gives, and what these things return. This page is written from the docstrings by
`pytest tests/test_docs.py --update-golden`.

- Times are seconds, everywhere; event times are float64. Voltages, currents and weights are plain numbers.
- `n` is the number of neurons of a node, in C-order over its `shape`. `batch` comes first; a `shape` is that of one
  sample.
- In signatures a `Size` is a whole number or a tuple of them, a `Number` a number or an array, a `Pair` two whole
  numbers, an `Array` one of numpy.
- Every error is a `SpikecError` with its `diagnostics`; the [codes](errors.md) name what can go wrong. Names of
  parameters and of nodes are those of the model, as it was stated.
"""
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Compile, run, save", "", (
        "spikec.compile", "spikec.load", "spikec.Program", "spikec.targets.clock.program.ClockProgram",
        "spikec.targets.event.graded.GradedProgram", "spikec.runtime.graded.outputs.GradedResult",
        "spikec.runtime.outputs.Result", "spikec.targets.event.report.Report", "spikec.Events", "spikec.set_threads",
        "spikec.get_threads")),
    ("Models", "", ("spikec.Builder", "spikec.compiler.frontends.Handle", "spikec.normal", "spikec.uniform",
                    "spikec.Graph", "spikec.Discretization")),
    ("Nodes", "nodes", ()),
    ("Neurons as equations", "What a text may say is in [equations.md](equations.md).", (
        "spikec.equations.adex", "spikec.equations.izhikevich", "spikec.equations.adaptive_lif",
        "spikec.equations.resonate_and_fire", "spikec.equations.lif", "spikec.equations.cubalif",
        "spikec.equations.qif")),
    ("Other frameworks and files", "", (
        "spikec.from_torch", "spikec.from_nir", "spikec.to_nir", "spikec.from_onnx", "spikec.to_onnx",
        "spikec.with_readouts", "spikec.compiler.frontends.load_model", "spikec.compiler.frontends.register",
        "spikec.compiler.frontends.Leaf", "spikec.ir.text.read", "spikec.ir.text.write",
        "spikec.ir.event_files.read_events", "spikec.ir.event_files.read_samples",
        "spikec.ir.event_files.write_events")),
    ("ANN conversion", "Networks without spikes become spiking ones: [conversion.md](conversion.md).", (
        "spikec.convert_ann", "spikec.compiler.ann_conversion.Conversion",
        "spikec.compiler.ann_rates.RateConversion", "spikec.compiler.ann_latencies.LatencyConversion",
        "spikec.compiler.ann_conversion.LayerError", "spikec.ir.activations.activations")),
    ("Validation", "What it does and says is in [validating.md](validating.md).", (
        "spikec.validate", "spikec.compiler.comparison.Comparison", "spikec.compiler.comparison.LayerComparison",
        "spikec.compiler.comparison.Divergence", "spikec.compiler.comparison.LayerPair",
        "spikec.compiler.inspection.inspect_graph")),
    ("Reports on Loihi", "What they hold is in [reports.md](reports.md).", (
        "spikec.targets.loihi.report.LoihiReport", "spikec.targets.loihi.measurement.measure",
        "spikec.targets.loihi.measurement.Measurement", "spikec.targets.loihi.measurement.Drift",
        "spikec.targets.loihi.counts.Counts", "spikec.targets.loihi.energy.EnergyEstimate",
        "spikec.targets.loihi.energy_profile.read_profile", "spikec.compiler.report_page.save_page")),
    ("Chips", "Programs for BrainScaleS-2 and other analog chips, DYNAP-SE2 and Xylo, their options and reports, and "
     "chips of the user's in the place of the emulated ones: what `measure` takes and gives is in "
     "[brainscales2.md](brainscales2.md#a-chip-in-the-place-of-the-emulated-one).", (
         "spikec.targets.analog.program.AnalogProgram", "spikec.targets.analog.options.AnalogOptions",
         "spikec.targets.analog.report.AnalogReport", "spikec.targets.analog.description.read_chip",
         "spikec.runtime.analog.calibration.Calibration", "spikec.runtime.analog.in_the_loop.AnalogModule",
         "spikec.runtime.analog.in_the_loop.MeasureError", "spikec.runtime.analog.worker.ScriptedChip",
         "spikec.runtime.analog.replay.replayed", "spikec.targets.brainscales2.learner.PpuLearner",
         "spikec.passes.ppu_rules.PpuChoices", "spikec.passes.ppu_rules.GateReads",
         "spikec.targets.brainscales2.learner_report.PpuLearnerReport",
         "spikec.targets.dynapse2.program.Dynapse2Program", "spikec.targets.dynapse2.options.Dynapse2Options",
         "spikec.targets.dynapse2.report.Dynapse2Report", "spikec.targets.xylo.program.XyloProgram",
         "spikec.targets.xylo.options.XyloOptions", "spikec.targets.xylo.report.XyloReport",
         "spikec.targets.xylo.in_the_loop.XyloInTheLoop")),
    ("Gradients", "Exact on the target event, by a surrogate on the target clock.", (
        "spikec.runtime.graph_module.GraphModule", "spikec.runtime.module.EventModule",
        "spikec.runtime.measured.MeasuredModule", "spikec.runtime.outputs.Outputs",
        "spikec.runtime.clock.module.ClockModule", "spikec.runtime.clock.outputs.ClockOutputs",
        "spikec.runtime.graded.module.GradedModule", "spikec.runtime.graded.outputs.GradedOutputs")),
    ("Training", "", ("spikec.Trainer", "spikec.runtime.history.History", "spikec.runtime.history.EpochRecord",
                      "spikec.runtime.history.Evaluation", "spikec.runtime.interruption.TrainingInterrupted",
                      "spikec.compiler.learning_page.save_learning")),
    ("Learning rules", "What a rule is, the grammar of its terms and the library are in [learning.md](learning.md).", (
        "spikec.LearningRule", "spikec.ir.learning.rule.Trace", "spikec.ir.learning.rule.Gate",
        "spikec.ir.learning.rule.Update", "spikec.ir.learning.rule.Term", "spikec.ir.learning.rule.Factor",
        "spikec.ir.learning.rule.Error",
        "spikec.ir.learning.rule.Feedback", "spikec.ir.learning.rule.Phase", "spikec.ir.learning.rule.Noise",
        "spikec.ir.learning.terms.terms", "spikec.ir.learning.terms.terms_text", "spikec.ir.learning.checks.check_rule",
        "spikec.ir.learning.checks.verify_rule", "spikec.ir.learning.text.read", "spikec.ir.learning.text.write",
        "spikec.ir.learning.text.parse", "spikec.rules.rule_named", "spikec.rules.LibraryRule", "spikec.rules.biograd",
        "spikec.rules.stdp_pair", "spikec.rules.stdp_triplet", "spikec.rules.reward_stdp", "spikec.rules.e_prop",
        "spikec.rules.superspike", "spikec.rules.soel", "spikec.rules.decolle", "spikec.rules.emstdp",
        "spikec.rules.hebb", "spikec.rules.oja")),
    ("Learners", "What `program.learner(rule)` gives; a trainer drives one. How rules are held on a chip is in "
     "[learning.md](learning.md#on-loihi).", (
         "spikec.runtime.learning.learner.Learner", "spikec.runtime.learning.learner.Answer",
         "spikec.runtime.learning.learner.LearningFigures", "spikec.runtime.learning.clock.optimizers.LocalOptimizer",
         "spikec.targets.loihi.learner.LoihiLearner", "spikec.passes.plastic.ChipChoices",
         "spikec.targets.loihi.learner_report.LearnerReport")),
    ("Losses", "Called as `loss(out, labels)` with the outputs of a module; `output` names the one that is meant where "
     "there are several. What to choose is in [training.md](training.md).", (
         "spikec.losses.FirstSpikeCrossEntropy", "spikec.losses.PseudospikeCrossEntropy",
        "spikec.losses.SpikeTimeMSE", "spikec.losses.VoltageMaxCrossEntropy",
         "spikec.losses.IntegratedVoltageCrossEntropy", "spikec.losses.SpikeCountCrossEntropy",
         "spikec.losses.SpikeCountMSE", "spikec.runtime.graded.losses.IntegratedSquaredError",
         "spikec.losses.LossResult")),
    ("Encoders", "Values become spike times. Every function takes a batch and gives `Events`.", (
        "spikec.encoders.latency", "spikec.encoders.regular", "spikec.encoders.poisson", "spikec.encoders.spikes",
        "spikec.encoders.at_once", "spikec.encoders.yin_yang")),
    ("Recordings", "Structured arrays of event cameras, as tonic's data sets give them, become `Events`.", (
        "spikec.recordings.from_tonic", "spikec.recordings.from_structured", "spikec.recordings.shape_of")),
    ("Data sets", "`spikec data get` fetches them to `data_folder()`; nothing is fetched unasked.", (
        "spikec.datasets.load_digits", "spikec.datasets.load_mnist", "spikec.datasets.load_yin_yang",
        "spikec.datasets.load_fsdd", "spikec.datasets.Dataset", "spikec.datasets.Split", "spikec.datasets.Recordings",
        "spikec.datasets.data_folder", "spikec.datasets.is_present", "spikec.datasets.fetch",
        "spikec.datasets.Part")),
    ("Errors", "`spikec.errors` is the module of these; `spikec.errors.CODES` has every code with its meaning.", (
        "spikec.Diagnostic", "spikec.SpikecError", "spikec.MismatchError", "spikec.DoesNotFitError",
        "spikec.UnsupportedError", "spikec.BadInputError", "spikec.SpikecWarning")),
    ("Reference meanings", "Plain numpy in float64, slow, and independent of the engine: what results are checked "
     "against.", ("spikec.ir.exact.simulate_exact", "spikec.ir.exact.ExactResult", "spikec.ir.step.simulate_step",
                  "spikec.ir.step.StepResult")),
)


def names() -> Iterator[str]:
    """Every name that has an entry."""
    for _, _, entries in SECTIONS:
        yield from entries


def page() -> str:
    """The whole text."""
    parts = [INTRO, "\n".join(f"- [{title}](#{title.lower().replace(',', '').replace(' ', '-')}): "
                              f"{_contents(entries)}" for title, _, entries in SECTIONS)]
    for title, about, entries in SECTIONS:
        parts.append(f"## {title}")
        parts += [_nodes()] if about == "nodes" else [about] if about else []
        parts += [_entry(name) for name in entries]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _contents(entries: tuple[str, ...]) -> str:
    return ", ".join(f"`{name.rpartition('.')[2]}`" for name in entries) or "`spikec.ir.nodes`"


def found(name: str) -> Any:
    """What a dotted name says."""
    home, _, member = name.rpartition(".")
    if home in ("spikec.losses", "spikec.encoders", "spikec.equations", "spikec.datasets", "spikec.recordings",
                "spikec.equations", "spikec.rules"):
        return getattr(getattr(import_module("spikec"), home.rpartition(".")[2]), member)
    return getattr(import_module(home), member)


def _entry(name: str) -> str:
    thing = found(name)
    parts = [f"### {name}"]
    if not (inspect.isclass(thing) and issubclass(thing, BaseException)) and name not in ENTERED_ELSEWHERE:
        parts.append(f"```python\n{_wrapped(name.rpartition('.')[2], *_signature(thing))}\n```")
    parts.append(_prose(_documented(thing, name)))
    members = list(_members(thing)) if inspect.isclass(thing) else []
    if members:
        parts += ["Members:", "\n".join(members)]
    return "\n\n".join(part for part in parts if part)


ENTERED_ELSEWHERE = {"spikec.Program", "spikec.runtime.outputs.Outputs", "spikec.runtime.module.EventModule"}
"""Classes that a user never calls: something else returns them."""


def _members(kind: type) -> Iterator[str]:
    listed = [found(name) for name in names()]
    inherited = [base for base in kind.__mro__[1:] if base.__module__.startswith("spikec.") and base not in listed]
    members = {name: member for owner in (*reversed(inherited), kind) for name, member in vars(owner).items()}
    for name, member in members.items():
        if name.startswith("_"):
            continue
        if isinstance(member, property | cached_property):
            getter = member.fget if isinstance(member, property) else member.func
            shown = f"{name}: {_type(inspect.signature(getter).return_annotation)}"
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            function = getattr(kind, name)
            arguments, gives = _signature(function, bound=inspect.isfunction(member))
            shown = f"{name}({', '.join(arguments)}){gives}"
        else:
            continue
        text = _prose(_documented(member, f"{kind.__name__}.{name}"))
        yield f"- `{shown}`\n" + textwrap.indent("\n" + text if text.startswith("```") else text, "  ")


def _documented(thing: Any, name: str) -> str:
    text = inspect.getdoc(thing)
    if not text or (inspect.isclass(thing) and text.startswith(f"{thing.__name__}(")):  # made up by `dataclass`
        raise LookupError(f"{name} has no docstring")
    return text


def _signature(thing: Any, bound: bool = False) -> tuple[list[str], str]:
    """The arguments, without that of a method's object, and what it returns."""
    shown = inspect.signature(thing)
    parts, star = [], False
    for number, (name, each) in enumerate(shown.parameters.items()):
        if (bound and number == 0) or name.startswith("_"):
            continue
        if each.kind is each.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        prefix = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        star = star or bool(prefix)
        text = prefix + name
        if each.annotation is not each.empty:
            text += f": {_type(each.annotation)}"
        if each.default is not each.empty:
            text += f" = {_value(each.default)}"
        parts.append(text)
    gives = _type(shown.return_annotation)
    return parts, f" -> {gives}" if gives not in ("", "None") else ""


def _type(annotation: Any) -> str:
    if annotation is inspect.Signature.empty or annotation is None:
        return ""
    return (annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)).replace("'", '"')


def _value(default: Any) -> str:
    if inspect.isclass(default):
        return default.__name__
    text = repr(default)
    return "..." if text.startswith("<") else text.replace("'", '"')


def _wrapped(name: str, arguments: list[str], gives: str) -> str:
    """A call in lines, broken between arguments."""
    call = f"{name}({', '.join(arguments)}){gives}"
    if len(call) <= WIDTH:
        return call
    lines = [""]
    for argument in arguments:
        longer = f"{lines[-1]} {argument},".lstrip()
        lines[-1:] = [longer] if not lines[-1] or len(longer) + 4 <= WIDTH else [lines[-1], f"{argument},"]
    return "\n".join([f"{name}(", *(f"    {line}" for line in lines), f"){gives}"])


def _prose(text: str) -> str:
    """A docstring as markdown."""
    parts = []
    for block in re.split(r"\n\s*\n", text):
        head, _, rest = block.partition("\n")
        if head in ("Raises:", "Args:"):
            items = re.split(r"\n(?!\s)", textwrap.dedent(rest))
            listed = [re.sub(r"\s*\n\s*", " ", item).partition(": ") for item in items]
            said = [(", ".join(f"`{name}`" for name in names.split(", ")), _escaped(what)) for names, _, what in listed]
            word = "raises " if head == "Raises:" else ""
            parts.append("\n".join(f"- {word}{names}: {what}" for names, what in said))
        elif all(line.startswith("    ") for line in block.split("\n")):
            parts.append(f"```text\n{textwrap.dedent(block)}\n```")
        else:
            parts.append(_escaped(re.sub(r"(^|\n)Raises: (\w+)", r"\1\n- raises `\2`", block)).strip("\n"))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    """What stands outside of backticks, without the signs that markdown reads."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub("([*<])", r"\\\1", piece) for piece in pieces)


def _nodes() -> str:
    """All node kinds with their fields."""
    lines = [
        "Classes of `spikec.ir.nodes`, for `Graph` and `Builder.add`; the builder's own methods make them too. They "
        "take keywords alone. V is the membrane, `v0` that at t = 0, I the synaptic current, S the sum of what comes "
        "in. Units stand in brackets where there is one.",
        "",
        "| kind | meaning | fields |", "| --- | --- | --- |",
    ]
    for name, kind in nodes.NODE_KINDS.items():
        meaning = _escaped(" ".join(_documented(kind, name).split()))
        lines.append(f"| `{name}` | {meaning} | {', '.join(_field(each) for each in fields(kind))} |")
    return "\n".join(lines)


def _field(entry: Any) -> str:
    unit = entry.metadata.get("unit", "1")
    default = "" if entry.default is MISSING else f" = {_value(entry.default)}"
    return f"`{entry.name}{default}`" + (f" ({unit})" if unit != "1" else "")
