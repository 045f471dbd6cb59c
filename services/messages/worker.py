"""`python -m services.messages.worker`: counts messages, deletes those of deleted topics, forgets authors, relays."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta

from redis import Redis
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from forum.events import Event, Expiry, Handler, main
from forum.events.counting import count
from forum.idempotency import name_authors, unname_quoted
from forum.remote import forget_authors
from services.messages.models import messages_idempotency

_DELETE = text("DELETE FROM messages WHERE topic_id = ANY (:topic_ids)")
_UNCOUNT = text("DELETE FROM messages_counted WHERE topic_id = ANY (:topic_ids)")
_ORPHAN = text("UPDATE messages SET author_id = NULL WHERE author_id = ANY (:user_ids)")


def delete_with_topic(session: Session, events: Sequence[Event]) -> None:
    """Nobody counts these: the counter went with the topic."""
    topic_ids = {"topic_ids": [event.payload["topic_id"] for event in events]}
    session.execute(_DELETE, topic_ids)
    session.execute(_UNCOUNT, topic_ids)


def handlers(redis: Redis) -> Mapping[str, Mapping[str, Handler]]:
    def forget_name(_: Session, events: Sequence[Event]) -> None:
        forget_authors(redis, [event.payload["user_id"] for event in events])

    def forget_author(session: Session, events: Sequence[Event]) -> None:
        """Posts lose their author; answers kept for a repeat, which name them, go."""
        user_ids = [event.payload["user_id"] for event in events]
        session.execute(_ORPHAN, {"user_ids": user_ids})
        session.execute(delete(messages_idempotency).where(name_authors(messages_idempotency, user_ids)))
        session.execute(unname_quoted(messages_idempotency, user_ids))
        forget_name(session, events)

    return {
        "messages": {
            "message.posted": count,
            "message.deleted": count,
            "topics.recount": count,
            "topic.deleted": delete_with_topic,
            "user.updated": forget_name,
            "user.deleted": forget_author,
        }
    }


def expiries(keep: timedelta) -> list[Expiry]:
    return [Expiry.idempotency("messages", keep), Expiry.inbox("messages", keep)]


if __name__ == "__main__":
    sys.exit(main("messages", handlers, expiries))
