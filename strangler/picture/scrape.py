"""Prometheus text, read again and again, as rates over the last seconds."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

import urllib3
from prometheus_client.parser import text_string_to_metric_families

WINDOW_SECONDS = 6.0
TIMEOUT = urllib3.Timeout(connect=1.0, read=2.0)

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
Window = tuple[float, Mapping[Key, float]]
"""Seconds, and by how much each counter grew in them."""
Flow = dict[str, float | None]
"""rps; errors, per second: no answer, or a status from 500; p95_ms, None when nobody came."""
Group = TypeVar("Group", bound=Hashable)

_http = urllib3.PoolManager(maxsize=4, num_pools=64, timeout=TIMEOUT, retries=False)


class AwayError(Exception):
    """There is nobody at that address. `slow`: or somebody who has no time."""

    def __init__(self, slow: bool = False) -> None:
        super().__init__("no answer")
        self.slow = slow


def fetch(url: str, names: Iterable[str]) -> dict[Key, float]:
    """The samples of these `names`. Others are neither asked for nor looked at: it is often. Raises AwayError."""
    wanted = tuple(names)
    try:
        answer = _http.request("GET", f"{url}?{urlencode([('name[]', name) for name in wanted])}")
    except urllib3.exceptions.TimeoutError:
        raise AwayError(slow=True) from None
    except urllib3.exceptions.HTTPError:
        raise AwayError from None
    return parse(answer.data.decode(errors="replace"), wanted) if answer.status == 200 else {}


def parse(text: str, names: tuple[str, ...]) -> dict[Key, float]:
    """The samples of these names. What is no such text has none."""
    lines = [line for line in text.splitlines() if line.startswith(names)]
    try:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families("\n".join(lines) + "\n")
            for sample in family.samples
            if sample.name in names
        }
    except ValueError:
        return {}


class Series:
    """One address's counters for the last seconds; a process that was started again goes on from where it was."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: Mapping[Key, float] | None = None
        self._total: dict[Key, float] = defaultdict(float)
        self._past: deque[tuple[float, dict[Key, float]]] = deque()

    def add(self, found: Mapping[Key, float]) -> None:
        if self._last is not None:
            for key, value in found.items():
                before = self._last.get(key, 0.0)
                self._total[key] += value - before if value >= before else value
        self._last = found
        self._past.append((self._clock(), dict(self._total)))
        self._forget()

    def _forget(self) -> None:
        while self._past and self._past[0][0] < self._clock() - WINDOW_SECONDS:
            self._past.popleft()

    def window(self) -> Window | None:
        """None until it has been looked at twice within the last seconds."""
        self._forget()
        if len(self._past) < 2:
            return None
        (began, first), (ended, last) = self._past[0], self._past[-1]
        return ended - began, {key: value - first.get(key, 0.0) for key, value in last.items()}


def flows(
    windows: Iterable[Window], histogram: str, group: Callable[[dict[str, str]], Group | None]
) -> dict[Group, Flow]:
    """Flow of each group that the labels (but `le`) are put into; None is no group."""
    buckets: dict[Group, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    errors: dict[Group, float] = defaultdict(float)
    for seconds, grown in windows:
        for (name, labels), number in grown.items():
            if name != f"{histogram}_bucket":
                continue
            found = dict(labels)
            bound = float(found.pop("le"))
            which = group(found)
            if which is None or not seconds:
                continue
            buckets[which][bound] += number / seconds
            if bound == float("inf") and _is_error(found):
                errors[which] += number / seconds
    return {which: _flow(found, errors[which]) for which, found in buckets.items()}


def _is_error(labels: dict[str, str]) -> bool:
    status = labels.get("status", labels.get("code", ""))
    return not status.isdecimal() or int(status) >= 500 or status == "0"


def _flow(buckets: dict[float, float], errors: float) -> Flow:
    total = buckets.get(float("inf"), 0.0)
    p95 = _percentile(sorted(buckets.items()), 0.95 * total) if total > 0 else None
    return {
        "rps": round(total, 2), "errors": round(errors, 2), "p95_ms": None if p95 is None else round(p95 * 1000, 1),
    }  # fmt: skip


def _percentile(buckets: list[tuple[float, float]], rank: float) -> float:
    """As histogram_quantile has it: within a bucket, evenly; beyond the last bound, that bound."""
    low, below = 0.0, 0.0
    for bound, number in buckets:
        if number >= rank and number > below:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (number - below)
        low, below = bound, number
    return low


def whole(parts: Iterable[Flow]) -> Flow | None:
    """Several flows as one; the slowest one's percentile. None of none."""
    found = list(parts)
    if not found:
        return None
    slow = [part["p95_ms"] for part in found if part["p95_ms"] is not None]
    return {
        "rps": round(sum(part["rps"] or 0 for part in found), 2),
        "errors": round(sum(part["errors"] or 0 for part in found), 2),
        "p95_ms": max(slow, default=None),
    }
