"""From single requests to figures: per stage, per switch, and per second for the picture."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtest.samples import Sample
from loadtest.timeline import Stage, Switch

# The picture has at most this many points; longer loads get wider buckets than a second.
POINTS = 300


@dataclass(slots=True)
class Tally:
    """The requests of one stretch of time. Latencies and waits in seconds."""

    requests: int = 0
    failed: int = 0
    writes: int = 0
    latencies: array[float] = field(default_factory=lambda: array("f"))
    sites: Counter[int | None] = field(default_factory=Counter)
    longest_wait: float = 0.0
    longest_operation: str | None = None
    longest_gap: float = 0.0

    def add(self, sample: Sample) -> None:
        self.requests += 1
        self.failed += sample.failed
        self.latencies.append(sample.latency)
        self.sites[sample.served_by] += 1
        if sample.is_write:
            self.writes += 1
            self.wrote(sample)

    def wrote(self, sample: Sample) -> None:
        if sample.waited > self.longest_wait:
            self.longest_wait, self.longest_operation = sample.waited, sample.operation

    def percentiles(self, *shares: float) -> list[float | None]:
        """In milliseconds; None when there were no requests."""
        ordered = sorted(self.latencies)
        if not ordered:
            return [None for _ in shares]
        return [round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) for share in shares]


@dataclass(slots=True)
class Bucket:
    requests: int
    failed: int
    p50: float | None
    p95: float | None
    sites: dict[str, int]


@dataclass
class Measures:
    stages: list[Tally]
    switches: list[Tally]
    buckets: list[Bucket]
    width: float  # of a bucket, in seconds
    total: Tally


def measure(
    samples: Iterable[Sample], sites: dict[int, str], stages: list[Stage], switches: list[Switch]
) -> Measures:  # fmt: skip
    """One pass over the samples, which come in the order of their ends.

    A request belongs to the stage in which it began. Around a switch counts what was under way at any moment of the
    second around it, so that a write which waited out the pause is among them.
    """
    began, ended = stages[0].began, stages[-1].ended
    points = max(1, min(POINTS, round(ended - began)))
    width = (ended - began) / points
    by_stage, by_switch = [Tally() for _ in stages], [Tally() for _ in switches]
    buckets = [Tally() for _ in range(points)]
    total = Tally()
    last_success: float | None = None
    for sample in samples:
        total.add(sample)
        current = next((n for n in range(len(stages) - 1, 0, -1) if stages[n].began <= sample.began), 0)
        by_stage[current].add(sample)
        buckets[min(len(buckets) - 1, max(0, int((sample.ended - began) / width)))].add(sample)
        for switch, tally in zip(switches, by_switch, strict=True):
            # A write that was tried again was under way from its first try on.
            if sample.ended - sample.waited <= switch.t + 0.5 and sample.ended >= switch.t - 0.5:
                tally.add(sample)
        if last_success is None:
            last_success = sample.began
        if not sample.failed and sample.ended > last_success:
            _gap(stages, by_stage, total, last_success, sample.ended)
            last_success = sample.ended
    if last_success is not None and ended > last_success:
        _gap(stages, by_stage, total, last_success, ended)
    return Measures(by_stage, by_switch, [_bucket(tally, sites) for tally in buckets], width, total)


def _gap(stages: list[Stage], tallies: list[Tally], total: Tally, since: float, until: float) -> None:
    """A stretch without a success counts, as a whole, for every stage that it touches."""
    total.longest_gap = max(total.longest_gap, until - since)
    for stage, tally in zip(stages, tallies, strict=True):
        if since < stage.ended and until > stage.began:
            tally.longest_gap = max(tally.longest_gap, until - since)


def _bucket(tally: Tally, sites: dict[int, str]) -> Bucket:
    p50, p95 = tally.percentiles(0.5, 0.95)
    named: Counter[str] = Counter()
    for number, count in tally.sites.items():
        named["nobody" if number is None else sites.get(number, "nobody")] += count
    return Bucket(tally.requests, tally.failed, p50, p95, dict(named))
