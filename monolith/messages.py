"""/api/messages: post, reply, list by topic, search, read, edit, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from forum import schemas
from forum.application import db, owns, part
from forum.events import emit
from forum.idempotency import idempotent
from forum.messages import Messages
from forum.payload import answer, body, no_content
from forum.problems import Problem, forbidden, invalid, not_found
from forum.remote import Remote
from forum.tokens import authenticated, identity
from forum.views import read_messages
from monolith.authors import insert
from monolith.models import Message, Topic, User, messages_idempotency

blueprint = Blueprint("messages", __name__, url_prefix="/api/messages")

MESSAGES = Messages(Message.__table__, User.__table__)

read_messages(blueprint, MESSAGES)


def _check_topic() -> None:
    """The topic must be there and open. Where topics is not owned, its table is a copy that lags: ask the owner."""
    topic_id = body(schemas.NewMessage).topic_id
    if not schemas.possible(topic_id):
        raise not_found("topic")
    topic: Mapping[Any, Any] | None
    if owns("topics"):
        # As the foreign key would: the topic cannot go before this transaction ends.
        row = select(Topic.locked).where(Topic.id == topic_id).with_for_update(read=True, key_share=True)
        topic = db().execute(row).mappings().first()
    else:
        topic = part(Remote).topic(topic_id)
    if topic is None:
        raise not_found("topic")
    if topic["locked"]:
        raise Problem(409, "This topic is locked.")


@blueprint.post("")
@authenticated
@idempotent(messages_idempotency, prepare=_check_topic)
def create() -> Response:
    new = body(schemas.NewMessage)
    _check_reply(new)
    message = Message(topic_id=new.topic_id, author_id=identity().id, reply_to=new.reply_to, body=new.body)
    try:
        insert(message)
    except IntegrityError as error:  # what was checked just now is gone by now
        if not isinstance(error.orig, ForeignKeyViolation):
            raise
        raise _no_reply() from None
    posted = MESSAGES.one(db().connection(), message.id)
    emit(
        db(),
        "message.posted",
        {"topic_id": message.topic_id, "message_id": message.id, "created_at": posted.created_at.isoformat()},
    )
    return answer(posted, 201, f"/api/messages/{message.id}")


def _no_reply() -> Problem:
    return invalid("reply_to", "is not a message of this topic")


def _check_reply(new: schemas.NewMessage) -> None:
    if new.reply_to is None:
        return
    here = (Message.id == new.reply_to) & (Message.topic_id == new.topic_id)
    if not schemas.possible(new.reply_to) or db().scalar(select(Message.id).where(here)) is None:
        raise _no_reply()


@blueprint.patch("/<id:message_id>")
@authenticated
@idempotent(messages_idempotency)
def edit(message_id: int) -> Response:
    change = body(schemas.MessageChange)
    message = _lock(message_id)
    if message.author_id != identity().id:
        raise forbidden("Only its author may edit a message.")
    message.body = change.body
    message.updated_at = func.now()
    db().flush()
    return answer(MESSAGES.one(db().connection(), message_id))


@blueprint.delete("/<id:message_id>")
@authenticated
@idempotent(messages_idempotency)
def remove(message_id: int) -> Response:
    message = _lock(message_id)
    if message.author_id != identity().id and not identity().is_moderator:
        raise forbidden("Only its author or a moderator may delete a message.")
    db().delete(message)
    db().flush()
    emit(db(), "message.deleted", {"topic_id": message.topic_id, "message_id": message_id})
    return no_content()


def _lock(message_id: int) -> Message:
    message = db().get(Message, message_id, with_for_update=True)
    if message is None:
        raise not_found("message")
    return message
