"""What a topic says of its messages: `message_count` and `last_activity_at`, which messages knows and topics shows.

Nothing is added up. Whoever owns messages counts a topic anew when something was posted to it or deleted, and says what
it found, with a version that rises from count to count; whoever owns topics takes what is newer than what it has. So
events may be lost and told again, come twice or in any order: the count that began last began after the last change,
and it is the one that stays.

    message.posted, message.deleted, topics.recount -> `count`, at messages -> topic.counted -> `take`, at topics
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from forum.events.consumer import Event
from forum.events.outbox import emit

BATCH = 20  # topics that one event asks to be counted

# Holds the topic's row until the end, so that counts of one topic come after one another. Sorted, or two that count
# the same topics would wait for each other.
_VERSIONS = text(
    "INSERT INTO messages_counted (topic_id, version)"
    " SELECT topic_id, 1 FROM unnest(CAST(:topic_ids AS bigint[])) AS topic_id ORDER BY topic_id"
    " ON CONFLICT (topic_id) DO UPDATE SET version = messages_counted.version + 1 RETURNING topic_id, version"
)
# A statement of its own: its snapshot is taken when the locks are held.
_COUNT = text(
    "SELECT topic_id, count(*), max(created_at) FROM messages WHERE topic_id = ANY (:topic_ids) GROUP BY topic_id"
)
_TAKE = text(
    """
    UPDATE topics SET message_count = :messages, counted = :version,
                      last_activity_at = greatest(created_at, CAST(:latest AS timestamptz))
    WHERE id = :topic_id AND counted < :version
    """
)
_EXISTS = text("SELECT EXISTS (SELECT FROM topics WHERE id = :topic_id)")
_ALL = text("SELECT id FROM topics ORDER BY id")


def count(session: Session, events: Sequence[Event]) -> None:
    """At messages: count the topics that the events are about, and tell."""
    topic_ids = sorted({id for event in events for id in _topics(event)})
    asked = {"topic_ids": topic_ids}
    versions = {row.topic_id: row.version for row in session.execute(_VERSIONS, asked)}
    counted = {topic: (number, latest) for topic, number, latest in session.execute(_COUNT, asked)}
    found = ((topic, versions[topic], *counted.get(topic, (0, None))) for topic in topic_ids)
    emit(
        session,
        "topic.counted",
        *(
            {"topic_id": topic, "version": version, "messages": number, "latest": latest and latest.isoformat()}
            for topic, version, number, latest in found
        ),
    )


def _topics(event: Event) -> list[int]:
    return event.payload["topic_ids"] if event.type == "topics.recount" else [event.payload["topic_id"]]


def take(session: Session, events: Sequence[Event]) -> None:
    """At topics. A topic that is gone got its last message too late to have it deleted: say again that it is gone."""
    newest = {event.payload["topic_id"]: event.payload for event in sorted(events, key=_version)}
    for topic_id, payload in sorted(
        newest.items()
    ):  # sorted, so that two that take never wait for each other crosswise
        session.execute(_TAKE, payload)
        if payload["messages"] and not session.scalar(_EXISTS, {"topic_id": topic_id}):
            emit(session, "topic.deleted", {"topic_id": topic_id})


def _version(event: Event) -> int:
    return int(event.payload["version"])


def recount(engine: Engine) -> int:
    """Have every topic of this database counted anew. How many there are."""
    with Session(engine) as session:
        topic_ids = session.scalars(_ALL).all()
        emit(
            session,
            "topics.recount",
            *({"topic_ids": topic_ids[start : start + BATCH]} for start in range(0, len(topic_ids), BATCH)),
        )
        session.commit()
    return len(topic_ids)
