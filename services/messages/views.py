"""/api/messages: post, reply, list by topic, search, read, edit, delete."""

from __future__ import annotations

from flask import Blueprint, Response, g, request
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from forum import schemas
from forum.application import db
from forum.events import emit
from forum.idempotency import idempotent
from forum.messages import Messages
from forum.payload import answer, body, no_content
from forum.problems import Problem, forbidden, invalid, not_found, unauthorized
from forum.remote import elsewhere
from forum.tokens import authenticated, identity
from forum.views import read_messages
from services.messages.models import Message, messages_idempotency

MESSAGES = Messages(Message.__table__, lambda ids: elsewhere().authors(ids))

blueprint = Blueprint("messages", __name__, url_prefix="/api/messages")
read_messages(blueprint, MESSAGES)


def _look_up() -> None:
    """The topic must be there and open; its owner knows."""
    new = body(schemas.NewMessage)
    topic = elsewhere().topic(new.topic_id) if schemas.possible(new.topic_id) else None
    if topic is None:
        raise not_found("topic")
    if topic["locked"]:
        raise Problem(409, "This topic is locked.")
    _look_up_names(new.reply_to)


def _look_up_mine() -> None:
    message_id: int = (request.view_args or {})["message_id"]
    _look_up_names(db().scalar(select(Message.reply_to).where(Message.id == message_id)))


def _look_up_names(reply_to: int | None) -> None:
    """Mine, and that of whom I answer."""
    quoted = None
    if reply_to is not None and schemas.possible(reply_to):
        quoted = db().scalar(select(Message.author_id).where(Message.id == reply_to))
    g.authors = elsewhere().authors([identity().id, quoted])


@blueprint.post("")
@authenticated
@idempotent(messages_idempotency, prepare=_look_up)
def create() -> Response:
    if g.authors[identity().id] is None:
        raise unauthorized("This account is gone.")
    new = body(schemas.NewMessage)
    _check_reply(new)
    message = Message(topic_id=new.topic_id, author_id=identity().id, reply_to=new.reply_to, body=new.body)
    db().add(message)
    try:
        db().flush()
    except IntegrityError as error:  # what was checked just now is gone by now
        if not isinstance(error.orig, ForeignKeyViolation):
            raise
        raise _no_reply() from None
    posted = MESSAGES.one(db().connection(), message.id, g.authors)
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
@idempotent(messages_idempotency, prepare=_look_up_mine)
def edit(message_id: int) -> Response:
    change = body(schemas.MessageChange)
    message = _lock(message_id)
    if message.author_id != identity().id:
        raise forbidden("Only its author may edit a message.")
    message.body = change.body
    message.updated_at = func.now()
    db().flush()
    return answer(MESSAGES.one(db().connection(), message_id, g.authors))


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
