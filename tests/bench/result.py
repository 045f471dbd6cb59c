"""What a bound's measurement says, and how A and B are compared on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """rows: of the largest table. say: tells how far it is."""

    rows: int
    say: Say


@dataclass(frozen=True)
class Result:
    """A row of the table. holds: None for what is only shown. values: the figures, for programs."""

    name: str
    figure: str
    bound: str = ""
    holds: bool | None = None
    values: dict[str, object] = field(default_factory=dict)


def alternate(a: Callable[[], float], b: Callable[[], float], pairs: int, say: Say) -> list[tuple[float, float]]:
    """What `a` and `b` return, in the order A B B A A B ...: what changes slowly on the machine meets both alike."""
    found = []
    for number in range(pairs):
        if number % 2:
            second = b()
            first = a()
        else:
            first = a()
            second = b()
        found.append((first, second))
        say(f"pair {number + 1} of {pairs}: {first:,.2f} and {second:,.2f}")
    return found


def ratio(pairs: list[tuple[float, float]]) -> float:
    """The median of a / b over the pairs."""
    return median(a / b for a, b in pairs)


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
