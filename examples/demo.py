"""Trains a network on real data, saves it, loads it, and runs it from the command line.

MNIST where the data folder has it (`spikec data get mnist`), else scikit-learn's digits. The last line says how
accurate the saved network is on the test set, and how long everything took.

    python examples/demo.py [--data mnist|digits] [--epochs N] [--keep DIR]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import spikec
from spikec import Builder, Trainer, datasets, encoders, losses, normal
from spikec.ir.event_files import write_events
from spikec.ir.npz import read_npz

T_MAX, DURATION = 20e-3, 60e-3  # seconds: every pixel spikes once, within 20 ms, the brighter the earlier
TAUS = {"tau_mem": 80e-3, "tau_syn": 40e-3}  # slow against the input
PROBES = np.linspace(5e-3, DURATION, 12)


@dataclass(frozen=True)
class Setting:
    """Weights are drawn from normal(mean, std), so that hidden neurons spike less than once for most images."""

    hidden: int
    fc1: tuple[float, float]
    batch: int
    epochs: int


SETTINGS = {
    "mnist": Setting(350, (0.03, 0.08), batch=100, epochs=2),
    "digits": Setting(150, (0.1, 0.15), batch=20, epochs=15),
}


def network(inputs: int, setting: Setting) -> spikec.Graph:
    """inputs - hidden - 10: current-based LIF neurons, and a readout whose highest mean membrane names the class."""
    net = Builder()
    pixels = net.input("pixels", inputs)
    hidden = net.cubalif("hidden", setting.hidden, **TAUS)
    digit = net.cubali("digit", 10, **TAUS)
    net.connect(pixels, hidden, weight=normal(*setting.fc1, seed=1), name="fc1")
    net.connect(hidden, digit, weight=normal(0.0, 0.1, seed=2), name="fc2")
    net.output("out", digit)
    return net.build()


def main() -> None:
    start = time.perf_counter()
    options = arguments()
    name = options.data or ("mnist" if datasets.is_present("mnist") else "digits")
    data = datasets.load_mnist() if name == "mnist" else datasets.load_digits()
    setting = SETTINGS[name]

    def encoded(split: datasets.Split) -> tuple[spikec.Events, np.ndarray]:
        return encoders.latency(split.inputs, T_MAX, v_max=data.peak, threshold=data.peak / 255), split.labels

    program = spikec.compile(network(data.train.inputs[0].size, setting), target="event")
    print(program.report(), end="\n\n")
    trainer = Trainer(program, losses.IntegratedVoltageCrossEntropy(scale=50.0), lr=8e-3, scheduler="cosine",
                      batch_size=setting.batch, epochs=options.epochs or setting.epochs, input_dropout=0.1,
                      gradient_clip=0.02, duration=DURATION)
    trainer.fit(encoded(data.train), encoded(data.validation))

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch)
        trainer.program.save(folder / "net")
        events, labels = encoded(data.test)
        write_events(folder / "test.npz", {"pixels": events})
        command = [sys.executable, "-m", "spikec", "run", str(folder / "net"), "--input", str(folder / "test.npz"),
                   "--output", str(folder / "out.npz"), "--duration", str(DURATION),
                   "--probe", f"digit.v@{','.join(f'{each:.3g}' for each in PROBES)}"]
        print("$", "spikec", *command[3:], flush=True)
        subprocess.run(command, check=True)
        voltages = read_npz(folder / "out.npz")["probes/digit.v"].mean(axis=1)  # over time: (samples, 10)
    accuracy = float(np.mean(voltages.argmax(axis=1) == labels))
    seconds = time.perf_counter() - start
    print(f"demo on {name}: test accuracy {100 * accuracy:.2f} % in {seconds:.1f} s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SETTINGS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--keep", metavar="DIR", help="keep the compiled folder and the event files there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
