"""brian2-loihi on the networks of loihi_peers.py: a script for the environment that has it."""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version

import brian2
import numpy as np
from brian2_loihi import (
    LoihiNetwork,
    LoihiNeuronGroup,
    LoihiSpikeGeneratorGroup,
    LoihiSpikeMonitor,
    LoihiStateMonitor,
    LoihiSynapses,
    synapse_sign_mode,
)

SIGNS = {"mixed": synapse_sign_mode.MIXED, "excitatory": synapse_sign_mode.EXCITATORY,
         "inhibitory": synapse_sign_mode.INHIBITORY}


def run(case, arrays, number):
    """By "population/variable": (steps, n)."""
    raster = arrays[f"{number}/raster"]
    columns, channels = np.nonzero(raster)
    # A generator's spike arrives in the step that it is sent in; here, as on the chip, in the next.
    groups = {"x": LoihiSpikeGeneratorGroup(raster.shape[1], channels, columns + 1)}
    for name, each in case["populations"].items():
        groups[name] = LoihiNeuronGroup(each["n"], refractory=1, threshold_v_mant=each["threshold"],
                                        decay_v=each["dv"], decay_I=each["du"] + 1)
    synapses = []
    for each in case["projections"]:
        weight = arrays[f"{number}/{each['name']}"]
        synapse = LoihiSynapses(groups[each["source"]], groups[each["target"]], delay=each["delay"],
                                w_exp=each["exponent"], sign_mode=SIGNS[each["sign"]], num_weight_bits=8)
        target, source = np.nonzero(np.ones(weight.shape, dtype=bool))
        synapse.connect(i=source, j=target)
        synapse.w = weight[target, source]
        synapses.append(synapse)
    names = list(case["populations"])
    monitors = {(name, variable): LoihiStateMonitor(groups[name], variable) for name in names for variable in "Iv"}
    spikes = {name: LoihiSpikeMonitor(groups[name]) for name in names}
    network = LoihiNetwork(*groups.values(), *synapses, *monitors.values(), *spikes.values())
    network.run(len(raster))
    found = {}
    for name in names:
        for variable, key in (("I", "u"), ("v", "v")):
            values = getattr(monitors[name, variable], variable)
            found[f"{name}/{key}"] = np.rint(np.asarray(values)).astype(np.int64).T
        flags = np.zeros((len(raster), case["populations"][name]["n"]), dtype=np.int64)
        flags[np.rint(np.asarray(spikes[name].t)).astype(int), np.asarray(spikes[name].i)] = 1
        found[f"{name}/spikes"] = flags
    return found


def main():
    warnings.simplefilter("ignore")
    brian2.prefs.codegen.target = "numpy"
    with np.load(sys.argv[1]) as file:
        arrays = dict(file)
    found = {}
    for number, case in enumerate(json.loads(str(arrays["cases"]))):
        found |= {f"{number}/{key}": values for key, values in run(case, arrays, number).items()}
    versions = {name: version(name) for name in ("brian2-loihi", "Brian2", "numpy")}
    np.savez(sys.argv[2], versions=np.array(json.dumps(versions)), **found)


if __name__ == "__main__":
    main()
