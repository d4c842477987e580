"""A torch module beside the graph that was imported from it: the module itself runs where its graph would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from ....ir.diagnostics import BadInputError, Diagnostics
from ....ir.graph import Graph
from ....ir.nodes import Array, is_spiking
from .import_run import fixed_sizes, run_source
from .places import Steps
from .registry import Leaf

__all__ = ["Source"]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """`origins`: the path of the module of each neuron node. `inputs`: the input node of each parameter of `forward`.
    The rest is what the trace of `module` gave."""

    graph: Graph
    module: nn.Module
    steps: Steps
    leaves: Mapping[str, Leaf]
    origins: Mapping[str, str]
    inputs: Mapping[str, str]

    def run(self, rasters: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """(spikes, membranes) by neuron node, each (batch, time, *shape), of the module in float64 from its first
        state on, for `rasters` (batch, time, *shape) by input node. Membranes are there where the module returns them.

        Raises:
            BadInputError: the module insists on another number of samples or steps (SC561), or it fails on these
                inputs (SC231).
        """
        batch, columns = next(iter(rasters.values())).shape[:2]
        faults = Diagnostics()
        for what, given, wanted in zip(("samples", "steps"), (batch, columns), fixed_sizes(self.steps), strict=True):
            if wanted is not None and given != wanted:
                faults.add("SC561", f"the module takes a fixed number of {what}", value=given, limit=wanted,
                           remedy="Give data of that size.")
        for parameter, name in self.inputs.items():
            constant = parameter not in self.steps.time_axes and (self.steps.loops or self.steps.repeated)
            if constant and np.ptp(rasters[name], axis=1).any():
                faults.add("SC561", "the module takes one value for all steps, and the data vary with time",
                           node=name, remedy="Give data that are the same in every step.")
        faults.raise_if_errors()
        try:
            given = run_source(self.module, self.steps, self.leaves, self.origins,
                               {parameter: rasters[name] for parameter, name in self.inputs.items()})
        except Exception as error:  # the user's own code
            faults.add("SC231", f"the module fails on these inputs: {type(error).__name__}: {error}")
            raise BadInputError(*faults.errors) from error
        spikes = {name: each.first for name, each in given.items() if is_spiking(self.graph.nodes[name])}
        membranes = {name: each.last for name, each in given.items() if each.last is not None}
        shown = {name: each.first for name, each in given.items() if name not in spikes and each.last is None}
        return spikes, {**membranes, **shown}
