"""Whether a new version does as well as the old one, by figures that exist anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loadtest.rollouts.figures import Figures

MB = 2**20


@dataclass(frozen=True)
class Verdict:
    good: bool
    why: str


class Watching(Protocol):
    """Who can be asked for the figures of the old and of the new version, as they are now."""

    def figures(self) -> tuple[Figures, Figures]: ...


Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Judge:
    """The limits. A version that too few requests have met is not good: nothing is known of it."""

    least: int = 40
    """Requests that the new version must have had."""
    clear: int = 3
    """So many errors are enough to be sure before that."""
    first: float = 3.0
    """Seconds before a version can be found good."""
    patience: float = 25.0
    """Seconds, after which too few are too few."""
    more_errors: float = 0.02
    """Share of the requests, beyond the old version's."""
    slower: float = 2.0
    """Times the old version's p95, plus `grace`."""
    grace: float = 0.2
    """Seconds."""
    more_memory: float = 1.25
    """Times the old version's."""
    more_different: float = 0.02
    """Share of the compared answers."""

    def fault(self, old: Figures, new: Figures) -> str | None:
        """What is wrong with the new version; None: nothing that these figures show."""
        enough = new.requests >= self.least
        if new.error_share > old.error_share + self.more_errors and (enough or new.errors >= self.clear):
            return (
                f"{new.error_share:.0%} of {new.requests:.0f} requests failed, {old.error_share:.0%} of the old one's"
            )
        if new.compared >= self.least / 2 and new.different > self.more_different * new.compared:
            return f"{new.different:.0f} of {new.compared:.0f} answers differ from the old version's"
        if not enough:
            return None
        if new.p95 is not None and old.p95 is not None and new.p95 > self.slower * old.p95 + self.grace:
            return f"95 % within {new.p95 * 1000:.0f} ms, of the old one within {old.p95 * 1000:.0f} ms"
        if new.memory and old.memory and new.memory > self.more_memory * old.memory:
            return f"{new.memory / MB:.0f} MB of memory after {new.requests:.0f} requests, old {old.memory / MB:.0f} MB"
        return None

    def watch(
        self, target: Watching, before: Figures | None = None, sleep: Sleep = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Verdict:  # fmt: skip
        """Look on until it is known. `before`: the old version's figures, where it serves nobody any more."""
        old_0, new_0 = target.figures()
        began = clock()
        while True:
            sleep(1.0)
            old, new = target.figures()
            old, new = before or old.since(old_0), new.since(new_0)
            if why := self.fault(old, new):
                return Verdict(False, why)
            passed = clock() - began
            if new.requests >= self.least and passed >= self.first:
                return Verdict(True, f"{new.requests:.0f} requests, {new.errors:.0f} errors")
            if passed > self.patience:
                return Verdict(
                    False, f"too few requests to judge: {new.requests:.0f} of {self.least} in {passed:.0f} s"
                )


class NoJudge:
    """Finds everything good: what a judge is worth can be seen without one."""

    def watch(self, target: Watching, before: Figures | None = None) -> Verdict:  # noqa: ARG002
        time.sleep(3)
        return Verdict(True, "not judged")
