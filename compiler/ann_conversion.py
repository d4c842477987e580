"""What the conversion of a network without spikes gives back, whatever its code: a graph, ways in and out of it, and
how far each layer is from what it stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..ir.activations import walk
from ..ir.graph import Graph
from ..ir.nodes import Array, Relu
from .driver import AnyProgram, compile

__all__ = ["Conversion", "LayerError", "measured"]


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far the spikes of a layer are from its activations, over all neurons and the samples that were looked at.

    `neurons`: how many. `correlation`: Pearson's. `difference`: mean of |decoded - activation|. `largest`: its maximum.
    `activation`: mean of |activation|, for comparison. `clipped`: the share of activations above what the layer can
    show. `spikes`: mean number per neuron and sample; None for a readout.
    """

    neurons: int
    correlation: float
    difference: float
    largest: float
    activation: float
    clipped: float
    spikes: float | None

    @classmethod
    def between(cls, decoded: Array, activation: Array, top: Array | float, spikes: float | None) -> LayerError:
        """Of (samples, *shape) arrays; `top`: the largest activation that can be shown."""
        gap = np.abs(decoded - activation)
        return cls(int(np.prod(activation.shape[1:])), _correlation(decoded, activation), float(gap.mean()),
                   float(gap.max()), float(np.abs(activation).mean()), float((activation > top).mean()), spikes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Conversion(ABC):
    """A converted network: `graph`, to be compiled for `target`. `source`: what was converted. `scales`: by layer, the
    largest activation that it is made to show. `errors`: by layer (a Relu node or an output; `pool.larger…` are the
    comparisons that a maximum is made of), over the first samples of the calibration data. `print` shows them."""

    target: ClassVar[str]
    code: ClassVar[str]

    source: Graph
    graph: Graph
    scales: Mapping[str, Array]
    errors: Mapping[str, LayerError] = field(default_factory=dict)

    @cached_property
    def program(self) -> AnyProgram:
        """The graph, compiled for `target`."""
        return compile(self.graph, self.target)

    @abstractmethod
    def encode(self, data: Any | Mapping[str, Any]) -> dict[str, Any]:
        """What the program takes for values (samples, *shape), by input node.

        Raises:
            BadInputError: malformed data (SC403), or values that cannot be encoded (SC511).
        """

    @abstractmethod
    def layers(self, data: Any | Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, float]]:
        """Runs the network: what its layers and outputs say, (samples, *shape) in units of the source, and the mean
        number of spikes per neuron and sample of the layers that spike. Errors as for `encode`."""

    def run(self, data: Any | Mapping[str, Any]) -> dict[str, Array]:
        """Runs the network: what its outputs say, (samples, *shape) in units of the source. Errors as for `encode`."""
        said, _ = self.layers(data)
        return {name: said[name] for name in self.source.outputs}

    def as_dict(self) -> dict[str, Any]:
        """The errors as plain numbers by layer."""
        return {name: {key: getattr(error, key) for key in LayerError.__slots__}
                for name, error in self.errors.items()}

    def __str__(self) -> str:
        head = ("layer", "neurons", "correlation", "mean |difference|", "mean |activation|", "clipped", "spikes")
        rows = [(name, f"{error.neurons}", f"{error.correlation:.5f}", f"{error.difference:.3g}",
                 f"{error.activation:.3g}", f"{100 * error.clipped:.2f} %",
                 "-" if error.spikes is None else f"{error.spikes:.3g}") for name, error in self.errors.items()]
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        return "\n".join("  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))) for row in [head, *rows])


def measured(conversion: Conversion, prepared: Graph, data: Mapping[str, Array]) -> dict[str, LayerError]:
    """The errors of a conversion. `prepared`: the network without spikes as it was when it was converted, layer by
    layer the same."""
    said, spikes = conversion.layers(data)
    errors = {}
    for name, activation in walk(prepared, data):
        if isinstance(prepared.nodes[name], Relu) or name in prepared.outputs:
            errors[name] = LayerError.between(said[name], activation, conversion.scales.get(name, np.inf),
                                              spikes.get(name))
    return errors


def _correlation(one: Array, other: Array) -> float:
    """Pearson's; where one does not vary, 1 if both are equal, and else 0."""
    one, other = one.reshape(-1) - one.mean(), other.reshape(-1) - other.mean()
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    if size == 0:
        return float(np.allclose(one, other))
    return float(one @ other) / size
