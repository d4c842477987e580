"""Running and training networks of graded synapses."""
