"""Not pynn-brainscales: a stand-in of this project's own, with the names and arguments of those parts that generated
scripts call, as `signatures.py` has them. It checks what it is given, and simulates it by forward Euler: weights act as
a nominal chip's do, 63 / 55 distances from 80 to 150 LSB for the largest one (tutorial ts_12)."""

from types import SimpleNamespace

import numpy as np
from bss2_record import note
from cuba import Layer

DT = 2e-8
LSB_A_STEP = 70 / 55
STATE = SimpleNamespace(set_up=False, populations=[], projections=[])


def setup(timestep=None, min_delay=None):
    assert not STATE.set_up
    STATE.set_up, STATE.populations, STATE.projections = True, [], []
    note("setup")


def end():
    assert STATE.set_up
    STATE.set_up = False
    note("end")


class SpikeSourceArray:
    def __init__(self, spike_times=()):
        self.spike_times = spike_times


class CalibHXNeuronCuba:
    """Ranges are those of its documentation; potentials are cut to whole numbers there, so they are to be some."""

    def __init__(self, plasticity_rule=None, *, v_rest=80, v_reset=70, v_thresh=125, tau_m=10.0, tau_syn_E=10.0,
                 tau_syn_I=10.0, cm=63, tau_refrac=2.0, i_synin_gm_E=500, i_synin_gm_I=500, synapse_dac_bias=600):
        ranges = {"v_rest": (v_rest, 50, 160), "v_reset": (v_reset, 50, 160), "v_thresh": (v_thresh, 50, 220),
                  "tau_m": (tau_m, 0.5, 60), "tau_syn_E": (tau_syn_E, 0.3, 30), "tau_syn_I": (tau_syn_I, 0.3, 30),
                  "cm": (cm, 0, 63), "tau_refrac": (tau_refrac, 0.04, 32), "i_synin_gm_E": (i_synin_gm_E, 30, 800),
                  "i_synin_gm_I": (i_synin_gm_I, 30, 800), "synapse_dac_bias": (synapse_dac_bias, 30, 1022)}
        self.numbers = {name: np.asarray(value, float) for name, (value, _, _) in ranges.items()}
        for name, (_, low, high) in ranges.items():
            given = self.numbers[name]
            assert (low * (1 - 1e-9) <= given).all() and (given <= high * (1 + 1e-9)).all(), f"{name} = {given}"
            assert name[:2] != "v_" or (given == np.rint(given)).all(), f"{name} = {given} is not whole"


cells = SimpleNamespace(SpikeSourceArray=SpikeSourceArray, CalibHXNeuronCuba=CalibHXNeuronCuba)


class StaticSynapse:
    def __init__(self, weight=0, delay=0):
        assert delay == 0, "there are no delays"
        self.weight = weight


standardmodels = SimpleNamespace(synapses=SimpleNamespace(StaticSynapse=StaticSynapse))


class AllToAllConnector:
    def __init__(self, allow_self_connections=True, safe=True):
        self.mask = np.ones


class OneToOneConnector:
    def __init__(self, safe=True):
        self.mask = lambda shape: np.eye(*shape)


class Population:
    def __init__(self, size, cellclass):
        assert STATE.set_up and size > 0
        self.size, self.cell, self.recorded, self.trains = size, cellclass, (), []
        for name, given in getattr(cellclass, "numbers", {}).items():
            assert given.shape in ((), (size,)), f"{name} of {size} neurons is {given.shape}"
        STATE.populations.append(self)
        note("Population", size=size, kind=type(cellclass).__name__, **getattr(cellclass, "numbers", {}))

    @property
    def is_source(self):
        return isinstance(self.cell, SpikeSourceArray)

    def record(self, variables):
        assert list(variables) == ["spikes"] and not self.is_source
        self.recorded = tuple(variables)

    def set(self, spike_times):
        assert self.is_source and len(spike_times) == self.size
        for times in spike_times:
            assert all(isinstance(each, float) for each in times) and (np.diff(times) >= 0).all(), "ascending"
        self.cell.spike_times = spike_times

    def get_data(self, variables):
        assert variables in self.recorded
        return SimpleNamespace(segments=[SimpleNamespace(spiketrains=self.trains)])


class Projection:
    def __init__(self, presynaptic_neurons, postsynaptic_neurons, connector, synapse_type=None, source=None,
                 receptor_type=None):
        assert receptor_type in ("excitatory", "inhibitory") and not postsynaptic_neurons.is_source
        self.pre, self.post, self.receptor_type = presynaptic_neurons, postsynaptic_neurons, receptor_type
        self.mask = connector.mask((self.pre.size, self.post.size))
        self.weight = self.mask * self._checked(synapse_type.weight)
        STATE.projections.append(self)

    def _checked(self, weight):
        weight = np.asarray(weight, float)
        low, high = {"excitatory": (0, 63), "inhibitory": (-63, 0)}[self.receptor_type]
        assert (weight == np.rint(weight)).all() and low <= weight.min() and weight.max() <= high
        return weight

    def set(self, weight):
        assert weight.shape == (self.pre.size, self.post.size)
        self.weight = self.mask * self._checked(weight)


def run(runtime):
    """`runtime` and times in milliseconds."""
    places = {id(each): number for number, each in enumerate(STATE.populations)}
    note("run", runtime=runtime, projections=[
        (places[id(each.pre)], places[id(each.post)], each.receptor_type, each.weight.astype(int))
        for each in STATE.projections])
    steps = int(np.ceil(runtime * 1e-3 / DT)) + 1
    rasters, layers = {}, {}
    for each in STATE.populations:
        rasters[id(each)] = np.zeros((steps, each.size))
        if each.is_source:
            for channel, times in enumerate(each.cell.spike_times):
                assert all(0 <= time <= runtime for time in times)
                np.add.at(rasters[id(each)][:, channel], np.rint(np.asarray(times) * 1e-3 / DT).astype(int), 1)
        else:
            told = each.cell.numbers
            layers[id(each)] = Layer(1, each.size, DT, told["v_rest"], told["tau_m"] * 1e-6, told["tau_syn_E"] * 1e-6,
                                     told["v_thresh"], told["v_reset"], told["tau_refrac"] * 1e-6)
    for step in range(steps - 1):
        for key, layer in layers.items():
            arrived = sum((rasters[id(each.pre)][step] @ each.weight for each in STATE.projections
                           if id(each.post) == key), np.zeros(layer.v.shape[1]))
            rasters[key][step + 1] = layer.step(LSB_A_STEP * arrived)[0]
    for each in STATE.populations:
        each.trains = [np.flatnonzero(column) * DT * 1e3 for column in rasters[id(each)].T]


def reset():
    note("reset")
