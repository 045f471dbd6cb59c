"""After the load: all that was acknowledged is there, once, with the right content; and nothing that was refused."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from loadtest.addresses import Addresses
from loadtest.errors import LoadtestError
from loadtest.expectation import Expectation, Expected, expect
from loadtest.found import Found, Row, gather
from loadtest.freshness import content_of, write_in
from loadtest.ledger import History, Write
from loadtest.parts import read_all_samples, read_history
from loadtest.plan import Folder, Plan
from loadtest.reading import Reader
from loadtest.settle import settle

Category = Literal["lost", "wrong", "doubled", "counters_off"]
# Details of each kind that check.json keeps; the figures count all.
KEPT = 200


@dataclass(frozen=True, slots=True)
class Finding:
    category: Category
    kind: str
    id: int | None
    write: str | None
    what: str


@dataclass
class Result:
    """The figures. Wrong content is a lost write: `lost` counts it too, `wrong` says how many are of that sort.

    `counters_off` counts whatever events should have brought about and did not: message counts, last activity, the
    messages of deleted topics, the authorship of deleted users.
    """

    requests: int = 0
    failed: int = 0
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    wrong: int = 0
    counters_off: int = 0
    errors: int = 0
    acknowledged: int = 0
    unknown: int = 0
    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    violations: list[dict[str, Any]] = field(default_factory=list)
    load_errors: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        broken = (self.failed, self.lost, self.doubled, self.stale, self.counters_off, self.errors)
        return self.requests > 0 and self.acknowledged > 0 and not any(broken)

    @property
    def promises(self) -> str:
        return (
            f"promises: requests {self.requests}, failed {self.failed}, lost {self.lost}, "
            f"doubled {self.doubled}, stale {self.stale}"
        )

    def save(self, folder: Folder) -> None:
        folder.check.write_text(json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Folder) -> Result:
        try:
            fields = json.loads(folder.check.read_text())
        except FileNotFoundError:
            raise LoadtestError(f"not checked yet; first: loadtest check --out {folder.path}") from None
        return cls(**{**fields, "findings": [Finding(**finding) for finding in fields["findings"]]})


def check(folder: Folder, addresses: Addresses | None, settle_for: float, say: Callable[[str], None]) -> Result:
    """Read everything back and compare; the result is saved in the folder too."""
    plan = Plan.load(folder)
    history = read_history(folder)
    expectation = expect(history)
    reader = Reader(addresses or plan.where())
    say(f"reading back {len(history.writes)} writes")
    began = time.monotonic()
    found = gather(reader, history, expectation, plan.started)
    findings = list(compare(history, expectation, found))
    say("waiting for counters to settle")
    for kind, id, what in settle(reader, expectation, found, plan.started, settle_for):
        findings.append(Finding("counters_off", kind, id, None, what))
    result = _figures(folder, history, findings)
    result.checked = {
        "topics": len(found.by_topic), "messages": len(found.messages), "users": len(found.users),
        "ids_probed": found.probed, "requests": reader.requests, "ms": round((time.monotonic() - began) * 1000),
    }  # fmt: skip
    result.save(folder)
    say(f"{len(found.messages)} messages in {len(found.by_topic)} topics, {time.monotonic() - began:.1f} s")
    return result


def unchecked(folder: Folder, why: str) -> Result:
    """What is known when nothing can be read back: the load's own figures, and that it was not checked."""
    history = read_history(folder)
    history.errors.append(why)
    result = _figures(folder, history, [])
    result.save(folder)
    return result


def _figures(folder: Folder, history: History, findings: list[Finding]) -> Result:
    result = Result(load_errors=history.errors[:KEPT], errors=len(history.errors))
    for sample in read_all_samples(folder):
        result.requests += 1
        result.failed += sample.failed
    fates = Counter(write.fate for write in history.writes.values())
    result.acknowledged, result.unknown = fates["acknowledged"], fates["unknown"] + fates["begun"]
    count = Counter(finding.category for finding in findings)
    seen_wrong = {(v.details["kind"], v.details["id"]) for v in history.violations if v.what == "wrong"}
    found_wrong = {(f.kind, f.id) for f in findings if f.category in ("wrong", "lost")}
    result.wrong = count["wrong"] + len(seen_wrong - found_wrong)
    result.lost = count["lost"] + result.wrong
    result.doubled, result.counters_off = count["doubled"], count["counters_off"]
    result.stale = sum(violation.what == "stale" for violation in history.violations)
    result.findings = findings[:KEPT]
    result.failures = history.failures
    result.violations = [{"what": v.what} | v.details for v in history.violations[:KEPT]]
    return result


def compare(history: History, expectation: Expectation, found: Found) -> Iterator[Finding]:
    """Everything but the counters."""
    for expected in expectation:
        yield from _judge(expectation, expected, found)
    for key, same in expectation.resources.items():
        for twin in same[1:]:
            yield Finding("doubled", *key, twin.create.id, f"this id was also the answer to {same[0].create.id}")
    for write, places in found.occurrences.items():
        yield from _judge_places(history, expectation, write, places)


def _judge(expectation: Expectation, expected: Expected, found: Found) -> Iterator[Finding]:
    create = expected.create
    row = found.rows(create.kind).get(expected.id)
    if create.topic is not None and expectation.gone(("topic", create.topic)) != "no":
        return  # gone with its topic, or about to be: `settle` looks after that
    last = expected.allowed[-1]
    if row is None:
        if expected.gone == "no":
            yield Finding("lost", create.kind, expected.id, last.id, "acknowledged, and not there")
        return
    shows = write_in(create.kind, row)
    if any(shows in {w.id for w in twin.chain} for twin in expectation.resources[create.kind, expected.id]
           if twin is not expected):  # fmt: skip
        if expected.gone == "no":
            yield Finding("lost", create.kind, expected.id, last.id, f"under its id stands another write: {shows}")
    elif expected.gone == "yes":
        yield Finding("lost", create.kind, expected.id, last.id, "its deletion was acknowledged, and it is there")
    elif not _stands(expected.allowed, row):
        if _stands(expected.chain, row):
            yield Finding("lost", create.kind, expected.id, last.id, f"acknowledged, but it shows the older {shows}")
        else:
            content = repr(content_of(create.kind, row))[:300]
            yield Finding("wrong", create.kind, expected.id, last.id, f"shows what nobody wrote: {content}")
    elif (wrong := _misplaced(expectation, expected, row)) or (create.kind, expected.id) in found.unlisted:
        yield Finding("wrong", create.kind, expected.id, last.id, wrong or "there by its id, but in no list")


def _stands(writes: list[Write], row: Row) -> bool:
    return any(content_of(write.kind, write.sent) == content_of(write.kind, row) for write in writes)


def _misplaced(expectation: Expectation, expected: Expected, row: Row) -> str | None:
    """What never changes: the name, the topic, what it replies to, who wrote it."""
    create = expected.create
    for name in ("username", "topic_id", "reply_to"):
        if name in create.sent and row.get(name) != create.sent[name]:
            target = expectation.gone(("message", create.sent["reply_to"])) if name == "reply_to" else "no"
            if row.get(name) is not None or target == "no":
                return f"{name} is {row.get(name)!r}, was acknowledged as {create.sent[name]!r}"
    if create.kind != "user" and create.who is not None and expectation.gone(("user", create.who)) == "no":
        author = (row.get("author") or {}).get("id")
        if author != create.who:
            return f"its author is {author!r}, was {create.who!r}"
    return None


def _judge_places(
    history: History, expectation: Expectation, write_id: str, places: set[tuple[Any, int]]
) -> Iterator[Finding]:
    """Where the content of one write was found: nowhere but under the id that was answered."""
    write = history.writes.get(write_id)
    if write is None:
        return  # of another run
    places = {place for place in places if place[0] == write.kind}
    if write_id in expectation.refused:
        for kind, id in places:
            yield Finding("wrong", kind, id, write_id, f"refused with {write.status}, and there")
        return
    if write_id in expectation.open:
        for kind, id in sorted(places)[1:]:
            yield Finding("doubled", kind, id, write_id, "there more than once")
        return
    right = write.answered if write.answered is not None else write.resource
    for kind, id in sorted(places):
        if id != right:
            yield Finding("doubled", kind, id, write_id, f"also there under an id that was not answered ({right} was)")
