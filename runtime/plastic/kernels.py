"""The kernel of plastic.jinja: its structures, and its text for the rules of a network."""

from __future__ import annotations

import ctypes
import functools

from .. import jit
from .products import RuleCode

__all__ = ["ARGS", "PATH", "POPULATION", "SOURCE", "TOLD", "library", "plastic_source"]

TOLD = ("weights_changed", "weights_clipped", "tags_clipped", "raised", "raised_clipped", "post_raised", "post_clipped")
"""What a path counts, in the order of the kernel's enumeration."""


def _fields(*groups: tuple[str, str]) -> tuple[tuple[str, str, int], ...]:
    """Of (type, names); types that end with a star are pointers."""
    return tuple((kind, name, 0) for kind, names in groups for name in names.split())


_SOURCE = _fields(
    ("int64_t", "count"), ("const int32_t *", "at values all all_values"), ("const int64_t *", "begins"))
_POPULATION = _fields(
    ("int64_t", "n lanes left_u left_v threshold late kind gate_width gate_value shift gain count_step "
     "error_threshold says_spikes holds trace_impulse trace_decay updates mirrors said_errors said_counts spikes "
     "clipped"),
    ("const int32_t *", "bias"), ("const int16_t *", "mask"),
    ("int32_t *", "u v ring fired fired_at error balance count trace b told_now error_at error_values"),
    ("int16_t *", "says counts_said"), ("const int64_t *", "told_begins"), ("const int32_t *", "told_at told_values"),
    ("int8_t *", "shown"))
_PATH = _fields(
    ("int64_t", "source target dendrite exponent lanes source_lanes n_pre n_post delays stencil rule live live_post "
     "lowest hears said_y0 key_synapses key_x key_y"),
    ("int64_t *", "told"), ("int16_t *", "table tag delay y0 y_seen y_own"),
    ("int32_t *", "x y x_seen live_at scratch x_after y_after"), ("uint8_t *", "tx ty tagged"),
    ("const int64_t *", "starts"),
    ("const int32_t *", "places entries x_whole x_rest y_whole y_rest x_impulse y_impulse y_again synapse"),
    ("const double *", "x_real y_real x_decay y_decay"), ("double", "y_least"))
_ARGS = _fields(
    ("int64_t", "columns step head learns output n_inputs n_populations n_paths n_windows"),
    ("Source *", "sources"), ("Population *", "populations"), ("Path *", "paths"),
    ("const int64_t *", "control reward windows"), ("int32_t *", "counts membranes"))
SOURCE, POPULATION, PATH, ARGS = (jit.arguments_type(each) for each in (_SOURCE, _POPULATION, _PATH, _ARGS))


@functools.cache
def plastic_source(rules: tuple[RuleCode, ...], lava: bool) -> str:
    """The text of the kernel; `lava`: with one random number for all synapses of a projection."""
    return jit.render("plastic.jinja", lava=lava, rules=rules, source_fields=jit.structure(_SOURCE),
                      population_fields=jit.structure(_POPULATION), path_fields=jit.structure(_PATH),
                      fields=jit.structure(_ARGS))


@functools.cache
def library(rules: tuple[RuleCode, ...], lava: bool) -> ctypes.CDLL:
    """The kernel, compiled.

    Raises:
        KernelError: it cannot be built here (SC421, SC422).
    """
    return jit.compile_c(plastic_source(rules, lava))
