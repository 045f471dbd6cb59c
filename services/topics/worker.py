"""`python -m services.topics.worker`: counts messages, forgets deleted authors, relays what happened to topics."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta

from redis import Redis
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from forum.events import Event, Expiry, Handler, emit, main
from forum.idempotency import name_authors
from forum.remote import forget_authors
from services.topics.models import topics_idempotency

# Rows are locked in the order of their ids, or two workers might wait for each other.
_ADD = text(
    """
    UPDATE topics SET message_count = message_count + counted.messages,
                      last_activity_at = greatest(last_activity_at, counted.latest)
    FROM (SELECT id, messages, latest
          FROM topics
          JOIN (SELECT topic_id, count(*) AS messages, max(at) AS latest
                FROM unnest(CAST(:topic_ids AS bigint[]), CAST(:times AS timestamptz[])) AS posted (topic_id, at)
                GROUP BY topic_id) AS by_topic ON topic_id = id
          ORDER BY id FOR UPDATE OF topics) AS counted
    WHERE topics.id = counted.id
    RETURNING topics.id
    """
)
_SUBTRACT = text(
    """
    UPDATE topics SET message_count = message_count - counted.messages
    FROM (SELECT id, messages
          FROM topics
          JOIN (SELECT topic_id, count(*) AS messages
                FROM unnest(CAST(:topic_ids AS bigint[])) AS deleted (topic_id)
                GROUP BY topic_id) AS by_topic ON topic_id = id
          ORDER BY id FOR UPDATE OF topics) AS counted
    WHERE topics.id = counted.id
    """
)
_ORPHAN = text("UPDATE topics SET author_id = NULL WHERE author_id = ANY (:user_ids)")
_FORGET = text("DELETE FROM topics_reads WHERE user_id = ANY (:user_ids)")


def count_posted(session: Session, events: Sequence[Event]) -> None:
    """A topic that is gone got its last message too late to have it deleted: then say once more that it is gone."""
    topic_ids = [event.payload["topic_id"] for event in events]
    times = [event.payload["created_at"] for event in events]
    counted = set(session.scalars(_ADD, {"topic_ids": topic_ids, "times": times}))
    for topic_id in sorted(set(topic_ids) - counted):
        emit(session, "topic.deleted", {"topic_id": topic_id})


def count_deleted(session: Session, events: Sequence[Event]) -> None:
    session.execute(_SUBTRACT, {"topic_ids": [event.payload["topic_id"] for event in events]})


def handlers(redis: Redis) -> Mapping[str, Mapping[str, Handler]]:
    def forget_name(_: Session, events: Sequence[Event]) -> None:
        forget_authors(redis, [event.payload["user_id"] for event in events])

    def forget_author(session: Session, events: Sequence[Event]) -> None:
        """Posts lose their author; answers kept for a repeat, which name them, go."""
        user_ids = [event.payload["user_id"] for event in events]
        for statement in (_ORPHAN, _FORGET):
            session.execute(statement, {"user_ids": user_ids})
        session.execute(delete(topics_idempotency).where(name_authors(topics_idempotency, user_ids)))
        forget_name(session, events)

    return {
        "topics": {
            "message.posted": count_posted,
            "message.deleted": count_deleted,
            "user.updated": forget_name,
            "user.deleted": forget_author,
        }
    }


def expiries(keep: timedelta) -> list[Expiry]:
    return [Expiry.idempotency("topics", keep), Expiry.inbox("topics", keep)]


if __name__ == "__main__":
    sys.exit(main("topics", handlers, expiries))
