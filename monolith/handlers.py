"""What the modules do with each other's events. Each is called once for an event, in any order: so they commute.

Counts have versions, and what is deleted stays deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Table, delete, update
from sqlalchemy.orm import Session

from forum.events import Event, Handler
from forum.events.counting import count, take
from forum.idempotency import name_authors, unname_quoted
from monolith.models import Message, MessagesCounted, Topic, TopicRead, messages_idempotency, topics_idempotency


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
    topic_ids = _values(events, "topic_id")
    session.execute(delete(Message).where(Message.topic_id.in_(topic_ids)))
    session.execute(delete(MessagesCounted).where(MessagesCounted.topic_id.in_(topic_ids)))


def _values(events: Iterable[Event], name: str) -> list[int]:
    return [event.payload[name] for event in events]


HANDLERS: Mapping[str, Mapping[str, Handler]] = {
    "topics": {
        "topic.counted": take,
        "user.deleted": forget_reader,
    },
    "messages": {
        "message.posted": count,
        "message.deleted": count,
        "topics.recount": count,
        "topic.deleted": delete_messages,
        "user.deleted": forget_quoted,
    },
}
