"""What is known of a version: counters of the gateway's (or the comparer's) Prometheus metrics, and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Figures:
    """Counted since something began; a difference of two is what happened between.

    `buckets`: answers by upper bound in seconds, cumulative. `memory`: bytes of the instance that has most, now.
    `different`: of `compared` answers, those unlike the old version's.
    """

    requests: float = 0
    errors: float = 0
    buckets: Mapping[float, float] = field(default_factory=dict)
    memory: float | None = None
    compared: float = 0
    different: float = 0

    def since(self, before: Figures) -> Figures:
        buckets = {bound: n - before.buckets.get(bound, 0) for bound, n in self.buckets.items()}
        return Figures(
            self.requests - before.requests, self.errors - before.errors, buckets, self.memory,
            self.compared - before.compared, self.different - before.different,
        )  # fmt: skip

    @property
    def error_share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def p95(self) -> float | None:
        """Seconds, interpolated within a bucket as Prometheus' histogram_quantile does."""
        bounds = sorted(self.buckets)
        if not bounds or not self.buckets[bounds[-1]]:
            return None
        wanted = 0.95 * self.buckets[bounds[-1]]
        low, below = 0.0, 0.0
        for bound in bounds:
            if self.buckets[bound] >= wanted:
                if bound == float("inf"):
                    return low
                return low + (bound - low) * (wanted - below) / (self.buckets[bound] - below)
            low, below = bound, self.buckets[bound]
        return low


def total(text: str, name: str, **labels: str) -> float:
    """The sum of the samples called `name` with those labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    )


def of_gateway(text: str, service: str, memory: float | None = None) -> Figures:
    """A version's, from Traefik's metrics. 5xx are errors; those that nobody behind it answered too."""
    return _of(text, "traefik_service_requests_total", "traefik_service_request_duration_seconds_bucket",
               "code", {"service": service}, memory)  # fmt: skip


def of_service(text: str) -> Figures:
    """An instance's, from its own metrics (forum/metrics.py)."""
    return _of(text, "forum_http_requests_total", "forum_http_request_seconds_bucket", "status", {}, None)


def of_comparer(text: str, version: str, memory: float | None = None) -> Figures:
    """A version's, from what `compare.py` counts."""
    found = _of(text, "rollout_answers_total", "rollout_seconds_bucket", "status", {"version": version}, memory)
    if version == "old":
        return found
    counted = {one: total(text, "rollout_compared_total", outcome=one) for one in ("same", "different")}
    return Figures(found.requests, found.errors, found.buckets, memory, sum(counted.values()), counted["different"])


def _of(
    text: str, counter: str, histogram: str, code: str, labels: dict[str, str], memory: float | None
) -> Figures:  # fmt: skip
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.labels.get("endpoint", "/api").startswith("/api"):  # health and metrics
                continue
            if sample.name not in (counter, histogram) or any(sample.labels.get(k) != v for k, v in labels.items()):
                continue
            if sample.name == counter:
                requests += sample.value
                errors += sample.value if sample.labels[code][0] in "05" else 0
            else:
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0) + sample.value
    return Figures(requests, errors, buckets, memory)
