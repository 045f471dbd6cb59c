"""What a rollout did to the users, counted from the load's samples and its ledger."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from loadtest.ledger import Violation, read_ledger
from loadtest.plan import Folder
from loadtest.rollouts.strategies import Outcome
from loadtest.rollouts.target import NEW, OLD, REPLICAS, SITE
from loadtest.samples import Sample, read_samples

WIDTH = 0.5
"""Seconds, of a bucket of the picture."""
NOBODY = "nobody"
SAME_SECONDS = 0.05


@dataclass
class Run:
    """One rollout as it went. Times are unix seconds: it is watched from `began` to `until`, begun at `acted`, and over
    at `ended`. `instances` has a line whenever they changed.
    """

    strategy: str
    version: str
    target: str
    began: float
    acted: float = 0.0
    ended: float = 0.0
    until: float = 0.0
    outcome: Outcome = field(default_factory=lambda: Outcome(False, "it did not end"))
    marks: list[tuple[float, str]] = field(default_factory=list)
    instances: list[tuple[float, dict[str, int]]] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """`gap`: the longest time without a good answer to a request about topics. `wrong`: answers that were not what was
    in the database, which only the load's ledger can tell. `met`: users whom the new version answered. Instances beyond
    the usual: at most (`peak`) and on average (`mean`); `least`: the fewest there were.
    """

    requests: int
    failed: int
    wrong: int
    gap: float
    users: int
    met: int
    seconds: float
    peak: int
    mean: float
    least: int
    buckets: dict[str, list[int]]
    """Requests about topics in each bucket, by the version that answered, or NOBODY."""
    failures: list[int]
    wrongs: list[int]

    @property
    def share(self) -> float:
        return self.met / self.users if self.users else 0.0


def measure(run: Run, folder: Folder) -> Measured:
    history = read_ledger(folder.ledger)
    wrong = [t for t in _wrong_answers(history.violations) if run.began <= t <= run.until]
    names = {number: (site, history.versions[number]) for number, site in history.sites.items()}
    return tally(run, read_samples(folder.samples), names, wrong)


def _wrong_answers(violations: Iterable[Violation]) -> Iterator[float]:
    """When each was seen. A list with twenty wrong items is one wrong answer: they were all asked for at one time."""
    last: dict[tuple[object, object], float] = {}
    for one in violations:
        if one.what == "wrong":
            who = one.details.get("user"), one.details.get("operation")
            sent = one.details["t"] - one.details["sent_ms_ago"] / 1000
            if sent - last.get(who, 0.0) > SAME_SECONDS:
                yield one.details["t"]
            last[who] = sent


def tally(
    run: Run, samples: Iterable[Sample], names: Mapping[int, tuple[str, str]], wrong: Iterable[float]
) -> Measured:  # fmt: skip
    """`names`: site and version by number; `wrong`: when wrong answers were seen."""
    points = max(1, int((run.until - run.began) / WIDTH) + 1)
    buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * points)
    failures, wrongs = [0] * points, [0] * points
    users: set[int] = set()
    met: set[int] = set()
    good = [run.began]
    count: Counter[str] = Counter()

    def at(t: float) -> int:
        return min(points - 1, max(0, int((t - run.began) / WIDTH)))

    for sample in samples:
        if not (run.began <= sample.ended and sample.began <= run.until):
            continue
        users.add(sample.visitor)
        count["requests"] += 1
        site, version = names.get(sample.served_by, ("", "")) if sample.served_by is not None else ("", "")
        about_topics = "/api/topics" in sample.operation
        if sample.failed:
            count["failed"] += 1
            failures[at(sample.ended)] += 1
        if site == SITE and version == NEW:
            met.add(sample.visitor)
        if about_topics:
            buckets[version if site == SITE else NOBODY][at(sample.ended)] += 1
            if not sample.failed:
                good.append(sample.ended)
    for t in wrong:
        wrongs[at(t)] += 1
    good = [*sorted(good), run.until]
    peak, mean, least = _capacity(run)
    return Measured(
        requests=count["requests"], failed=count["failed"], wrong=sum(wrongs),
        gap=max(later - sooner for sooner, later in pairwise(good)),
        users=len(users), met=len(met), seconds=run.ended - run.acted,
        peak=peak - REPLICAS, mean=mean - REPLICAS, least=least,
        buckets={name: buckets[name] for name in (OLD, NEW, NOBODY) if name in buckets},
        failures=failures, wrongs=wrongs,
    )  # fmt: skip


def _capacity(run: Run) -> tuple[int, float, int]:
    """Most, mean and fewest instances while it went on."""
    ends = [*(t for t, _ in run.instances[1:]), run.ended]
    spans = [
        (min(end, run.ended) - max(t, run.acted), sum(running.values()))
        for (t, running), end in zip(run.instances, ends, strict=False)
        if t < run.ended and end > run.acted
    ]
    if not spans:
        return REPLICAS, REPLICAS, REPLICAS
    numbers = [number for _, number in spans]
    mean = sum(span * number for span, number in spans) / (sum(span for span, _ in spans) or 1)
    return max(numbers), mean, min(numbers)


def as_json(run: Run, found: Measured) -> str:
    """One line, whole in itself."""
    record = {
        name: getattr(run, name) for name in ("strategy", "version", "target", "began", "acted", "ended", "until")
    }
    record |= {"done": run.outcome.done, "why": run.outcome.why, "marks": run.marks, "instances": run.instances}
    record |= vars(found)
    return json.dumps(record | {"share": found.share})
