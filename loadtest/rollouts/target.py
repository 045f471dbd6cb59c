"""What a strategy can do to the place where the service runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from loadtest.rollouts.faulty import FAULTS
from loadtest.rollouts.figures import Figures

REPLICAS = 2
SITE = "topics"
OLD, NEW = "v1", "v2"
HEADER = "Forum-Variant", "b"
COOKIE = "forum-variant", "b"
VERSIONS = ("good", *FAULTS)
Order = Literal["all-at-once", "one-by-one"]
"""Stop all, then start all; or start one, wait until it is ready, then stop one, and so on."""


@dataclass(frozen=True)
class Route:
    """Who gets the new version: a share of the requests in percent, those with HEADER or COOKIE (`chosen`), or nobody,
    while reads are `mirrored` to the comparer.
    """

    percent: int = 0
    chosen: bool = False
    mirrored: bool = False


class Target(Protocol):
    """A service of REPLICAS instances of version OLD, and what can be made of it. Nothing raises for a bad version.

    Instances that stop drain first. A change of routes is in force when the call returns.
    """

    name: str
    where: list[str]
    """How the load is told where the public enters: `--url URL` or `--addresses FILE`."""
    timeline: Path

    def reset(self, version: str) -> None:
        """Version OLD serves everybody, and nothing else is there; NEW will be `version`, one of VERSIONS."""

    def start(self, replicas: int) -> None:
        """Have so many instances of NEW, beside the old ones."""

    def ready(self) -> bool:
        """Whether all instances of NEW got ready within the time that they have for it."""

    def mirror(self) -> None:
        """Start what compares the two versions."""

    def route(self, route: Route) -> None: ...

    def replace(self, order: Order) -> bool:
        """Put NEW in the place of OLD. False when it did not get ready or did not stay up: OLD is back then."""

    def retire(self) -> None:
        """Stop the old version's instances."""

    def withdraw(self) -> None:
        """Stop the new version's instances, and the comparer."""

    def figures(self) -> tuple[Figures, Figures]:
        """Of OLD and NEW: while mirrored, what the comparer counted, else what the gateway did."""

    def running(self) -> dict[str, int]:
        """Instances that take up room now, by version, the comparer among NEW's."""
