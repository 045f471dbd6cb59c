"""What the modules do with each other's events. Each is called once for an event, in any order: so they commute.

Counters add up, times take the later one, and what is deleted stays deleted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, update
from sqlalchemy.orm import Session

from forum.events import Event, Handler
from forum.idempotency import name_authors, unname_quoted
from monolith.models import Message, Topic, TopicRead, messages_idempotency, topics_idempotency


def count_posted(session: Session, events: Sequence[Event]) -> None:
    by_topic: dict[int, list[datetime]] = defaultdict(list)
    for event in events:
        by_topic[event.payload["topic_id"]].append(datetime.fromisoformat(event.payload["created_at"]))
    for topic_id, times in sorted(by_topic.items()):
        more = Topic.message_count + len(times)
        later = func.greatest(Topic.last_activity_at, max(times))
        _change(session, topic_id, message_count=more, last_activity_at=later)


def count_deleted(session: Session, events: Sequence[Event]) -> None:
    for topic_id, number in sorted(Counter(_values(events, "topic_id")).items()):
        _change(session, topic_id, message_count=Topic.message_count - number)


def _change(session: Session, topic_id: int, **values: ColumnElement[Any]) -> None:
    """Callers go by rising ids, so that two consumers never wait for each other crosswise."""
    session.execute(update(Topic).where(Topic.id == topic_id).values(values))


def forget_author(model: type[Topic] | type[Message], answers: Table) -> Handler:
    """Posts lose their author; answers kept for a repeat, which name them, go."""

    def handle(session: Session, events: Sequence[Event]) -> None:
        ids = _values(events, "user_id")
        session.execute(update(model).where(model.author_id.in_(ids)).values(author_id=None))
        session.execute(delete(answers).where(name_authors(answers, ids)))

    return handle


def forget_reader(session: Session, events: Sequence[Event]) -> None:
    forget_author(Topic, topics_idempotency)(session, events)
    session.execute(delete(TopicRead).where(TopicRead.user_id.in_(_values(events, "user_id"))))


def forget_quoted(session: Session, events: Sequence[Event]) -> None:
    forget_author(Message, messages_idempotency)(session, events)
    session.execute(unname_quoted(messages_idempotency, _values(events, "user_id")))


def delete_messages(session: Session, events: Sequence[Event]) -> None:
    session.execute(delete(Message).where(Message.topic_id.in_(_values(events, "topic_id"))))


def _values(events: Iterable[Event], name: str) -> list[int]:
    return [event.payload[name] for event in events]


HANDLERS: Mapping[str, Mapping[str, Handler]] = {
    "topics": {
        "message.posted": count_posted,
        "message.deleted": count_deleted,
        "user.deleted": forget_reader,
    },
    "messages": {
        "topic.deleted": delete_messages,
        "user.deleted": forget_quoted,
    },
}
