"""What measurements of local learning share: the parts of MNIST and of scikit-learn's digits that they learn and are
tested on, their loop over seeds, folds and variants, which keeps each run that is done, and the choice of the learning
rate, of each fold for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import arguments, data_folder, machine_record, read_result, rounded, write_result

import spikec
from spikec import datasets

__all__ = ["Part", "digits", "mnist", "of_each", "options_of", "summary"]

FOLDS = 5
FACTORS = (1.0, 0.5, 2.0)
"""Of the learning rate, what is tried in each fold; the first of several that are as good."""


@dataclass(frozen=True)
class Part:
    """What one run learns from and is tested on: (n, pixels) of 0..1, and labels; `fold`: None where there is one."""

    seed: int
    fold: int | None
    train: tuple[Any, Any]
    test: tuple[Any, Any]


def options_of(doc: str, variants: Sequence[str]) -> Any:
    """Of the command line. `--fresh` and `--only` together do these variants anew."""
    parser = arguments(doc)
    parser.add_argument("--task", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--only", nargs="+", choices=variants, default=list(variants))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--fresh", action="store_true", help="do runs again that are done")
    parser.add_argument("--validate", action="store_true", help="nothing is stored, no test image is looked at")
    return parser.parse_args()


def of_each(name: str, settings: Any, options: Any, variants: Sequence[str],
            measured: Callable[[str, Part, float], dict[str, Any]]) -> int:
    """`measured`, given a variant, a part and a factor of the learning rate, of all variants, seeds and folds, each
    stored under `name` when it is done; the exit code."""
    if options.task == "mnist" and data_folder() is None:
        print("MNIST is not there: SPIKEC_DATA names no folder")
        return 1
    torch.set_num_threads(1)
    spikec.set_threads(1)
    parameters, commit = rounded(vars(settings)), machine_record()["commit"]
    seeds = 1 if options.quick else options.seeds or (3 if options.task == "mnist" else 5)
    chosen: dict[tuple[str, int], float] = {}
    again = {(variant, seed, fold) for variant in options.only for seed in range(1, seeds + 1)
             for fold in (None, *range(FOLDS))} if options.fresh else set()

    def done() -> dict[Any, dict[str, Any]]:
        """By variant, seed and fold."""
        stored = None if options.validate else read_result(name)  # others may have written since
        if stored is None or stored["parameters"] != parameters:
            return {}
        runs = [{"fold": None, "commit": stored["machine"]["commit"], **run} for run in stored["figures"]["runs"]]
        return {key: run for run in runs if (key := (run["variant"], run["seed"], run["fold"])) not in again}

    def factor(variant: str, fold: int) -> float:
        """Chosen on the training part of a fold alone; baselines of feedback have that of `sleep`."""
        variant = variant if variant == "surrogate" else "sleep"
        if (variant, fold) not in chosen:
            found = next((run["factor"] for run in done().values() if (run["variant"], run["fold"]) == (variant, fold)),
                         None)
            if found is None:
                part = next(each for each in digits(1, True, False) if each.fold == fold)
                found = max(FACTORS, key=lambda each: measured(variant, part, each)["accuracy"])
            chosen[variant, fold] = found
        return chosen[variant, fold]

    for part in (mnist if options.task == "mnist" else digits)(seeds, options.validate, options.quick):
        for variant in options.only:
            key = variant, part.seed, part.fold
            if key in done():
                continue
            rate = 1.0 if part.fold is None or options.validate or options.quick else factor(variant, part.fold)
            run = {"variant": variant, "seed": part.seed, "fold": part.fold, "factor": rate, "commit": commit,
                   **measured(variant, part, rate)}
            if not options.validate:
                again.discard(key)
                runs = [*done().values(), run]
                write_result(name, parameters, {"runs": runs, "summary": summary(runs, variants)})
    return 0


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
    reached = {(run["variant"], run["seed"], run["fold"]): run["accuracy"] for run in runs}
    for variant in variants:
        of = {key[1:]: value for key, value in reached.items() if key[0] == variant}
        if not of:
            continue
        less = [reached["sleep", *key] - value for key, value in of.items() if ("sleep", *key) in reached]
        found[variant] = {"mean": mean(of.values()), "deviation": stdev(of.values()) if len(of) > 1 else None,
                          "runs": len(of), "less_than_sleep": mean(less) if less else None,
                          "deviation_of_that": stdev(less) if len(less) > 1 else None}
    return found
