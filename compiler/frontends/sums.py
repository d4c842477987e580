"""A sum of signals in which some come in more than once: the edges of a graph do not say how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from .builder import Builder, Handle

__all__ = ["each_once"]


def each_once(builder: Builder, summed: Iterable[Handle], name: Callable[[Handle, int], str]) -> tuple[Handle, ...]:
    """The nodes whose outputs amount to the sum, every one named once. What is in it `count` times goes through a Scale
    node, called `name(handle, count)`."""
    return tuple(handle if count == 1 else builder.scale(name(handle, count), handle, float(count))
                 for handle, count in Counter(summed).items())
