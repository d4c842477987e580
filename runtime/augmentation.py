"""Images that are another in every epoch: turned, zoomed, distorted, or with pixels flipped.

What is drawn for an image is a function of (seed, epoch, its number) alone, whatever batch it is in, so that a training
with them goes on after an interruption as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.events import Events
from ..ir.facts import is_number
from ..ir.nodes import Array

__all__ = ["Augmented", "Changes", "ImageChanges", "PixelFlips"]

Changes = Callable[[Array, Sequence[Sequence[int]]], Array]
"""(images (samples, …), whole numbers for each of them) -> changed images of the same form."""
_RIGHT_ANGLE = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChanges:
    """Random changes of images (…, height, width), each resampled once, linearly; what lies outside is as the nearest
    pixel.

    `rotation`: degrees, drawn from ±; `zoom`: of height and of width, drawn from 1 ± zoom; `elastic`: pixels by which
    the noise of a distortion is multiplied, drawn between the two (Simard et al., ICDAR 2003: noise uniform in ±1,
    smoothed by a Gaussian of `smoothness` pixels). The defaults are ranges that stand in Bacho & Chu's code for MNIST.

    Raises:
        BadInputError: a range is negative, out of order or too wide (SC501).
    """

    rotation: float = 12.0
    zoom: float = 0.12
    elastic: tuple[float, float] = (8.0, 10.0)
    smoothness: float = 3.0

    def __post_init__(self) -> None:
        faults = Diagnostics()
        for name, value, limit in (("rotation", self.rotation, _RIGHT_ANGLE), ("zoom", self.zoom, 0.999),
                                   ("smoothness", self.smoothness, 1e3)):
            if not (is_number(value) and 0 <= value <= limit):
                faults.add("SC501", f"{name} is out of range", value=repr(value), limit=f"0..{limit:g}")
        pair = self.elastic
        if not (isinstance(pair, Sequence) and len(pair) == 2 and all(map(is_number, pair))
                and 0 <= pair[0] <= pair[1] <= 1e3):
            faults.add("SC501", "elastic is a range of pixels", value=repr(pair), limit="0 <= low <= high <= 1000")
        faults.raise_if_errors()

    def __call__(self, images: Array, seeds: Sequence[Sequence[int]]) -> Array:
        """The changed images, of the same type and form; `seeds`: whole numbers for each of them."""
        height, width = images.shape[-2:]
        drawn = [self._draw(np.random.default_rng(list(seed)), height, width) for seed in seeds]
        if not drawn:
            return images.copy()
        noise = gaussian_filter(np.stack([each[1] for each in drawn]), (0, 0, self.smoothness, self.smoothness))
        middle = np.array([(height - 1) / 2, (width - 1) / 2]).reshape(1, 2, 1)
        strength = np.array([each[2] for each in drawn]).reshape(-1, 1, 1, 1)
        moved = np.indices((height, width)) + strength * noise
        places = np.stack([each[0] for each in drawn]) @ (moved.reshape(len(drawn), 2, -1) - middle) + middle
        places = places.reshape(len(drawn), 2, height, width)
        flat = images.reshape(len(images), -1, height, width)
        changed = np.empty_like(flat)
        for image, place, out in zip(flat, places, changed, strict=True):
            for channel, kept in zip(image, out, strict=True):
                value = map_coordinates(channel.astype(np.float64), place, order=1, mode="nearest", prefilter=False)
                kept[:] = np.rint(value) if images.dtype.kind in "iu" else value
        return changed.reshape(images.shape)

    def _draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[Array, Array, float]:
        """A matrix, noise (2, height, width) in ±1, and what that is multiplied by."""
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
        zoom = np.diag(rng.uniform(1 - self.zoom, 1 + self.zoom, 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        strength = float(rng.uniform(*self.elastic))
        return turn @ zoom, rng.uniform(-1, 1, (2, height, width)), strength


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFlips:
    """Every pixel of an image becomes `peak` minus itself with a `probability`, by default that of the code of Klos &
    Memmesheimer (Phys Rev Lett 2025) for MNIST. `peak`: the brightest value; None is the largest of the type for
    unsigned integers (255 for images), else 1.

    Raises:
        BadInputError: the probability or the peak is out of range (SC501).
    """

    probability: float = 0.02
    peak: float | None = None

    def __post_init__(self) -> None:
        faults = Diagnostics()
        if not (is_number(self.probability) and 0 <= self.probability <= 1):
            faults.add("SC501", "probability is out of range", value=repr(self.probability), limit="0..1")
        if self.peak is not None and not (is_number(self.peak) and 0 < self.peak < np.inf):
            faults.add("SC501", "peak is out of range", value=repr(self.peak), limit="> 0, or None")
        faults.raise_if_errors()

    def __call__(self, images: Array, seeds: Sequence[Sequence[int]]) -> Array:
        """The changed images, of the same type and form; `seeds`: up to three whole numbers for each of them."""
        peak = self.peak
        if peak is None:
            peak = float(np.iinfo(images.dtype).max) if images.dtype.kind == "u" else 1.0
        drawn = np.empty((len(images), images[0].size if len(images) else 0), np.float32)
        stream = np.random.Philox(key=0)  # a stream for each counter: setting it costs a quarter of a new generator
        generator, state = np.random.Generator(stream), cast(Any, stream.state)
        for row, seed in zip(drawn, seeds, strict=True):
            state["state"]["counter"][:] = (0, *seed, *([0] * (3 - len(seed))))
            stream.state = state
            generator.random(out=row, dtype=np.float32)
        flipped = drawn.reshape(images.shape) < self.probability
        return np.where(flipped, np.asarray(peak).astype(images.dtype) - images, images)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Augmented:
    """Training data for `Trainer.fit`: `images` (samples, …, height, width) with their `labels`, changed anew in every
    epoch and encoded batch by batch. `encode`: images -> Events, as `partial(spikec.encoders.latency, t_max=0.1)`.

    Raises:
        BadInputError: images and labels differ in number, or are no images (SC505).
    """

    images: Array = field(repr=False)
    labels: Any = field(repr=False)
    encode: Callable[[Array], Events] = field(repr=False)
    changes: Changes = field(default_factory=ImageChanges)
    seed: int = 0
    events: Events = field(init=False, repr=False)
    """Of the images as they are."""

    def __post_init__(self) -> None:
        if self.images.ndim < 3 or len(self.images) != len(self.labels):
            raise BadInputError(Diagnostic("SC505", "images (samples, …, height, width) need a label each",
                                           value=f"images {self.images.shape}, {len(self.labels)} labels"))
        object.__setattr__(self, "events", self.encode(self.images))

    def vary(self, epoch: int, chosen: Array) -> Events:
        """The chosen samples as they are in an epoch."""
        return self.encode(self.changes(self.images[chosen], [[self.seed, epoch, int(number)] for number in chosen]))
