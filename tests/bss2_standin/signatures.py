"""Names and arguments of the chip's software that generated scripts use, and where they were read.

By dotted name: arguments in order, and the file with the commit of the version read. A script may call no other name of
these packages, with no other argument; and the stand-ins take no argument that is not here.
"""

HXTORCH = "electronicvisions/hxtorch, {}".format
PYNN = "electronicvisions/pynn-brainscales, {}".format

SIGNATURES = {
    "hxtorch.init_hardware": ((), HXTORCH("hxtorch/__init__.py at 05cfe94")),
    "hxtorch.release_hardware": ((), HXTORCH("hxtorch/__init__.py at 05cfe94")),
    "hxtorch.spiking.Experiment": (("mock", "dt"), HXTORCH("spiking/experiment.py at eb8b02c")),
    "hxtorch.spiking.LIFObservables": (("spikes", "membrane_cadc", "current", "membrane_madc"),
                                       HXTORCH("spiking/handle.py at 507a188")),
    "hxtorch.spiking.MixedHXModelParameter": (("model_value", "hardware_value"),
                                              HXTORCH("examples/spiking/yinyang_model.py at 507a188")),
    "hxtorch.spiking.run": (("experiment", "runtime"), HXTORCH("spiking/run.py at 2e40b50")),
    "hxtorch.spiking.modules.Synapse": (("in_features", "out_features", "experiment", "transform"),
                                        HXTORCH("spiking/modules/synapse.py at eb8b02c")),
    "hxtorch.spiking.modules.EventPropSynapse": (("in_features", "out_features", "experiment", "transform"),
                                                 HXTORCH("spiking/modules/synapse.py at eb8b02c")),
    "hxtorch.spiking.modules.LIF": (
        ("size", "experiment", "leak", "reset", "threshold", "tau_mem", "tau_syn", "i_synin_gm", "membrane_capacitance",
         "refractory_time", "synapse_dac_bias", "enable_cadc_recording", "neuron_structure"),
        HXTORCH("spiking/modules/neuron.py at eb8b02c")),
    "hxtorch.spiking.modules.EventPropLIF": (
        ("size", "experiment", "leak", "reset", "threshold", "tau_mem", "tau_syn", "i_synin_gm", "membrane_capacitance",
         "refractory_time", "synapse_dac_bias", "enable_cadc_recording", "neuron_structure"),
        HXTORCH("spiking/modules/neuron.py at eb8b02c")),
    "hxtorch.spiking.modules.LI": (
        ("size", "experiment", "leak", "tau_mem", "tau_syn", "i_synin_gm", "membrane_capacitance", "synapse_dac_bias",
         "enable_cadc_recording", "trace_scale", "cadc_time_shift", "shift_cadc_to_first", "neuron_structure"),
        HXTORCH("spiking/modules/neuron.py at eb8b02c")),
    "hxtorch.spiking.morphology.SingleCompartmentNeuron": (("size", "expand_horizontally"),
                                                           HXTORCH("spiking/morphology.py at 2d1a9dc")),
    "hxtorch.spiking.transforms.weight_transforms.linear_saturating": (
        ("weight", "scale", "min_weight", "max_weight"), HXTORCH("spiking/transforms/weight_transforms.py at 6fb7fdf")),
    "pynn_brainscales.brainscales2.setup": (("timestep", "min_delay"), PYNN("brainscales2/__init__.py at 01c0c8f")),
    "pynn_brainscales.brainscales2.end": ((), PYNN("brainscales2/__init__.py at 01c0c8f")),
    "pynn_brainscales.brainscales2.run": (("runtime",), PYNN("brainscales2/__init__.py at 01c0c8f")),
    "pynn_brainscales.brainscales2.reset": ((), PYNN("brainscales2/__init__.py at 01c0c8f")),
    "pynn_brainscales.brainscales2.Population": (("size", "cellclass"), PYNN("brainscales2/populations.py at 1cc29f7")),
    "pynn_brainscales.brainscales2.Projection": (
        ("presynaptic_neurons", "postsynaptic_neurons", "connector", "synapse_type", "source", "receptor_type"),
        PYNN("brainscales2/projections.py at fec0944")),
    "pynn_brainscales.brainscales2.AllToAllConnector": (("allow_self_connections", "safe"),
                                                        PYNN("brainscales2/connectors.py at 32e794d")),
    "pynn_brainscales.brainscales2.OneToOneConnector": (("safe",), PYNN("brainscales2/connectors.py at 32e794d")),
    "pynn_brainscales.brainscales2.cells.SpikeSourceArray": (
        ("spike_times",), PYNN("brainscales2/standardmodels/cells.py at 04dff5d")),
    "pynn_brainscales.brainscales2.cells.CalibHXNeuronCuba": (
        ("plasticity_rule", "v_rest", "v_reset", "v_thresh", "tau_m", "tau_syn_E", "tau_syn_I", "cm", "tau_refrac",
         "i_synin_gm_E", "i_synin_gm_I", "synapse_dac_bias"),
        PYNN("test/hw/pynn_brainscales2_test_calibhxneuron.py at 39569fb")),
    "pynn_brainscales.brainscales2.standardmodels.synapses.StaticSynapse": (
        ("weight", "delay"), PYNN("brainscales2/standardmodels/synapses.py at 01c0c8f")),
}
