"""Threads that keep at an application while something is done to it."""

from __future__ import annotations

import threading
from typing import Self


class Crowd:
    """So many threads in `_work`, from the beginning of a `with` block to its end; they look at `_stop`."""

    def __init__(self, number: int) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), f"one of the {type(self).__name__} hangs"

    def _work(self, number: int) -> None:
        raise NotImplementedError
