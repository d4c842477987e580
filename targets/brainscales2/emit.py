"""The files of a program for BrainScaleS-2 that the chip's own software takes: always the same bytes for the same
program. None of them has run on a chip; what of the program one of them cannot say leaves it out, and the README says
why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork, AnalogProjection
from ...ir.network import Network
from ...ir.npz import pack_npz
from .nir_file import faults_for_nir, nir_file
from .settings import (
    LABEL,
    LEVELS,
    described,
    faults_for_hxtorch,
    faults_for_pynn,
    in_order,
    keys_of,
    reachable,
    weight_scale,
)

if TYPE_CHECKING:
    import jinja2

__all__ = ["HXTORCH", "NIR", "PARAMETERS", "PYNN", "README", "WEIGHTS", "program_files"]

NIR, HXTORCH, PYNN = "model.nir", "run_hxtorch.py", "run_pynn.py"
WEIGHTS, PARAMETERS, README = "weights.npz", "params.json", "README.md"


def program_files(network: Network, held: AnalogNetwork, chip: AnalogChip) -> dict[str, bytes]:
    """The files by name. `network`: in the chip's form; `held`: the same in the chip's numbers."""
    common = reachable(held, chip)
    left_out = {name: faults for name, faults in (
        (NIR, common + faults_for_nir(network, held, chip)), (HXTORCH, common + faults_for_hxtorch(held)),
        (PYNN, common + faults_for_pynn(held, chip))) if faults}
    settings = described(network, held, chip, left_out)
    files = {WEIGHTS: pack_npz({f"w{number}": each.codes.astype(np.int16)
                                for number, each in enumerate(held.projections)}),
             PARAMETERS: json.dumps(settings, indent=1).encode() + b"\n",
             README: _rendered("readme.jinja", **_for_readme(held, chip, settings, left_out)).encode()}
    if NIR not in left_out:
        files[NIR] = nir_file(network, held, chip)
    if HXTORCH not in left_out:
        files[HXTORCH] = _rendered("run_hxtorch.jinja", **_shared(held), layers=_layers(held),
                                   merged=any(each.circuits > 1 for each in held.populations.values())).encode()
    if PYNN not in left_out:
        files[PYNN] = _rendered("run_pynn.jinja", **_shared(held), wires=_wires(held)).encode()
    return files


def _shared(held: AnalogNetwork) -> dict[str, Any]:
    keys = keys_of(held)
    return {"label": LABEL, "levels": LEVELS, "inputs": [(keys[name], n) for name, n in held.inputs.items()],
            "populations": [(keys[name], each.n, each.spiking) for name, each in held.populations.items()],
            "projections": [(f"w{number}", *each.codes.shape, each.rows)
                            for number, each in enumerate(held.projections)]}


def _layers(held: AnalogNetwork) -> list[dict[str, Any]]:
    """Of each population in order, how hxtorch makes it: with EventProp where one projection leads to it."""
    keys, layers = keys_of(held), []
    for name in in_order(held) or []:
        parts = [part for number, each in enumerate(held.projections) if each.target == name
                 for part in _parts(held, number, each, keys)]
        spiking = held.populations[name].spiking
        layers.append({"key": keys[name], "spiking": spiking, "parts": parts,
                       "exact": spiking and len(parts) == 1})
    return layers


def _parts(held: AnalogNetwork, number: int, each: AnalogProjection, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """The modules of a projection: rows of inputs are inputs again, side by side; rows of neurons synapses again."""
    source = keys[each.source]
    if each.source in held.inputs:
        return [{"key": f"w{number}", "codes": f"w{number}", "source": source, "given": True, "rows": each.rows,
                 "row": None}]
    return [{"key": f"w{number}" if each.rows == 1 else f"w{number}_{row}", "codes": f"w{number}", "source": source,
             "given": False, "rows": each.rows, "row": row} for row in range(each.rows)]


def _wires(held: AnalogNetwork) -> list[dict[str, Any]]:
    keys = keys_of(held)
    return [{"key": f"w{number}", "source": keys[each.source], "target": keys[each.target], "rows": each.rows,
             "relay": None if each.delay is None else f"r{number}"} for number, each in enumerate(held.projections)]


def _for_readme(held: AnalogNetwork, chip: AnalogChip, settings: Mapping[str, Any],
                left_out: Mapping[str, list[str]]) -> dict[str, Any]:
    rest, top, spread = chip["readout.leak"], chip["readout.threshold"], sum(each.rows > 1 for each in held.projections)
    return {
        "label": LABEL, "left_out": left_out, "scale": weight_scale(held, chip), "levels": LEVELS,
        "chip_levels": chip.levels, "trace_scale": 1 / (top - rest), "rest": rest, "top": top, "dt": settings["dt"],
        "speed_up": held.speed_up,
        "neurons": sum(each.n for each in held.populations.values()), "circuits": held.used,
        "runs": 1 if held.schedule is None else len(held.schedule.runs), "spread": spread,
        "synapses": sum(int(np.count_nonzero(each.codes)) for each in held.projections),
        "inputs": list(settings["inputs"]), "spiking": [key for key, each in settings["populations"].items()
                                                        if each["spiking"]],
        "read": [key for key, each in settings["populations"].items() if not each["spiking"]],
        "delayed": [key for key, each in settings["projections"].items() if "relay" in each],
        "technical": settings["technical"],
    }


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
                              autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def _rendered(template: str, **variables: Any) -> str:
    return _templates().get_template(template).render(**variables)
