"""Diagnostics: how spikec tells a user what is wrong, where, and what to do about it.

Every fault is a `Diagnostic`; every exception that a user can meet is a `SpikecError` that carries one or
more of them. Checks collect all faults before they raise (`Diagnostics`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

__all__ = [
    "CODES", "BadInputError", "Diagnostic", "Diagnostics", "DoesNotFitError", "MismatchError", "SpikecError",
    "SpikecWarning", "UnsupportedError", "first_line",
]

# The one table of codes. 1xx: the graph; 2xx: ways in; 3xx: passes; 4xx: event target and runtime;
# 5xx: training, data, files, machine.
CODES: dict[str, str] = {
    "SC101": "edge names a node that does not exist",
    "SC102": "shapes do not agree",
    "SC103": "parameter out of its legal range",
    "SC104": "parameter is not finite",
    "SC105": "graph has no input or no output",
    "SC106": "node is not connected",
    "SC107": "parameter has the wrong shape",
    "SC108": "duplicate edge",
    "SC109": "name is not legal",
    "SC110": "node kind is unknown",
    "SC111": "setting has the wrong type",
    "SC112": "edge runs into an input or out of an output",
    "SC113": "no path from an input to an output",
    "SC114": "cycle without a neuron",
    "SC115": "sparse matrix is malformed",
    "SC116": "discretization is malformed",
    "SC117": "metadata is not flat",
    "SC120": "text form is malformed",
    "SC121": "array of the text form is missing or differs from its declaration",
    "SC122": "file of the text form cannot be read",
    "SC123": "checksum of the array file differs",
    "SC130": "population is malformed",
    "SC131": "projection is malformed",
    "SC132": "schedule is no topological order of the strongly connected components",
    "SC133": "equations of a neuron cannot be read",
    "SC134": "equations use a name that they do not have, or may not have",
    "SC135": "equations lack a part",
    "SC136": "units of equations do not agree",
    "SC137": "reset leaves a neuron above its threshold",
    "SC138": "dynamics diverge, or are too stiff to be followed",
    "SC139": "neuron takes no constant current",
    "SC140": "number does not fit the field of the chip that holds it",
    "SC141": "integer projection is malformed",
    "SC142": "integer projection asks for what the chip's tools cannot say",
    "SC143": "plastic network is malformed",
    "SC144": "plastic network asks for what its synapses or learning neurons cannot do",
    "SC145": "learning rule is malformed",
    "SC146": "number of a learning rule does not fit its field",
    "SC147": "learning rule uses a trace that it does not keep",
    "SC148": "product of a learning rule is always nothing",
    "SC149": "product of a learning rule leaves its accumulator",
    "SC150": "terms of a learning rule cannot be read",
    "SC151": "learning rule contradicts itself",
    "SC152": "learning rule uses a variable that it does not have",
    "SC153": "number of a learning rule is out of range",
    "SC154": "text form of a learning rule is malformed",
    "SC155": "theta neuron does not oscillate",
    "SC201": "argument of the builder is wrong",
    "SC202": "name is taken",
    "SC203": "file cannot be read",
    "SC204": "file exceeds the bound on its size",
    "SC205": "field is missing",
    "SC206": "field has the wrong type",
    "SC207": "kind of node is unknown",
    "SC208": "link or external storage in a file",
    "SC209": "file format cannot say this",
    "SC210": "grid of the model is not stated",
    "SC211": "nested graph is malformed",
    "SC220": "module has no converter",
    "SC221": "model cannot be traced",
    "SC222": "dt is missing or wrong",
    "SC223": "setting of a module has no meaning in the graph",
    "SC224": "imported graph behaves differently from its source",
    "SC225": "shape of the input is unknown",
    "SC226": "operation of the model is not supported",
    "SC227": "readout of the model is left out",
    "SC228": "model is in train mode",
    "SC230": "model file of an unknown kind",
    "SC231": "model callable fails",
    "SC232": "argument is no model",
    "SC240": "ONNX graph is malformed",
    "SC241": "version of an ONNX file is unknown",
    "SC242": "ONNX file does not compute the network that it describes",
    "SC243": "part of an ONNX network is left out",
    "SC301": "a pass leaves a malformed graph behind",
    "SC302": "node has no meaning over impulses in continuous time",
    "SC303": "output shows something else than one neuron node",
    "SC304": "analog signal of a readout feeds another node",
    "SC305": "connection is too large when its stateless nodes are folded",
    "SC306": "neuron is stated on a grid only",
    "SC307": "neuron is stated in continuous time only",
    "SC310": "part of a network without spikes cannot become spikes",
    "SC311": "option of a conversion is wrong",
    "SC312": "conversion loses something",
    "SC320": "cycle is faster than the chip's projections",
    "SC321": "a core of the chip cannot hold this",
    "SC322": "what a core does is not what the model says",
    "SC323": "the chip does something differently than the model says",
    "SC324": "node asks for what the chip cannot do",
    "SC325": "state of the chip leaves its register",
    "SC326": "weights span more than a core holds",
    "SC330": "neuron alone needs more than a core has",
    "SC331": "network needs more cores than there are",
    "SC332": "mapping is malformed",
    "SC333": "mapping claims loads that the network does not have",
    "SC334": "core holds more than it can",
    "SC335": "rates are malformed",
    "SC336": "number of a learning rule is out of the learning engine's range",
    "SC337": "learning term is too small for the learning engine's rounding",
    "SC340": "network needs more than Xylo has",
    "SC341": "time constant has no shift that decays like it",
    "SC342": "Xylo's neurons cannot do this",
    "SC343": "outputs of Xylo are not where the model shows some",
    "SC344": "connection takes other steps on Xylo than in the model",
    "SC345": "constant current or start differs on Xylo",
    "SC346": "spikes of one step are others on Xylo",
    "SC347": "state of Xylo is cut off at 16 bits",
    "SC348": "network for Xylo is malformed",
    "SC350": "neuron listens to more synapses than DYNAP-SE2 has",
    "SC351": "network needs more of DYNAP-SE2 than there is",
    "SC352": "circuits of DYNAP-SE2 cannot do this",
    "SC353": "current is out of the bias generator's reach",
    "SC354": "configuration of DYNAP-SE2 does not hold its network",
    "SC355": "DYNAP-SE2 does this otherwise than the model says",
    "SC356": "DYNAP-SE2 shows spikes alone",
    "SC357": "neurons are not watched",
    "SC360": "learning rule asks for what the plasticity processor cannot do",
    "SC361": "coefficient or time constant is out of the plasticity processor's range",
    "SC362": "projection does not fit the synapse rows that a plasticity processor updates",
    "SC363": "plasticity processor does this otherwise than the learning rule says",
    "SC364": "plasticity program is malformed",
    "SC370": "description of a chip is malformed",
    "SC371": "network has not the form of an analog chip's circuits",
    "SC372": "parameter is out of the analog chip's range",
    "SC373": "weights are larger than the analog chip's, or lost in its steps",
    "SC374": "neuron has more inputs than merged circuits take",
    "SC375": "network takes more circuits than the chip has",
    "SC376": "places of circuits are malformed",
    "SC377": "measurement on a chip fails",
    "SC378": "circuit cannot be calibrated",
    "SC379": "events are lost on an analog chip's links",
    "SC401": "neuron would fire twice at one instant",
    "SC402": "duration is needed",
    "SC403": "argument of a run is wrong",
    "SC404": "component has no kernel",
    "SC405": "input events do not match the network",
    "SC406": "duration is out of range",
    "SC407": "probe is wrong",
    "SC408": "spikes were cut off",
    "SC409": "output cannot be asked for this",
    "SC410": "spikes graze their threshold",
    "SC411": "network has no exact gradient",
    "SC412": "setting of a module is wrong",
    "SC416": "network is more than learns in continuous time",
    "SC417": "sample is more than a learning kernel has room for",
    "SC420": "kernel template and its variables do not agree",
    "SC421": "no C compiler",
    "SC422": "kernel does not compile",
    "SC423": "no memory is left for a kernel",
    "SC424": "number of threads is out of range",
    "SC430": "package for CUDA kernels is missing",
    "SC431": "CUDA compiler fails",
    "SC440": "neurons of equations do not run like this",
    "SC441": "state grows beyond all bounds, or is no number",
    "SC442": "state changes too fast to be followed in steps",
    "SC443": "neurons of equations do not run on this device",
    "SC444": "neurons of equations take spikes as impulses",
    "SC445": "neurons or connections have no pseudospikes",
    "SC455": "gate of a graded synapse is out of range",
    "SC456": "neurons with graded currents and others do not mix",
    "SC457": "graded current cannot do this",
    "SC458": "signal does not match the network",
    "SC459": "signal is not finite",
    "SC460": "time step of signals is malformed",
    "SC461": "time step of signals is too long",
    "SC462": "duration of signals is wrong",
    "SC463": "graded currents do not run there",
    "SC464": "integration does not come to an end",
    "SC465": "network of graded currents takes signals",
    "SC480": "parameter does not train on a chip's arithmetic",
    "SC481": "states of a batch take more memory than a call may",
    "SC485": "measured spikes are malformed",
    "SC486": "outside program does not answer as the network asks",
    "SC487": "setting of a measured module is wrong",
    "SC488": "chip cannot be trained in the loop like this",
    "SC501": "constant of a loss is out of range",
    "SC502": "loss does not say which output it is of",
    "SC503": "training rule is not there",
    "SC504": "option of the trainer is out of range",
    "SC505": "training data have no known form",
    "SC506": "label is malformed or out of range",
    "SC507": "loss is not a number",
    "SC508": "checkpoint belongs to another training",
    "SC509": "checkpoint is damaged, or no checkpoint",
    "SC510": "loss gives no scalar to learn from",
    "SC511": "value cannot be encoded",
    "SC512": "gradient of a batch is not finite",
    "SC513": "state is of another learner",
    "SC514": "learning rule does not exist",
    "SC515": "projection cannot learn",
    "SC516": "learning rule asks for what the target cannot do",
    "SC517": "learning saturates what it changes or reads",
    "SC518": "feedback does not align with the weights that it stands for",
    "SC519": "a layer, or the input, is silent",
    "SC520": "compiled folder is missing, damaged, or no compiled folder",
    "SC521": "compiled folder has an unknown format or version",
    "SC522": "file or folder cannot be written",
    "SC523": "file cannot be read",
    "SC524": "events file is malformed",
    "SC525": "argument is no path",
    "SC530": "target does not exist",
    "SC531": "target is planned, not there yet",
    "SC532": "optional package is missing",
    "SC533": "target has no such option, or its value is out of range",
    "SC540": "data set is not present",
    "SC541": "data set cannot be fetched",
    "SC542": "checksum differs",
    "SC543": "data file is malformed",
    "SC544": "recording is malformed",
    "SC550": "command is used wrongly",
    "SC551": "internal error",
    "SC552": "environment variable is set to what cannot be used",
    "SC553": "Lava is missing",
    "SC554": "interpreter for Lava is missing or of a wrong version",
    "SC555": "Lava cannot be installed",
    "SC556": "Lava does not work in its interpreter",
    "SC557": "Lava program fails",
    "SC558": "Lava program takes too long",
    "SC559": "Lava cannot say this network",
    "SC560": "two models have nothing in common to compare",
    "SC561": "model cannot be run by what is asked for",
    "SC562": "data of a comparison are malformed",
    "SC570": "energy profile is malformed",
    "SC571": "command was interrupted",
    "SC580": "configuration of a result is malformed",
    "SC581": "there is no such result to reproduce",
    "SC582": "stored result cannot be used",
    "SC583": "result is being trained by another process",
}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault: `code` (a key of `CODES`), what is wrong, at which node, the value met, the limit, the remedy."""

    code: str
    message: str
    node: str | None = None
    value: str | None = None
    limit: str | None = None
    remedy: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f" at '{self.node}'" if self.node is not None else ""
        text = f"{self.code}{where}: {self.message}"
        facts = [f"{label}: {fact}" for label, fact in (("value", self.value), ("limit", self.limit)) if fact]
        if facts:
            text += f" ({'; '.join(facts)})"
        return f"{text}. {self.remedy}" if self.remedy else text

    def as_dict(self) -> dict[str, str | None]:
        """The fields by name, as `--json` prints them."""
        return {name: getattr(self, name) for name in self.__slots__}


class SpikecError(Exception):
    """Base of all errors meant for users. `diagnostics`: every fault found, in order, at least one. `exit_code`: of the
    commands."""

    exit_code: ClassVar[int] = 70

    def __init__(self, *diagnostics: Diagnostic) -> None:
        if not diagnostics:
            raise TypeError(f"{type(self).__name__} says nothing: an error of spikec carries at least one diagnostic")
        self.diagnostics = diagnostics
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))

    def __reduce__(self) -> tuple[type[SpikecError], tuple[Diagnostic, ...]]:
        return type(self), self.diagnostics


class MismatchError(SpikecError):
    """A compiled artefact differs from the reference."""

    exit_code = 1


class DoesNotFitError(SpikecError):
    """The network exceeds a resource of the target."""

    exit_code = 2


class UnsupportedError(SpikecError):
    """The model asks for something that the target (or spikec) cannot do."""

    exit_code = 3


class BadInputError(SpikecError, ValueError):
    """A file, an array or an argument is malformed."""

    exit_code = 4


class SpikecWarning(UserWarning):
    """Category of every warning that spikec issues."""


@dataclass(slots=True)
class Diagnostics:
    """A collector: `add` faults, then `raise_if_errors` once."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(self, code: str, message: str, **facts: object) -> None:
        """`facts`: node, value, limit, remedy, severity of the `Diagnostic`; values are turned into text."""
        texts = {name: None if fact is None else str(fact) for name, fact in facts.items()}
        self.found.append(Diagnostic(code, message, **texts))  # type: ignore[arg-type]

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.found.extend(diagnostics)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.found if found.severity == "error")

    def raise_if_errors(self, kind: type[SpikecError] = BadInputError) -> None:
        """Raises `kind` with every error found so far; does nothing where there is none."""
        if self.errors:
            raise kind(*self.errors)


def first_line(error: BaseException) -> str:
    """What somebody else's error says, short enough for a message: at most 200 characters of its first line, those that
    do not print escaped; or the name of its type where it says nothing."""
    if not str(error).strip():
        return type(error).__name__
    line = str(error).strip().splitlines()[0][:200]
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
