"""`spikec train`: a model on a data set, from the first weights to a compiled folder."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.graded.network import refuse_graded
from ...ir.learning.rule import LearningRule
from .console import JsonOption, print_json, say, say_error
from .interrupts import keeps_checkpoint
from .losses import LOSS_HELP, choose_loss, with_remedy
from .models import (
    DtOption,
    ModelArgument,
    OptionOption,
    SampleOption,
    SpikeOption,
    TargetOption,
    chosen_target,
    open_program,
)
from .pairs import parse_options, parse_pairs
from .rules import chosen_rule


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
    option: OptionOption = None,
    loss: Annotated[str | None, typer.Option(help=LOSS_HELP)] = None,
    silent: Annotated[str | None, typer.Option(
        metavar="push|bump|both|none", help="What is done about neurons that should have fired, of losses that know "
        "remedies; push by default where it can be done.")] = None,
    rule: Annotated[str | None, typer.Option(
        metavar="NAME|FILE", help="Learn by a local rule of the library (`spikec rules`), or of a file in its text "
        "form, in the place of gradients.")] = None,
    rule_option: Annotated[list[str] | None, typer.Option(
        "--rule-option", metavar="KEY=VALUE", help="A hyper-parameter of the rule; as often as there are any.")] = None,
    figures: Annotated[Path | None, typer.Option(
        metavar="FILE.html", help="How training went, with plots; needs matplotlib.")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch", min=1, help="Samples a step.")] = 50,
    lr: Annotated[float | None, typer.Option(help="Learning rate of Adam, 1e-3 by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of samples, the dropout, and what a rule draws.")] = 0,
    input_dropout: Annotated[float, typer.Option(help="Fraction of input events left out in training.")] = 0.0,
    encoder: Annotated[str | None, typer.Option(
        metavar="latency|regular|poisson", help="How values of a data set become spikes: one each, the larger the "
        "earlier; evenly spaced, the larger the more, which local rules learn from; or as many, drawn.")] = None,
    peak_rate: Annotated[float | None, typer.Option(
        metavar="HZ", help="Rate of the largest value, 800 Hz by default, with --encoder regular or poisson.")] = None,
    t_max: Annotated[float | None, typer.Option(help="Seconds that a value is encoded in.")] = None,
    duration: Annotated[float | None, typer.Option(
        help="Seconds to simulate; twice the encoding by default. Of a rule, its hyper-parameter.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    fresh: Annotated[bool, typer.Option(help="Start over, even where DIR.checkpoint goes on from.")] = False,
    json: JsonOption = False,
) -> None:
    """Train a model, and write it as a compiled folder. An interrupted training goes on when it is called again."""
    from ...ir.paths import require_place
    from ...runtime.devices import check_device
    from ...runtime.display import figures_text
    from ...runtime.trainer import Trainer
    from ...targets.artefact import require_folder
    from ..page import check_page
    from ..tasks import check_task, load_task

    faults = Diagnostics()
    check_device(device, faults)  # before data are read
    faults.raise_if_errors()
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    require_folder(output)
    require_place(checkpoint)
    if figures is not None:
        check_page(figures)
    program = open_program(model, chosen_target(model, target), dt, spike, sample, parse_options(option))
    refuse_graded(program.network, "spikec train")
    learnt = _local(rule, program.target, parse_pairs(rule_option, "--rule-option", "rate=1e-3"), duration)
    task = load_task(data, tuple(program.network.inputs), validation, t_max, encoder, peak_rate)
    check_task(task, program.network)
    chosen = loss
    if learnt is None:
        chosen = choose_loss(loss, program.network, task, program.target, rule)
        lr = 1e-3 if lr is None else lr
        duration = duration if duration is not None else task.duration
    elif silent is not None:
        raise BadInputError(Diagnostic("SC550", "--silent is for losses, and this trains by a rule", value=silent,
                                       remedy="Leave --silent out."))
    taken = None if chosen is None else with_remedy(chosen, silent)
    trainer = Trainer(program, taken, lr=lr, rule=rule if learnt is None else learnt, epochs=epochs,
                      batch_size=batch_size, seed=seed, input_dropout=input_dropout,
                      duration=duration if learnt is None else None, checkpoint=checkpoint, device=device,
                      progress=not json)
    if target is None:
        where = f"that of '{model}'" if Path(model).is_dir() else "the usual one"
        say_error(f"target {program.target}, {where} (--target)")
    if encoder is None and task.encoder is not None:
        say_error(f"encoder {task.encoder}, the usual one of '{data}' (--encoder"
                  + ("; local rules learn from regular)" if learnt is not None and task.encoder == "latency" else ")"))
    if loss is None and learnt is None:
        say_error(f"loss {chosen}, the usual one for this output (--loss)")
    with keeps_checkpoint(checkpoint, fresh):
        resumed = 0 if fresh else _done(checkpoint, epochs)
        start = time.perf_counter()
        history = trainer.fit(task.train, task.validation, resume=False if fresh else None)
        seconds = time.perf_counter() - start
        results = {"test": trainer.evaluate(task.test)} if task.test is not None else {}
        trainer.program.save(output)
        if figures is not None:
            from ..learning_page import save_learning

            save_learning(history, learnt, figures)
    if json:
        print_json({"folder": str(output), "checkpoint": str(checkpoint), "seconds": seconds,
                    "target": program.target, "loss": chosen, "rule": rule if learnt is None else learnt.name,
                    "resumed_after": resumed, "figures": None if figures is None else str(figures),
                    "history": [record.as_dict() for record in history],
                    **{name: asdict(result) for name, result in results.items()}})
        return
    if learnt is not None:
        from ..learning_page import last_figures

        for table in last_figures(history):
            say(table)
    for name, result in results.items():
        say(f"{name}: {figures_text(result)}, on {result.samples} samples")
    say(f"trained in {seconds:.1f} s; wrote {output}" + ("" if figures is None else f" and {figures}"))


def _local(rule: str | None, target: str, options: dict[str, Any], duration: float | None) -> LearningRule | None:
    """The local rule that `--rule` names; None where gradients are meant. `--duration` is one of its options.

    Raises:
        BadInputError: as `chosen_rule`, or options without a local rule (SC550).
    """
    from ...runtime.trainer_checks import GRADIENTS

    if rule is not None and not any(rule in ways for ways in GRADIENTS.values()):
        return chosen_rule(rule, target, options if duration is None else {"duration": duration, **options})
    if options:
        raise BadInputError(Diagnostic("SC550", "--rule-option is for a local rule", value=", ".join(options),
                                       remedy="Name it with --rule; `spikec rules` lists them."))
    return None


def _done(checkpoint: Path, epochs: int) -> int:
    """How many epochs the checkpoint holds; says so where there is one."""
    from ...runtime.checkpoint import restoring

    if not checkpoint.exists():
        return 0
    with restoring(checkpoint) as state:
        done = int(state["epoch"])
    say_error(f"'{checkpoint}' holds {done} of {epochs} epochs: "
              + ("the training is complete, and only written again; --fresh starts over, more --epochs go on"
                 if done >= epochs else "the training goes on from there; --fresh starts over"))
    return done
