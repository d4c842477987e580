"""Asks Rockpool 3.1.0 itself: a script for an interpreter that has it (and no spikec), see rockpool_here.py.

    python rockpool_side.py

On every line that it is given stand the names of two files: what is asked, and where to put what is found. It answers
with a line: empty, or what failed.

The vendor's library `samna` is not there. In its place stands a stub of this file: the blank configuration of a board
with four chips, filled with Rockpool's own pure-Python doubles of the library's classes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np

samna = types.ModuleType("samna")
samna.dynapse2 = types.SimpleNamespace()
samna.device = types.SimpleNamespace()
sys.modules["samna"] = samna

from rockpool.devices.dynapse import samna_alias as alias  # noqa: E402
from rockpool.devices.dynapse.lookup import scale_factor_se2  # noqa: E402


def blank_destination():
    return alias.Dynapse2Destination(core=[False] * 4, x_hop=0, y_hop=0, tag=0)


def blank_synapse():
    return alias.Dynapse2Synapse(dendrite=alias.Dendrite.none, stp=False, weight=[False] * 4, precise_delay=False,
                                 mismatched_delay=False, tag=0)


def blank_configuration():
    def neuron():
        return SimpleNamespace(synapses=[blank_synapse() for _ in range(64)],
                               destinations=[blank_destination() for _ in range(4)], latch_so_dc=False)

    def core():
        return SimpleNamespace(neurons=[neuron() for _ in range(256)], parameters={
            name: alias.Dynapse2Parameter(type=name[-1], coarse_value=0, fine_value=0) for name in scale_factor_se2})

    return SimpleNamespace(chips=[SimpleNamespace(cores=[core() for _ in range(4)]) for _ in range(4)])


samna.dynapse2.Dendrite = alias.Dendrite
samna.dynapse2.Dynapse2Destination = blank_destination
samna.dynapse2.Dynapse2Synapse = blank_synapse
samna.dynapse2.Dynapse2Configuration = blank_configuration
samna.dynapse2.NormalGridEvent = lambda: alias.NormalGridEvent(event=None, timestamp=0)


def program_of(folder):
    """The emitted program as a module, and its document."""
    spec = importlib.util.spec_from_file_location("run_samna", Path(folder, "run_samna.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, json.loads(Path(folder, "config.json").read_text())


def layout(asked, given):
    """How many entries of the document are what Rockpool's doubles write as JSON, key for key, and how many are not."""
    module, document = program_of(asked["folder"])
    same = other = 0

    def compare(told, made):
        nonlocal same, other
        equal = json.loads(json.dumps(made.json_wrapper(), default=int)) == told
        same, other = same + equal, other + (not equal)

    for chip in document["chips"]:
        for core in chip["cores"]:
            for neuron in core["neurons"]:
                for each in neuron["synapses"].values():
                    compare(each, module.synapse(samna, each))
                for each in neuron["destinations"].values():
                    compare(each, module.destination(samna, each))
            for each in core["parameters"]:
                told = each["value"]
                written = alias.Dynapse2Parameter(type=chr(told["type"]), coarse_value=told["coarseValue"],
                                                  fine_value=told["fineValue"]).json_wrapper()
                equal = all(written[key] == value for key, value in told.items())
                same, other = same + equal, other + (not equal)
    return {"same": same, "other": other}


def read(asked, given):
    """The network that Rockpool's reader makes of the configuration that the emitted program makes: weights in amperes
    (sources, targets), the tags and addresses that stand for their rows and columns, and the neurons' parameters."""
    from rockpool.devices.dynapse import dynapsim_net_from_config
    from rockpool.devices.dynapse.dynapsim_net.from_config.memory import MemorySE2

    module, document = program_of(asked["folder"])
    configuration = module.configure(samna, document)
    tags, addresses = [], []
    fill, posts = MemorySE2.fill_weight_matrix, MemorySE2.get_post_idx_map

    def fill_and_tell(self, shape, synapses, locations, index):
        tags.append(list({each.tag for each in synapses}))
        return fill(self, shape, synapses, locations, index)

    def posts_and_tell(self, *locations):
        found = posts(self, *locations)
        addresses.append([self.decode_hash(each) for each in found])
        return found

    MemorySE2.fill_weight_matrix, MemorySE2.get_post_idx_map = fill_and_tell, posts_and_tell
    network = dynapsim_net_from_config(configuration, dt=asked["dt"])
    layers = list(network) if hasattr(network, "__iter__") else [network[0], network[1]]
    inner = layers[-1]
    scale = np.asarray(inner.Iscale).item()
    found = {"weights_in": np.asarray(layers[0].weight) * scale, "weights_rec": np.asarray(inner.w_rec) * scale,
             "tags_in": np.array(tags[0]), "tags_rec": np.array(tags[1], dtype=np.int64),
             "addresses": np.array(addresses[0])}
    found |= {name: np.asarray(getattr(inner, name)) for name in (
        "Idc", "Igain_mem", "Igain_syn", "Ipulse", "Iref", "Ispkthr", "Itau_mem", "Itau_syn")}
    if "raster" in given:
        order = [found["tags_in"].tolist().index(tag) for tag in asked["input_tags"]]
        raster = np.zeros((len(given["raster"]), len(order)))
        raster[:, order] = given["raster"]
        found["spikes"] = np.asarray(network(raster[None])[0])[0]
    return found


def simulate(asked, given):
    """Spikes (steps, neurons) of DynapSim with its defaults, driven through `weights` (channels, neurons) of nA/10."""
    from rockpool.devices.dynapse import DynapSim

    n = given["weights"].shape[1]
    layer = DynapSim((n, n), has_rec="recurrent" in given, w_rec=given.get("recurrent"), dt=asked["dt"])
    spikes, _, record = layer((given["raster"] @ given["weights"])[None], record=True)
    return {"spikes": np.asarray(spikes)[0], "imem": np.asarray(record["imem"])[0]}


def biases(asked, given):
    """The currents (6, 256) of each bias."""
    from rockpool.devices.dynapse.parameters.biasgen import digital_to_analog

    return {name: np.array([[digital_to_analog(coarse, fine, scale_factor_se2[name], name[-1]) for fine in range(256)]
                            for coarse in range(6)]) for name in asked["names"]}


def allocate(asked, given):
    """Whether Rockpool's own allocation takes these masks (sources, targets)."""
    from rockpool.devices.dynapse.hardware.config.allocator import WeightAllocator
    from rockpool.typehints import DRCError

    masks = given["masks"]
    try:
        allocator = WeightAllocator(masks, None, np.ones_like(masks), None, core_map=[
            number // 256 for number in range(masks.shape[1])])
        entries = allocator.CAM_content()
    except DRCError as error:
        return {"refused": str(error)}
    return {"refused": "", "entries": max(sum(any(each.weight) for each in some) for some in entries.values())}


def main():
    tasks = {"layout": layout, "read": read, "simulate": simulate, "biases": biases, "allocate": allocate}
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked_at, found_at = json.loads(line)
        failed = ""
        try:
            with np.load(asked_at) as archive:
                given = dict(archive)
            asked = json.loads(str(given.pop("asked")))
            np.savez(found_at, **tasks[asked["task"]](asked, given))
        except Exception:
            failed = traceback.format_exc()
        print(json.dumps(failed), file=answers, flush=True)


if __name__ == "__main__":
    main()
