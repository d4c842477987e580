"""The library of learning rules: each a short declaration in a file of its own. `RULES` lists them, `rule_named` finds
one; each is also a function here, with its hyper-parameters as keywords."""

from .biograd import biograd
from .catalogue import RULES, LibraryRule, rule_named
from .decolle import decolle
from .e_prop import e_prop
from .emstdp import emstdp
from .hebb import hebb
from .oja import oja
from .reward_stdp import reward_stdp
from .soel import soel
from .stdp_pair import stdp_pair
from .stdp_triplet import stdp_triplet
from .superspike import superspike

__all__ = [
    "RULES", "LibraryRule", "biograd", "decolle", "e_prop", "emstdp", "hebb", "oja", "reward_stdp", "rule_named",
    "soel", "stdp_pair", "stdp_triplet", "superspike",
]
