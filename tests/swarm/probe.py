"""Someone who asks the same question again and again, and remembers what was said."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import requests

from tests.docker import wait_for

PAUSE = 0.3
BOUND = 15.0
"""No answer may take longer, in seconds: the facade's patience (10 s) and what a busy machine adds."""


class Probe:
    """Asks `url` for as long as the `with` block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.answers: list[tuple[int, str, float]] = []
        """Status (0 for none), Retry-After, seconds."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(2 * BOUND)

    def _ask(self) -> None:
        while not self._over.wait(PAUSE):
            began = time.monotonic()
            try:
                answer = requests.get(self._url, timeout=2 * BOUND)
                status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
            except requests.RequestException as error:
                status, retry_after = 0, repr(error)
            self.answers.append((status, retry_after, time.monotonic() - began))

    def wait_for(self, status: int) -> None:
        """Until it is told so from now on."""
        seen = len(self.answers)
        wait_for(
            lambda: any(one[0] == status for one in self.answers[seen:]),
            f"an answer {status}",
            120,
            lambda: str(self.answers[-5:]),
        )

    def wrong(self) -> list[tuple[int, str, float]]:
        """Answers that are neither a 200 nor a 503 with Retry-After, or that took too long."""
        return [
            one for one in self.answers if not (one[0] == 200 or (one[0] == 503 and one[1].isdigit())) or one[2] > BOUND
        ]
