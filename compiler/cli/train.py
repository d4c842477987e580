"""`spikec train`: a model on a data set, from the first weights to a compiled folder."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ...ir.diagnostics import Diagnostics
from .console import JsonOption, print_json, say, say_error
from .losses import LOSS_HELP, choose_loss
from .models import DtOption, ModelArgument, SampleOption, SpikeOption, TargetOption, chosen_target, open_program


def command(
    model: ModelArgument,
    data: Annotated[str, typer.Option(metavar="NAME|FILE.npz", help="mnist, yin-yang, digits, or events with the "
                                      "arrays times, indices, offsets and labels.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The compiled folder to write.")],
    validation: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Held-out events, where DATA is a file.")
                          ] = None,
    target: TargetOption = None,
    dt: DtOption = None,
    spike: SpikeOption = None,
    sample: SampleOption = None,
    loss: Annotated[str | None, typer.Option(help=LOSS_HELP)] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch", min=1, help="Samples a step.")] = 50,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of samples and of the dropout.")] = 0,
    input_dropout: Annotated[float, typer.Option(help="Fraction of input events left out in training.")] = 0.0,
    t_max: Annotated[float | None, typer.Option(help="Seconds that a value is encoded in.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds to simulate; twice the encoding by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    fresh: Annotated[bool, typer.Option(help="Start over, even where DIR.checkpoint goes on from.")] = False,
    json: JsonOption = False,
) -> None:
    """Train a model, and write it as a compiled folder. An interrupted training goes on when it is called again."""
    from ...runtime.devices import check_device
    from ...runtime.interruption import TrainingInterrupted
    from ...runtime.trainer import Trainer
    from ..tasks import check_task, load_task

    faults = Diagnostics()
    check_device(device, faults)  # before data are read
    faults.raise_if_errors()
    program = open_program(model, chosen_target(model, target), dt, spike, sample)
    task = load_task(data, tuple(program.network.inputs), validation, t_max)
    check_task(task, program.network)
    chosen = choose_loss(loss, program.network, task, program.target)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    trainer = Trainer(program, chosen, lr=lr, epochs=epochs, batch_size=batch_size, seed=seed,
                      input_dropout=input_dropout,
                      duration=duration if duration is not None else task.duration, checkpoint=checkpoint,
                      device=device, progress=not json)
    if target is None:
        where = f"that of '{model}'" if Path(model).is_dir() else "the usual one"
        say_error(f"target {program.target}, {where} (--target)")
    if loss is None:
        say_error(f"loss {chosen}, the usual one for this output (--loss)")
    try:
        resumed = 0 if fresh else _done(checkpoint, epochs)
        start = time.perf_counter()
        history = trainer.fit(task.train, task.validation, resume=False if fresh else None)
    except TrainingInterrupted:
        say_error(f"training interrupted; the same command goes on from '{checkpoint}'")
        raise
    seconds = time.perf_counter() - start
    results = {"test": trainer.evaluate(task.test)} if task.test is not None else {}
    trainer.program.save(output)
    if json:
        print_json({"folder": str(output), "checkpoint": str(checkpoint), "seconds": seconds,
                    "target": program.target, "loss": chosen, "resumed_after": resumed,
                    "history": [record.as_dict() for record in history],
                    **{name: asdict(result) for name, result in results.items()}})
        return
    for name, result in results.items():
        accuracy = "" if result.accuracy is None else f", accuracy {100 * result.accuracy:.2f} %"
        say(f"{name}: loss {result.loss:.4f}{accuracy} on {result.samples} samples")
    say(f"trained in {seconds:.1f} s; wrote {output}")


def _done(checkpoint: Path, epochs: int) -> int:
    """How many epochs the checkpoint holds; says so where there is one."""
    from ...runtime.checkpoint import read_checkpoint

    if not checkpoint.exists():
        return 0
    state = read_checkpoint(checkpoint)
    done = int(state["epoch"])
    say_error(f"'{checkpoint}' holds {done} of {epochs} epochs: "
              + ("the training is complete, and only written again; --fresh starts over, more --epochs go on"
                 if done >= epochs else "the training goes on from there; --fresh starts over"))
    return done
