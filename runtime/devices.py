"""The devices that engines run on."""

from __future__ import annotations

from typing import Any

import torch

from ..ir.diagnostics import Diagnostics

__all__ = ["check_device"]


def check_device(device: Any, faults: Diagnostics) -> None:
    """Reports a device that is not known, that the engine does not run on, or that is not there (SC504)."""
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        faults.add("SC504", "device is not known", value=repr(device), limit="cpu, cuda, cuda:N",
                   remedy="Use the device cpu.")
        return
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted.type not in ("cpu", "cuda"):
        faults.add("SC504", "the engine does not run on this device", value=str(wanted), limit="cpu, cuda, cuda:N",
                   remedy="Use the device cpu.")
    elif wanted.type == "cuda" and (wanted.index or 0) >= there:
        faults.add("SC504", "torch sees no such CUDA device", value=str(wanted), limit=f"{there} of them",
                   remedy="Use the device cpu; `spikec doctor` shows what is there.")
