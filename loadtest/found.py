"""What is in the forum after the load, gathered once."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from loadtest.expectation import Expectation
from loadtest.freshness import Key
from loadtest.ledger import History, Kind, marks
from loadtest.reading import PAGE, Reader

# How far the database's clock may be behind ours.
SKEW = timedelta(minutes=1)
# Ids that nobody was told of, and that may hide a doubled row, are tried up to this many.
PROBES = 3000
# Ids tried beyond the newest that was answered: a double of the last write would be there.
AFTER = 20
_WHERE = {"user": "bio", "topic": "title", "message": "body"}
Row = dict[str, Any]


@dataclass
class Found:
    topics: dict[int, Row] = field(default_factory=dict)
    messages: dict[int, Row] = field(default_factory=dict)
    users: dict[int, Row] = field(default_factory=dict)
    by_topic: dict[int, list[int]] = field(default_factory=dict)  # the messages as listed
    unlisted: set[Key] = field(default_factory=set)  # there when asked for by id, but in no list
    occurrences: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    probed: int = 0

    def rows(self, kind: Kind) -> dict[int, Row]:
        return {"user": self.users, "topic": self.topics, "message": self.messages}[kind]

    def add(self, kind: Kind, row: Row) -> None:
        self.rows(kind)[row["id"]] = row
        for write in marks(row.get(_WHERE[kind])):
            self.occurrences[write].add((kind, row["id"]))


def touched_topics(history: History) -> set[int]:
    """Where the load posted or tried to."""
    return {write.topic for write in history.writes.values() if write.kind == "message" and write.topic is not None}


def gather(reader: Reader, history: History, expectation: Expectation, started: float) -> Found:
    found = Found()
    _topics(reader, found, history, expectation, started)
    for topic, messages in reader.each(lambda topic: list_messages(reader, topic), found.by_topic).items():
        found.by_topic[topic] = [row["id"] for row in messages]
        for row in messages:
            found.add("message", row)
    _users(reader, found, history)
    _unlisted(reader, found, expectation)
    return found


def list_messages(reader: Reader, topic: int) -> list[Row]:
    return [row for page in reader.pages(f"/api/messages?topic_id={topic}") for row in page]


def newest_topics(reader: Reader, started: float) -> Iterator[Row]:
    begin = datetime.fromtimestamp(started, UTC) - SKEW
    for page in reader.pages("/api/topics?sort=newest"):
        yield from page
        if page and all(datetime.fromisoformat(row["created_at"]) < begin for row in page):
            return


def _topics(reader: Reader, found: Found, history: History, expectation: Expectation, started: float) -> None:
    """The newest back to the load's start, and those from before in which the load posted."""
    for row in newest_topics(reader, started):
        found.add("topic", row)
    ours = {key[1] for places in found.occurrences.values() for key in places if key[0] == "topic"}
    wanted = touched_topics(history) | ours | {expected.id for expected in expectation.of("topic")}
    old = [id for id in wanted if id not in found.topics and ("topic", id) not in expectation.resources]
    for there in reader.each(lambda id: reader.get(f"/api/topics/{id}?peek=1"), old).values():
        if there is not None:
            found.add("topic", there)
    found.by_topic = {id: [] for id in sorted(wanted)}


def _users(reader: Reader, found: Found, history: History) -> None:
    """Those that were answered for by id; those that were refused, or nobody knows about, by name."""
    creates = [write for write in history.writes.values() if write.kind == "user" and write.action == "create"]
    ids = sorted({write.answered for write in creates if write.answered is not None})
    batches = [",".join(map(str, ids[start : start + PAGE])) for start in range(0, len(ids), PAGE)]
    names = [write.sent["username"] for write in creates if write.fate != "acknowledged"]
    queries = [f"ids={batch}" for batch in batches] + [f"username={name}" for name in sorted(set(names))]
    for page in reader.each(lambda query: reader.get(f"/api/users?{query}"), queries).values():
        for row in page["items"] if page else ():
            found.add("user", row)


def _unlisted(reader: Reader, found: Found, expectation: Expectation) -> None:
    """What no list showed, asked for by id: what should have been listed, what was deleted, and the gaps between."""
    wanted: list[Key] = [(e.create.kind, e.id) for e in expectation if e.id not in found.rows(e.create.kind)]
    listed: tuple[Kind, ...] = ("message", "topic")
    for kind in listed:
        rows = found.rows(kind)
        told = {expected.id for expected in expectation.of(kind)}
        if told:
            untold = (id for id in range(min(told), max(told) + AFTER) if id not in told and id not in rows)
            gaps: list[Key] = [(kind, id) for id in itertools.islice(untold, PROBES)]
            found.probed += len(gaps)
            wanted += gaps
    paths = {key: f"/api/{key[0]}s/{key[1]}" + ("?peek=1" if key[0] == "topic" else "") for key in wanted}
    for key, row in reader.each(lambda key: reader.get(paths[key]), wanted).items():
        if row is not None:
            found.add(key[0], row)
            if key[0] != "user":
                found.unlisted.add(key)
