"""A chip behind a generated script that runs in a process of its own, `run_hxtorch.py --serve`: the script keeps its
experiment, and with it the calibration, from run to run. Runs go there and back as `.npz` files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.events import Events
from ...ir.nodes import Array
from ...ir.npz import read_npz

__all__ = ["ScriptedChip"]

_FIELDS = ("times", "indices", "offsets")
_ANSWER = "spikec: "


class ScriptedChip:
    """`measure` runs a network on what is behind `run_hxtorch.py` of a saved program. The process begins with the first
    run, and ends with `close`, or with the `with` block that this opens.

    Args:
        folder: the program's, that `save` wrote.
        options: of the script, as `["--dt", "2e-8", "--calibration", "mine.pkl"]`; `["--mock"]` is hxtorch's own
            simulation.
        python: the interpreter that has hxtorch; without it, this one.

    Raises:
        BadInputError: the folder has no such script, or no `params.json` (SC520). From `measure`, OSError where the
            script ends or fails, which a run or a training tells as SC377.
    """

    def __init__(self, folder: str | Path, options: Sequence[str] = (), python: str | None = None) -> None:
        self.folder, self.options, self.python = Path(folder).resolve(), tuple(options), python or sys.executable
        self.runs = 0
        """Runs that were made."""
        try:
            told = json.loads((self.folder / "params.json").read_bytes())
            self._inputs = {each["name"]: key for key, each in told["inputs"].items()}
            self._fires = {each["name"]: key for key, each in told["populations"].items() if each["spiking"]}
            self._projections = {each["name"]: key for key, each in told["projections"].items()}
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(Diagnostic("SC520", f"'{folder}' says nothing of its network: {error!r}",
                                           remedy="Give the folder of a program for brainscales2.")) from error
        if not (self.folder / "run_hxtorch.py").is_file():
            raise BadInputError(Diagnostic("SC520", f"'{folder}' has no run_hxtorch.py",
                                           remedy="Its README.md says what of the network hxtorch cannot do."))
        self._place = tempfile.TemporaryDirectory(prefix="spikec-chip-")
        self._process: subprocess.Popen[str] | None = None

    def measure(self, codes: Mapping[str, Array], spikes: Mapping[str, Events], duration: float) -> dict[str, Events]:
        """One run: see `runtime.analog.in_the_loop.Measure`."""
        place = Path(self._place.name)
        weights, given, found = (place / f"{name}.npz" for name in ("codes", "in", "out"))
        np.savez(weights, **{key: np.asarray(codes[name]) for name, key in self._projections.items()})  # type: ignore[arg-type]
        events: dict[str, Any] = {f"{key}.{field}": getattr(spikes[name], field)
                                  for name, key in self._inputs.items() for field in _FIELDS}
        np.savez(given, **events)
        self._ask({"input": str(given), "output": str(found), "weights": str(weights), "duration": float(duration)})
        self.runs += 1
        arrays: dict[str, Any] = read_npz(found)
        return {name: Events(arrays[f"{key}.times"], arrays[f"{key}.indices"], arrays[f"{key}.offsets"])
                for name, key in self._fires.items()}

    def close(self) -> None:
        """Ends the process, which releases the chip; what is measured next begins another."""
        process, self._process = self._process, None
        if process is not None:
            cast(IO[str], process.stdin).close()
            cast(IO[str], process.stdout).close()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any]) -> None:
        """One run of the script. Raises OSError where it has none to give."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [self.python, str(self.folder / "run_hxtorch.py"), "--serve", *self.options], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        talk, heard = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        talk.write(json.dumps(request) + "\n")
        talk.flush()
        for line in heard:  # what else the chip's software prints is passed over
            if line.startswith(_ANSWER):
                answer = line.removeprefix(_ANSWER).strip()
                if answer != "done":
                    raise OSError(f"run_hxtorch.py {answer}")
                return
        raise OSError(f"run_hxtorch.py has ended, with {self._process.wait()}; its messages say why")
