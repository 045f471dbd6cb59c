"""Reads of a module that wait together need one call: who came before it began may be shown what was kept.

A module's answers have an ETag that is the same for all of them as long as nothing was written (forum.views). So the
answer to any read that was asked for after somebody came tells them whether what is kept for them still holds: nobody
is shown anything older than the moment they came.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

KEPT = 256
WAIT_SECONDS = 0.1
"""For how long others are waited for: a module that takes longer is asked by each for itself."""
PACE_SECONDS = 0.01
"""From one call to the next while people come faster than that: who comes again after an answer then waits with those
who came meanwhile, and one call is for all of them. Without it they would take turns, half of them with each call."""

Value = TypeVar("Value")


class Told(NamedTuple, Generic[Value]):
    """etag: "" when the answer has none. short: whether it may be kept."""

    value: Value
    etag: str
    short: bool


class Shared:
    """The reads of one module, or of pages that read the same modules. Used by all threads at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asking = False
        """Whether somebody asks whom others wait for."""
        self._begun = 0
        self._last = 0, ""
        """The latest call that has been answered, counted by when it began, and its ETag."""
        self._kept: dict[str, Told[Any]] = {}
        self._not_asked: Counter[str] = Counter()
        self._asked_at = 0.0
        self._crowded = False
        """Whether others waited for the latest call that somebody was waited for."""
        self.waiting = 0

    def read(self, what: str, call: Callable[[int, Told[Value] | None], Told[Value]]) -> Value:
        """What `call` gives for `what`.

        It is told how many have been given it without a call, since the last one, and what is kept, if anything is.
        """
        with self._changed:
            kept: Told[Value] | None = self._kept.get(what)
            came, takes_turn = self._begun, False
            if kept is not None and kept.etag == self._last[1]:
                self.waiting += 1
                self._changed.wait_for(lambda: self._last[0] > came or not self._asking, WAIT_SECONDS)
                self.waiting -= 1
                if self._last[0] <= came:
                    takes_turn = not self._asking
                    self._asking = True
                elif kept.etag == self._last[1]:
                    self._not_asked[what] += 1
                    return kept.value
        try:
            if takes_turn:
                if self._crowded or self.waiting:
                    time.sleep(max(self._asked_at + PACE_SECONDS - time.monotonic(), 0))
                self._asked_at = time.monotonic()
            return self._call(what, call, kept)
        finally:
            if takes_turn:
                with self._changed:
                    self._asking = False
                    self._crowded = self.waiting > 0
                    self._changed.notify_all()

    def _call(
        self, what: str, call: Callable[[int, Told[Value] | None], Told[Value]], kept: Told[Value] | None
    ) -> Value:
        with self._changed:
            self._begun += 1
            number, others = self._begun, self._not_asked.pop(what, 0)
        told = call(others, kept)
        with self._changed:
            if number > self._last[0]:
                self._last = number, told.etag
            if len(self._kept) >= KEPT:
                self._kept.clear()
            if told.etag and told.short:
                self._kept[what] = told
        return told.value
