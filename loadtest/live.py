"""What is known while the load runs, every second in `live.json` (docs/loadtest.md says what is in it)."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from loadtest.freshness import Memory
from loadtest.samples import Sample, SampleFile

WINDOW = 5.0  # seconds that `rps` and `p95_ms` look back


class Live:
    """Takes each request's sample on its way to the file."""

    def __init__(self, samples: SampleFile, memory: Memory) -> None:
        self.requests = 0
        self.failed = 0
        self._samples = samples
        self._memory = memory
        self._ledger = memory.ledger
        self._recent: deque[tuple[float, float, str]] = deque()
        self._last_success = time.time()
        self._longest_gap = 0.0
        self._sites: list[tuple[str, str]] = []  # site and version, by number

    def add(self, sample: Sample) -> None:
        self._samples.add(sample)
        self.requests += 1
        self.failed += sample.failed
        now = sample.ended
        site = "nobody" if sample.served_by is None else self._sites[sample.served_by][0]
        self._recent.append((now, sample.latency, site))
        if not sample.failed:
            self._longest_gap = max(self._longest_gap, now - self._last_success)
            self._last_success = now

    def fail(self, sample: Sample, why: str, served_by: str | None, address: str) -> None:
        self._ledger.fail(sample.operation, sample.status, why, served_by, address)

    def site(self, served_by: str | None) -> int | None:
        """The number of site and version in `X-Served-By: <site>/<version>@<instance>`."""
        if not served_by:
            return None
        name, _, rest = served_by.partition("/")
        found = name, rest.partition("@")[0]
        if found not in self._sites:
            self._sites.append(found)
            self._ledger.site(len(self._sites) - 1, *found)
        return self._sites.index(found)

    def status(self, users: int, state: str) -> dict[str, Any]:
        now = time.time()
        while self._recent and self._recent[0][0] < now - WINDOW:
            self._recent.popleft()
        latencies = sorted(latency for _, latency, _ in self._recent)
        return {
            "t": round(now, 3),
            "state": state,
            "requests": self.requests,
            "failed": self.failed,
            "lost": len(self._memory.missing),
            "doubled": len(self._memory.doubled),
            "stale": self._ledger.violations["stale"],
            "wrong": self._ledger.violations["wrong"],
            "errors": self._ledger.errors,
            "acknowledged": self._ledger.acknowledged,
            "rps": round(len(latencies) / WINDOW, 1),
            "p95_ms": round(latencies[int(len(latencies) * 0.95)] * 1000, 1) if latencies else None,
            "longest_gap_ms": round(max(self._longest_gap, now - self._last_success) * 1000, 1),
            "users": users,
            "served_by": dict(Counter(site for _, _, site in self._recent)),
        }


def write_live(path: Path, status: dict[str, Any]) -> None:
    """Whole or not at all: others read it at any moment."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(status) + "\n")
    new.replace(path)


def read_live(path: Path) -> dict[str, Any] | None:
    try:
        live: dict[str, Any] = json.loads(path.read_text())
        return live
    except (FileNotFoundError, ValueError):
        return None
