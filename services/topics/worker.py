"""`python -m services.topics.worker`: takes the counts of messages, forgets deleted authors, relays."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta

from redis import Redis
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from forum.events import Event, Expiry, Handler, main
from forum.events.counting import take
from forum.idempotency import name_authors
from forum.remote import forget_authors
from services.topics.models import topics_idempotency

_ORPHAN = text("UPDATE topics SET author_id = NULL WHERE author_id = ANY (:user_ids)")
_FORGET = text("DELETE FROM topics_reads WHERE user_id = ANY (:user_ids)")


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

    return {"topics": {"topic.counted": take, "user.updated": forget_name, "user.deleted": forget_author}}


def expiries(keep: timedelta) -> list[Expiry]:
    return [Expiry.idempotency("topics", keep), Expiry.inbox("topics", keep)]


if __name__ == "__main__":
    sys.exit(main("topics", handlers, expiries))
