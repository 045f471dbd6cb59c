"""The pace of all users together: requests leave one by one, evenly, so that every stall shows as a gap."""

from __future__ import annotations

import time

import gevent

from loadtest.invent import dice


class Pace:
    """`rate` requests per second at most. What was missed in a stall is not made up for: no stampede of our making."""

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self._next = time.monotonic()

    def wait(self, at_once: bool = False) -> None:
        """Until the next request may leave. One that must go `at_once` does, and those after it wait the longer."""
        now = time.monotonic()
        mine = max(now, self._next)
        self._next = mine + self._gap * dice.uniform(0.5, 1.5)
        if not at_once and mine > now:
            gevent.sleep(mine - now)
