"""When a population acts on a clocked chip, where every spike takes a column to arrive.

On the grid of a model a spike that is not delayed arrives in its own column, so layers act at once; on a chip each
projection takes one column, so a population acts `latency` columns later than the model says. With l the latency of a
population and D the columns that the model's projection takes, the projection must be delayed on the chip by

    D + l(target) + lag(target) - l(source) - 1 >= 0        beyond the one column that it always takes.

`lag` is 1 where the model's membrane takes the current of the column before. The least latencies that satisfy all
projections are longest paths (Bellman and Ford); where a cycle is faster in the model than one column a projection,
there are none.
"""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from ..ir.diagnostics import Diagnostics
from ..ir.network import Network

__all__ = ["chip_latencies"]


def chip_latencies(network: Network, delays: Mapping[str, int], lags: Mapping[str, int],
                   faults: Diagnostics) -> dict[str, int]:
    """Columns by input and population; inputs have none.

    Args:
        network: whose projections these are.
        delays: the fewest columns that each projection takes in the model, by its name.
        lags: 1 by population whose membrane takes the current of the column before, 0 for the others.
        faults: gets SC320 for each cycle that no latencies satisfy; what is returned is then not to be used.
    """
    view: nx.DiGraph[str] = nx.DiGraph()
    start = ""
    for name in (*network.inputs, *network.populations):
        view.add_edge(start, name, weight=0)
    for each in network.projections:
        late = 1 - delays[each.name] - lags[each.target]
        known = view.get_edge_data(each.source, each.target, {"weight": -late})["weight"]
        view.add_edge(each.source, each.target, weight=min(known, -late))
    try:
        lengths: Mapping[str, int] = nx.single_source_bellman_ford_path_length(view, start)
    except nx.NetworkXUnbounded:
        cycle = nx.find_negative_cycle(view, start)
        faults.add("SC320", "a cycle is faster in the model than on the chip, where every projection takes a column",
                   node=cycle[0], value=" -> ".join(cycle),
                   remedy="Give the recurrent connection a delay of one step more for each population on the cycle.")
        return {}
    return {name: -length for name, length in lengths.items() if name != start}
