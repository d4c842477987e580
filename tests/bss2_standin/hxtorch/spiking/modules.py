"""Stand-in; see `hxtorch/__init__.py` beside it."""

import numpy as np
import torch
from bss2_record import note
from cuba import Layer

from hxtorch.spiking import LIFObservables, MixedHXModelParameter
from hxtorch.spiking.morphology import SingleCompartmentNeuron
from hxtorch.spiking.transforms.weight_transforms import linear_saturating


class _Module(torch.nn.Module):
    def forward(self, *inputs):
        assert inputs and all(isinstance(each, LIFObservables) for each in inputs)
        output = LIFObservables()
        self.experiment.promises.append((self, inputs, output))
        return output


class Synapse(_Module):
    stacked = False

    def __init__(self, in_features, out_features, experiment, transform=linear_saturating):
        super().__init__()
        self.shape, self.experiment, self.transform = (out_features, in_features), experiment, transform
        self.weight = torch.nn.Parameter(torch.empty(out_features, in_features))
        note(type(self).__name__, in_features=in_features, out_features=out_features)

    def keep(self, inputs, output, runtime):
        (source,) = inputs
        assert self.weight.data.shape == self.shape and self.weight.data.dtype == torch.float32
        assert source.spikes.shape[0] == runtime and source.spikes.shape[2] == self.shape[1]
        steps = self.transform(self.weight.data.clone())
        codes = steps.round()
        assert (steps - codes).abs().max() < 1e-3 and codes.abs().max() <= 63, "whole steps within a row"
        note("weights", codes=codes.numpy().astype(int))
        output.graded_spikes, output.stacked = source.spikes @ self.weight.data.T, self.stacked


class EventPropSynapse(Synapse):
    stacked = True


def _within(low, high, value):
    """Of a setting of the calibration."""
    value = value.hardware_value if isinstance(value, MixedHXModelParameter) else value
    numbers = np.asarray(value, float)
    assert (low * (1 - 1e-6) <= numbers).all() and (numbers <= high * (1 + 1e-6)).all(), f"{numbers} in {low}..{high}"
    return numbers


def _model(value):
    value = value.model_value if isinstance(value, MixedHXModelParameter) else value
    return np.asarray(value, float)


class _Neurons(_Module):
    """Ranges are those of calix, whole numbers those of its targets."""

    def settle(self, size, experiment, leak, tau_mem, tau_syn, i_synin_gm, membrane_capacitance, synapse_dac_bias,
               neuron_structure, **others):
        assert isinstance(size, int) and size > 0
        assert neuron_structure is None or isinstance(neuron_structure, SingleCompartmentNeuron)
        for number in (leak, *others.values()):
            hardware = _within(50, 220, number)
            assert (hardware == np.rint(hardware)).all() and hardware.shape in ((), (size,))
        _within(50, 160, leak), _within(0.5e-6, 60e-6, tau_mem), _within(0.3e-6, 30e-6, tau_syn)
        _within(30, 800, i_synin_gm), _within(30, 1022, synapse_dac_bias), _within(0, 63, membrane_capacitance)
        assert (_model(membrane_capacitance) == _model(tau_mem)).all(), "or the current has another strength"
        self.size, self.experiment = size, experiment
        note(type(self).__name__, size=size, leak=_within(50, 160, leak), tau_mem=np.asarray(tau_mem, float),
             tau_syn=np.asarray(tau_syn, float), circuits=1 if neuron_structure is None else neuron_structure.size,
             **{name: _within(50, 220, number) for name, number in others.items()})

    def simulated(self, inputs, output, runtime, stacked, **settings):
        assert all(each.graded_spikes.shape[2] == self.size and each.stacked == stacked for each in inputs)
        arrived = sum(each.graded_spikes for each in inputs).numpy().astype(float)
        steps, samples, _ = arrived.shape
        assert steps == runtime
        layer = Layer(samples, self.size, self.experiment.dt, late=not stacked, **settings)
        spikes, membrane = np.zeros(arrived.shape), np.zeros(arrived.shape) + settings["leak"]
        # spikes of a step act on the next one, as in EventPropLIF
        for step in range(steps - 1):
            spikes[step + 1] = layer.step(arrived[step])
            membrane[step + 1] = layer.v
        output.membrane_cadc = torch.from_numpy(membrane.astype(np.float32))
        return torch.from_numpy(spikes.astype(np.float32))


class LIF(_Neurons):
    stacked = False

    def __init__(self, size, experiment, leak=80, reset=80, threshold=125, tau_mem=10e-6, tau_syn=10e-6, i_synin_gm=500,
                 membrane_capacitance=63, refractory_time=1e-6, synapse_dac_bias=600, enable_cadc_recording=True,
                 neuron_structure=None):
        super().__init__()
        assert enable_cadc_recording is False
        self.settle(size, experiment, leak, tau_mem, tau_syn, i_synin_gm, membrane_capacitance, synapse_dac_bias,
                    neuron_structure, reset=reset, threshold=threshold)
        _within(50, 160, reset), _within(40e-9, 32e-6, refractory_time)
        self.settings = {"leak": _model(leak), "reset": _model(reset), "threshold": _model(threshold),
                         "tau_mem": _model(tau_mem), "tau_syn": _model(tau_syn),
                         "refractory": 0.0 if self.stacked else _model(refractory_time)}

    def keep(self, inputs, output, runtime):
        assert not self.stacked or len(inputs) == 1, "EventPropLIF takes one input"
        output.spikes = self.simulated(inputs, output, runtime, self.stacked, **self.settings)


class EventPropLIF(LIF):
    stacked = True


class LI(_Neurons):
    def __init__(self, size, experiment, leak=80, tau_mem=10e-6, tau_syn=10e-6, i_synin_gm=500, membrane_capacitance=63,
                 synapse_dac_bias=600, enable_cadc_recording=True, trace_scale=1.0, cadc_time_shift=0,
                 shift_cadc_to_first=False, neuron_structure=None):
        super().__init__()
        assert enable_cadc_recording is True and shift_cadc_to_first is True and cadc_time_shift == 0
        assert 0 < trace_scale < 1
        self.settle(size, experiment, leak, tau_mem, tau_syn, i_synin_gm, membrane_capacitance, synapse_dac_bias,
                    neuron_structure)
        self.settings = {"leak": _model(leak), "tau_mem": _model(tau_mem), "tau_syn": _model(tau_syn)}

    def keep(self, inputs, output, runtime):
        self.simulated(inputs, output, runtime, False, **self.settings)
