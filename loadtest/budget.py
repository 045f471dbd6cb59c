"""Budgets, beside the promises: how slow the forum may be (`--budget p95=500ms`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.errors import LoadtestError

# By name: the figure of the whole run in report.json, and what it is.
FIGURES = {
    "p50": ("p50_ms", "half of the requests took longer than"),
    "p95": ("p95_ms", "one request in twenty took longer than"),
    "p99": ("p99_ms", "one request in a hundred took longer than"),
    "gap": ("longest_gap_ms", "the longest time without a successful request was"),
    "write": ("longest_write_ms", "the longest that a write was waited for, tried again included, was"),
}
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


def parse(words: Iterable[str]) -> dict[str, float]:
    """`p95=500ms`, `gap=2s`, ... as milliseconds by name."""
    budgets: dict[str, float] = {}
    for word in words:
        name, _, limit = word.partition("=")
        if name not in FIGURES:
            raise LoadtestError(f"--budget {word}: no budget is called {name!r}; there are {', '.join(FIGURES)}")
        match = _TIME.fullmatch(limit)
        if match is None:
            raise LoadtestError(f"--budget {word}: expected a time, such as {name}=500ms or {name}=2s")
        budgets[name] = float(match[1]) * (1000 if match[2] == "s" else 1)
    return budgets


@dataclass(frozen=True, slots=True)
class Verdict:
    """One budget, kept or not. `seen_ms` is None when there was nothing to measure: then it is not kept."""

    name: str
    limit_ms: float
    seen_ms: float | None

    @property
    def kept(self) -> bool:
        return self.seen_ms is not None and self.seen_ms <= self.limit_ms

    def __str__(self) -> str:
        if self.seen_ms is None:
            return f"budget {self.name}={self.limit_ms:g}ms: nothing was measured"
        if self.kept:
            return f"budget {self.name}={self.limit_ms:g}ms: kept, {self.seen_ms:g} ms"
        return f"budget {self.name}={self.limit_ms:g}ms: broken, {FIGURES[self.name][1]} {self.seen_ms:g} ms"


def judge(budgets: Mapping[str, float], total: Mapping[str, Any]) -> list[Verdict]:
    """`total` is the whole run's figures in report.json."""
    seen = {name: total[FIGURES[name][0]] if total["requests"] else None for name in budgets}
    return [Verdict(name, limit, seen[name]) for name, limit in budgets.items()]
