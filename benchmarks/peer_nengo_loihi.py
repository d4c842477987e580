"""nengo-loihi's emulator on the networks of loihi_peers.py: a script for the environment that has it."""

from __future__ import annotations

import json
import sys
import warnings

import nengo
import nengo_loihi
import numpy as np
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder import Model
from nengo_loihi.builder.discretize import discretize_model
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput
from nengo_loihi.probe import LoihiProbe

KEYS = {"u": "current", "v": "voltage", "spikes": "spiked"}
LARGEST = (1 << 23) - 1


def run(case, arrays, number):
    """By "population/variable": (steps, n)."""
    model, raster = Model(), arrays[f"{number}/raster"]
    source = SpikeInput(raster.shape[1])
    for column, flags in enumerate(raster):
        if flags.any():
            source.add_spikes(column + 1, np.flatnonzero(flags).tolist())
    model.add_input(source)
    blocks = {name: LoihiBlock(each["n"]) for name, each in case["populations"].items()}
    synapses = []
    for each in case["projections"]:
        weight = arrays[f"{number}/{each['name']}"]
        synapse = Synapse(weight.shape[1])
        synapse.set_weights(np.ones(weight.T.shape))
        blocks[each["target"]].add_synapse(synapse)
        axon = Axon(weight.shape[1])
        axon.target = synapse
        (source if each["source"] == "x" else blocks[each["source"]]).add_axon(axon)
        synapses.append((synapse, np.left_shift(weight, 6 + each["exponent"]) if each["exponent"] >= 0
                         else np.right_shift(weight, -each["exponent"]) << 6))
    probes = {}
    for name, block in blocks.items():
        block.compartment.configure_relu()
        model.add_block(block)
        for variable, key in KEYS.items():
            probes[f"{name}/{variable}"] = LoihiProbe(target=block, key=key)
            model.add_probe(probes[f"{name}/{variable}"])
    discretize_model(model)
    for name, each in case["populations"].items():  # whatever it chose, these are the numbers
        compartment = blocks[name].compartment
        compartment.decay_u[:], compartment.decay_v[:] = each["du"], each["dv"]
        compartment.vth[:] = each["threshold"] << 6
        compartment.bias[:] = arrays.get(f"{number}/{name}/bias", 0)
        compartment.vmin, compartment.vmax = -LARGEST, LARGEST
        compartment.refract_delay[:] = 1
    for synapse, held in synapses:
        for axon, weights in enumerate(synapse.weights):
            weights[:] = held[:, axon]
    with EmulatorInterface(model, seed=0) as emulator:
        emulator.run_steps(len(raster))
        return {key: np.array(emulator.collect_probe_output(probe)) for key, probe in probes.items()}


def main():
    warnings.simplefilter("ignore")
    EmulatorInterface.strict = True  # an overflow is an error
    with np.load(sys.argv[1]) as file:
        arrays = dict(file)
    found = {}
    for number, case in enumerate(json.loads(str(arrays["cases"]))):
        for key, values in run(case, arrays, number).items():
            found[f"{number}/{key}"] = values.reshape(len(values), -1)
    versions = {"nengo-loihi": nengo_loihi.__version__, "nengo": nengo.__version__, "numpy": np.__version__}
    np.savez(sys.argv[2], versions=np.array(json.dumps(versions)), **found)


if __name__ == "__main__":
    main()
