"""What a legal network is: the checks of the lowered level, independent of the passes that make it.

One small function per rule, all of them run, all faults reported; nothing here trusts the producer's bookkeeping: the
schedule is derived again from the projections, sizes from the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import networkx as nx
import numpy as np

from .conform import is_shape
from .diagnostics import Diagnostic, Diagnostics
from .network import Conv, Dense, Network, Population, Projection, Sparse
from .nodes import Array
from .populated_checks import check_inputs, check_names, check_outputs
from .ranges import check_csr, check_discretization, check_finite, check_range, check_reset

__all__ = ["NETWORK_RULES", "check_network", "verify_network"]

ALWAYS = ("r", "bias", "v0")
OF_KIND = {"integrator": (), "leaky": ("tau_mem", "v_leak"), "cuba": ("tau_mem", "tau_syn", "v_leak", "w_in"),
           "flow": ()}
OF_SPIKING = ("v_threshold", "v_reset", "refractory")
OPTIONAL = ("tau_mem", "tau_syn", "v_leak", "w_in", *OF_SPIKING)
RESETS = ("zero", "v_reset", "subtract")


def check_network(network: Network) -> list[Diagnostic]:
    """Every fault of a network; an empty list for a legal one."""
    faults = Diagnostics()
    for rule in NETWORK_RULES:
        rule(network, faults)
    return faults.found


def verify_network(network: Network) -> Network:
    """The network itself, if it is legal.

    Raises:
        BadInputError: with every fault at once.
    """
    faults = Diagnostics(check_network(network))
    faults.raise_if_errors()
    return network


def _populations(network: Network, faults: Diagnostics) -> None:
    for name, population in network.populations.items():
        if not is_shape(population.shape):
            faults.add("SC102", "a population's shape is positive", node=name, value=population.shape)
            continue
        if population.kind not in OF_KIND or population.reset not in RESETS:
            faults.add("SC130", "kind or reset rule is unknown", node=name, value=(population.kind, population.reset))
            continue
        if (population.flow is None) == (population.kind == "flow"):
            faults.add("SC130", "a population of the kind flow has equations, and no other", node=name,
                       value=population.kind)
            continue
        arrays = {**_arrays(population, faults), **_of_flow(population, faults)}
        for parameter, value in arrays.items():
            check_finite(parameter, value, name, faults)
            check_range(parameter, value, name, faults)
        if population.spiking and {"v_threshold", "v_reset"} <= arrays.keys():
            check_reset(population.reset, arrays["v_threshold"], arrays["v_reset"], name, faults)


def _arrays(population: Population, faults: Diagnostics) -> dict[str, Array]:
    """The well-formed arrays of a population, after a report of those that are not, lack, or have no use."""
    flows = population.kind == "flow"
    needed = {*ALWAYS, *OF_KIND[population.kind], *(OF_SPIKING if population.spiking and not flows else ())}
    sound = {}
    for name in (*ALWAYS, *OPTIONAL):
        value = getattr(population, name)
        if value is None and name in needed:
            faults.add("SC130", f"{name} is missing", node=population.name)
        elif value is not None and name not in needed and not (flows and name == "refractory" and population.spiking):
            faults.add("SC130", f"{name} has no meaning here", node=population.name, value=population.kind)
        elif value is not None and (value.shape != (population.n,) or value.dtype != np.float64):
            faults.add("SC107", f"{name} has the wrong shape or type", node=population.name,
                       value=f"{value.dtype}{value.shape}", limit=f"float64({population.n},)")
        elif value is not None:
            sound[name] = value
    return sound


def _of_flow(population: Population, faults: Diagnostics) -> dict[str, Array]:
    """The same of the equations of a population, values and starts."""
    flow = population.flow
    if flow is None:
        return {}
    dynamics, sound = flow.dynamics, {}
    for given, names in ((flow.values, dynamics.parameters), (flow.start, dynamics.states)):
        if tuple(given) != names:
            faults.add("SC130", "values and starts are those of the dynamics, in order", node=population.name,
                       value=", ".join(given), limit=", ".join(names))
        for name, value in given.items():
            if value.shape != (population.n,) or value.dtype != np.float64:
                faults.add("SC107", f"{name} has the wrong shape or type", node=population.name,
                           value=f"{value.dtype}{value.shape}", limit=f"float64({population.n},)")
            else:
                sound[name if given is flow.values else f"{name}0"] = value
    return sound


def _projections(network: Network, faults: Diagnostics) -> None:
    for projection in network.projections:
        ends = [(projection.source, (network.inputs, network.populations)), (projection.target, (network.populations,))]
        missing = [name for name, places in ends if not any(name in place for place in places)]
        for name in missing:
            faults.add("SC101", "a projection ends at what does not exist", node=projection.name, value=name)
        if missing:
            continue
        source = network.populations.get(projection.source)
        if source is not None and not source.spiking:
            faults.add("SC131", "a readout sends no spikes", node=projection.name, value=projection.source)
        fitting = len(faults.found)
        n_source, n_target = network.size(projection.source), network.size(projection.target)
        rule = _CONNECTION_RULES[type(projection.connection)]
        rule(projection.connection, n_source, n_target, projection.name, faults)
        if len(faults.found) == fitting:
            check_finite("weight", projection.connection.weight, projection.name, faults)
            _check_delay(projection, n_source, faults)


def _check_dense(dense: Dense, n_source: int, n_target: int, name: str, faults: Diagnostics) -> None:
    _want_shape("weight", dense.weight, (n_target, n_source), name, faults)


def _check_sparse(sparse: Sparse, n_source: int, n_target: int, name: str, faults: Diagnostics) -> None:
    check_csr((n_target, n_source), sparse.indptr, sparse.indices, name, faults)
    _want_shape("weight", sparse.weight, sparse.indices.shape, name, faults)


def _check_conv(conv: Conv, n_source: int, n_target: int, name: str, faults: Diagnostics) -> None:
    if not (is_shape(conv.input_shape) and is_shape(conv.output_shape)
            and (prod(conv.input_shape), prod(conv.output_shape)) == (n_source, n_target)):
        faults.add("SC102", "the stencil's shapes are not those of source and target", node=name,
                   value=(conv.input_shape, conv.output_shape), limit=(n_source, n_target))
        return
    channels, features = conv.input_shape[0], conv.output_shape[0]
    if min(*conv.stride, *conv.dilation, conv.groups) < 1 or channels % conv.groups or features % conv.groups:
        faults.add("SC131", "stride, dilation and groups are positive, and groups divide the channels", node=name,
                   value=(conv.stride, conv.dilation, conv.groups))
        return
    kernel = conv.weight.shape[2:]
    if len(kernel) != 2 or not is_shape(kernel):
        faults.add("SC107", "weight is (C_out, C_in/groups, KH, KW)", node=name, value=conv.weight.shape)
    else:
        _want_shape("weight", conv.weight, (features, channels // conv.groups, *kernel), name, faults)


_CONNECTION_RULES: dict[type[Any], Callable[[Any, int, int, str, Diagnostics], None]] = {
    Dense: _check_dense, Sparse: _check_sparse, Conv: _check_conv,
}


def _check_delay(projection: Projection, n_source: int, faults: Diagnostics) -> None:
    delay, name = projection.delay, projection.name
    if delay is None:
        return
    if projection.delay_per == "source":
        wanted: tuple[int, ...] = (n_source,)
    elif projection.delay_per == "synapse" and not isinstance(projection.connection, Conv):
        wanted = projection.connection.weight.shape
    else:
        faults.add("SC131", "a delay is one per source, or one per synapse where there is no stencil", node=name,
                   value=projection.delay_per)
        return
    _want_shape("delay", delay, wanted, name, faults)
    check_finite("delay", delay, name, faults)
    check_range("delay", delay, name, faults)


def _want_shape(parameter: str, value: Array, wanted: tuple[int, ...], name: str, faults: Diagnostics) -> None:
    if value.shape != wanted or value.dtype.kind != "f":
        faults.add("SC107", f"{parameter} has the wrong shape or type", node=name, value=f"{value.dtype}{value.shape}",
                   limit=f"a float {wanted}")


def _discretization(network: Network, faults: Diagnostics) -> None:
    check_discretization(network.discretization, faults)


def _schedule(network: Network, faults: Diagnostics) -> None:
    """Where there is a schedule: each population once, components as derived here from the projections, and no
    projection from a later component into an earlier one."""
    if not network.schedule:
        return
    place = {name: number for number, component in enumerate(network.schedule) for name in component}
    scheduled = sorted(name for component in network.schedule for name in component)
    if scheduled != sorted(network.populations):
        faults.add("SC132", "the schedule does not name every population once", value=", ".join(scheduled[:20]))
        return
    view = nx.DiGraph()
    view.add_nodes_from(network.populations)
    view.add_edges_from(
        (projection.source, projection.target) for projection in network.projections
        if projection.source in place and projection.target in place
    )
    derived = {frozenset(component) for component in nx.strongly_connected_components(view)}
    for component in network.schedule:
        if frozenset(component) not in derived:
            faults.add("SC132", "not a strongly connected component", value=", ".join(component[:20]))
    for source, target in view.edges:
        if place[source] > place[target]:
            faults.add("SC132", f"'{target}' is scheduled before '{source}', which feeds it", node=target)


NETWORK_RULES: tuple[Callable[[Network, Diagnostics], None], ...] = (
    check_names, check_inputs, check_outputs, _populations, _projections, _discretization, _schedule,
)
