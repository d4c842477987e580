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


@dataclass(frozen=True)
class Setting:
    """Weights are drawn from normal(mean, std), so that hidden neurons spike about once for most images. `scale`: of
    the voltages in the softmax."""

    hidden: int
    fc1: tuple[float, float]
    fc2: tuple[float, float]
    scale: float
    lr: float
    batch: int
    epochs: int
    dropout: float


SETTINGS = {
    "mnist": Setting(350, (0.039, 0.0225), (0.0, 0.04), scale=1, lr=4e-3, batch=50, epochs=2, dropout=0.2),
    "digits": Setting(150, (0.05, 0.4), (0.0, 0.2), scale=2, lr=5e-3, batch=20, epochs=20, dropout=0.05),
}


def network(inputs: int, setting: Setting) -> spikec.Graph:
    """inputs - hidden - 10: current-based LIF neurons, and a readout whose highest membrane names the class."""
    taus = {"tau_mem": 20e-3, "tau_syn": 10e-3}
    net = Builder()
    pixels = net.input("pixels", inputs)
    hidden = net.cubalif("hidden", setting.hidden, **taus)
    digit = net.cubali("digit", 10, **taus)
    net.connect(pixels, hidden, weight=normal(*setting.fc1, seed=1), name="fc1")
    net.connect(hidden, digit, weight=normal(*setting.fc2, seed=2), name="fc2")
    net.output("out", digit)
    return net.build()


def main() -> None:
    start = time.perf_counter()
    options = arguments()
    name = options.data or ("mnist" if datasets.is_present("mnist") else "digits")
    data = datasets.load_mnist() if name == "mnist" else datasets.load_digits()
    setting = SETTINGS[name]

    def encoded(split: datasets.Split) -> tuple[spikec.Events, np.ndarray]:
        return encoders.latency(split.inputs, T_MAX, v_max=data.peak), split.labels

    program = spikec.compile(network(data.train.inputs[0].size, setting), target="event")
    print(program.report(), end="\n\n")
    trainer = Trainer(program, losses.VoltageMaxCrossEntropy(scale=setting.scale), lr=setting.lr, scheduler="cosine",
                      batch_size=setting.batch, epochs=options.epochs or setting.epochs,
                      input_dropout=setting.dropout, duration=DURATION)
    trainer.fit(encoded(data.train), encoded(data.validation))

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch)
        trainer.program.save(folder / "net")
        events, labels = encoded(data.test)
        write_events(folder / "test.npz", {"pixels": events})
        command = [sys.executable, "-m", "spikec", "run", str(folder / "net"), "--input", str(folder / "test.npz"),
                   "--output", str(folder / "out.npz"), "--duration", str(DURATION)]
        print("$", "spikec", *command[3:], flush=True)
        subprocess.run(command, check=True)
        voltages = read_npz(folder / "out.npz")["probes/out.voltage_max"]
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
