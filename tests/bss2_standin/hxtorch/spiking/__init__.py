"""Stand-in; see `hxtorch/__init__.py` beside it. Calls of modules are promises, kept by `run`."""

from bss2_record import note

from hxtorch import HELD


class LIFObservables:
    def __init__(self, spikes=None, membrane_cadc=None, current=None, membrane_madc=None):
        if spikes is not None:
            assert spikes.ndim == 3 and ((spikes == 0) | (spikes == 1)).all(), "(steps, samples, neurons) of 0 and 1"
        self.spikes, self.membrane_cadc, self.graded_spikes, self.stacked = spikes, membrane_cadc, None, False


class MixedHXModelParameter:
    def __init__(self, model_value, hardware_value):
        self.model_value, self.hardware_value = model_value, hardware_value


class _Instance:
    def load_calib(self, calib_path):
        note("load_calib", calib_path=calib_path)


class Experiment:
    def __init__(self, mock=False, dt=1e-6):
        assert isinstance(mock, bool) and 0 < dt <= 1e-6
        assert mock or HELD, "init_hardware comes first"
        self.mock, self.dt, self.promises, self.default_execution_instance = mock, dt, [], _Instance()
        note("Experiment", mock=mock, dt=dt)


def run(experiment, runtime):
    assert isinstance(runtime, int) and runtime > 0 and experiment.promises
    note("run", runtime=runtime)
    promises, experiment.promises = experiment.promises, []
    for module, inputs, output in promises:
        module.keep(inputs, output, runtime)
