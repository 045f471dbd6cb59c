"""What events bring about some time after a write: waited for, for a bounded time, and then reported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from loadtest.expectation import Expectation
from loadtest.found import Found, Row, list_messages, newest_topics
from loadtest.reading import Reader

# (kind, id, what is still not as it should be)
Unsettled = tuple[str, int, str]
PAUSE = 0.3


def settle(reader: Reader, expectation: Expectation, found: Found, started: float, patience: float) -> list[Unsettled]:
    """Look until all is as it should be, or `patience` seconds have passed; what was still off then."""
    until = time.monotonic() + patience
    topics = _off_at_first(reader, found, started)
    orphaned = _in_deleted_topics(expectation)
    nameless = _of_deleted_users(expectation, found)
    while True:
        off = list(_look(reader, topics, orphaned, nameless))
        if not off or time.monotonic() > until:
            return off
        time.sleep(PAUSE)
        topics = [id for kind, id, _ in off if kind == "topic" and id in found.by_topic]
        orphaned = [id for kind, id, _ in off if kind == "message" and id in set(orphaned)]
        nameless = [(kind, id) for kind, id in nameless if (kind, id) in {(k, i) for k, i, _ in off}]


def _off_at_first(reader: Reader, found: Found, started: float) -> list[int]:
    """The topics whose counters, as they are now, disagree with the messages gathered: few are read again."""
    rows = {row["id"]: row for row in newest_topics(reader, started) if row["id"] in found.by_topic}
    old = [id for id in found.by_topic if id in found.topics and id not in rows]
    rows |= {id: row for id, row in reader.each(lambda id: reader.get(f"/api/topics/{id}?peek=1"), old).items() if row}
    return [id for id, row in rows.items() if _disagreement(row, [found.messages[m] for m in found.by_topic[id]])]


def _in_deleted_topics(expectation: Expectation) -> list[int]:
    """Messages acknowledged before their topic's deletion was begun."""
    deleted_at: dict[int, float] = {}
    for expected in expectation.of("topic"):
        if expected.gone == "yes" and expected.deletion is not None:
            deleted_at[expected.id] = expected.deletion.began
    return [
        e.id
        for e in expectation.of("message")
        if e.create.topic in deleted_at and e.create.ended is not None and e.create.ended < deleted_at[e.create.topic]
    ]


def _of_deleted_users(expectation: Expectation, found: Found) -> list[tuple[str, int]]:
    return [
        (e.create.kind, e.id)
        for e in expectation
        if e.create.kind != "user"
        and e.create.who is not None
        and expectation.gone(("user", e.create.who)) == "yes"
        and e.gone == "no"
        and found.rows(e.create.kind).get(e.id, {}).get("author") is not None
    ]


def _look(
    reader: Reader, topics: list[int], orphaned: list[int], nameless: list[tuple[str, int]]
) -> Iterator[Unsettled]:
    for id, what in reader.each(lambda id: _counters(reader, id), topics).items():
        if what:
            yield "topic", id, what
    for id, row in reader.each(lambda id: reader.get(f"/api/messages/{id}"), orphaned).items():
        if row is not None:
            yield "message", id, "its topic was deleted, and it is still there"
    paths = {key: f"/api/{key[0]}s/{key[1]}" + ("?peek=1" if key[0] == "topic" else "") for key in nameless}
    for (kind, id), row in reader.each(lambda key: reader.get(paths[key]), nameless).items():
        if row is not None and row.get("author") is not None:
            yield kind, id, f"its author was deleted, and is still {row['author'].get('id')}"


def _counters(reader: Reader, id: int) -> str | None:
    """What is wrong with a topic's counters. The topic is read after its messages: nobody writes any more."""
    messages = list_messages(reader, id)
    topic = reader.get(f"/api/topics/{id}?peek=1")
    return None if topic is None else _disagreement(topic, messages)


def _disagreement(topic: Row, messages: list[Row]) -> str | None:
    if topic["message_count"] != len(messages):
        return f"message_count is {topic['message_count']}, it has {len(messages)} messages"
    newest = max((datetime.fromisoformat(message["created_at"]) for message in messages), default=None)
    if newest and datetime.fromisoformat(topic["last_activity_at"]) < newest:
        return f"last_activity_at is {topic['last_activity_at']}, its newest message is of {newest.isoformat()}"
    return None
