"""What measurements of local learning share: the parts of MNIST and of scikit-learn's digits that they learn and are
tested on, and their loop over seeds, folds and variants, which keeps each run that is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import arguments, data_folder, read_result, write_result

import spikec
from spikec import datasets

__all__ = ["Part", "digits", "mnist", "of_each", "options_of", "parameters_of", "summary"]

FOLDS = 5


@dataclass(frozen=True)
class Part:
    """What one run learns from and is tested on: (n, pixels) of 0..1, and labels; `fold`: None where there is one."""

    seed: int
    fold: int | None
    train: tuple[Any, Any]
    test: tuple[Any, Any]


def options_of(doc: str, variants: Sequence[str]) -> Any:
    """Of the command line."""
    parser = arguments(doc)
    parser.add_argument("--task", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--only", nargs="+", choices=variants, default=list(variants))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--fresh", action="store_true", help="forget runs that are done")
    parser.add_argument("--validate", action="store_true", help="nothing is stored, no test image is looked at")
    return parser.parse_args()


def of_each(name: str, settings: Any, options: Any, variants: Sequence[str],
            measured: Callable[[str, Part], dict[str, Any]]) -> int:
    """`measured` of all variants, seeds and folds, each stored under `name` when it is done; the exit code."""
    if options.task == "mnist" and data_folder() is None:
        print("MNIST is not there: SPIKEC_DATA names no folder")
        return 1
    torch.set_num_threads(1)
    spikec.set_threads(1)
    parameters = parameters_of(settings)
    seeds = 1 if options.quick else options.seeds or (3 if options.task == "mnist" else 5)
    fresh = options.fresh

    def done() -> list[dict[str, Any]]:
        stored = None if fresh or options.validate else read_result(name)  # others may have written since
        return stored["figures"]["runs"] if stored and stored["parameters"] == parameters else []

    for part in (mnist if options.task == "mnist" else digits)(seeds, options.validate, options.quick):
        for variant in options.only:
            of = {"variant": variant, "seed": part.seed, "fold": part.fold}
            if any(of.items() <= run.items() for run in done()):
                continue
            run = {**of, **measured(variant, part)}
            if not options.validate:
                runs = [*done(), run]
                fresh = False
                write_result(name, parameters, {"runs": runs, "summary": summary(runs, variants)})
    return 0


def parameters_of(settings: Any) -> dict[str, Any]:
    """As JSON gives them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(settings).items()}


def mnist(seeds: int, validate: bool, quick: bool) -> Iterator[Part]:
    """All 60,000 training images, and the test set; or the last 5,000 training images in its place."""
    data = datasets.load_mnist()
    train, held, test = (_rows(each.inputs, 255, each.labels) for each in (data.train, data.validation, data.test))
    if validate:
        test = held
    else:
        train = tuple(np.concatenate(both) for both in zip(train, held, strict=True))
    if quick:
        train, test = (tuple(each[:2000] for each in both) for both in (train, test))
    for seed in range(1, seeds + 1):
        yield Part(seed, None, train, test)


def digits(seeds: int, validate: bool, quick: bool) -> Iterator[Part]:
    """Stratified folds, each with every seed; or a fifth of the training part of a fold in place of its test part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    data = load_digits()
    images, labels = _rows(data.data, 16, data.target)
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(images, labels))
    for seed in range(1, seeds + 1):
        for fold, (train, test) in enumerate(folds[:1] if quick else folds):
            if validate:
                split = StratifiedShuffleSplit(1, test_size=0.2, random_state=fold)
                kept, held = next(split.split(images[train], labels[train]))
                train, test = train[kept], train[held]
            yield Part(seed, fold, (images[train], labels[train]), (images[test], labels[test]))


def _rows(images: Any, white: int, labels: Any) -> tuple[Any, Any]:
    images = np.asarray(images, np.float32).reshape(len(labels), -1)
    return images / (white if images.max() > 1 else 1), np.asarray(labels)


def summary(runs: list[dict[str, Any]], variants: Sequence[str]) -> dict[str, Any]:
    """By variant; `less_than_sleep`: on the same seeds and folds."""
    found: dict[str, Any] = {}
    reached = {(run["variant"], run["seed"], run.get("fold")): run["accuracy"] for run in runs}
    for variant in variants:
        of = {key[1:]: value for key, value in reached.items() if key[0] == variant}
        if not of:
            continue
        less = [reached["sleep", *key] - value for key, value in of.items() if ("sleep", *key) in reached]
        found[variant] = {"mean": mean(of.values()), "deviation": stdev(of.values()) if len(of) > 1 else None,
                          "runs": len(of), "less_than_sleep": mean(less) if less else None,
                          "deviation_of_that": stdev(less) if len(less) > 1 else None}
    return found
