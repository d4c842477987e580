"""Stand-in; see `hxtorch/__init__.py` beside it."""

from bss2_record import note


class SingleCompartmentNeuron:
    def __init__(self, size, expand_horizontally=False):
        assert isinstance(size, int) and 1 <= size <= 512
        self.size = size
        note("SingleCompartmentNeuron", size=size)
