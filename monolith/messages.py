"""/api/messages: post, reply, list by topic, search, read, edit, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import BigInteger, bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from forum import paging, schemas
from forum.application import db, owns, part
from forum.events import emit
from forum.idempotency import idempotent
from forum.payload import answer, body, no_content, query
from forum.problems import Problem, forbidden, invalid, not_found
from forum.remote import Remote
from forum.search import search
from forum.tokens import authenticated, identity
from monolith.authors import author_of, insert, with_author
from monolith.models import Message, Topic, User, messages_idempotency

blueprint = Blueprint("messages", __name__, url_prefix="/api/messages")

SHOWN = (
    with_author(Message),
    joinedload(Message.quoted)
    .load_only(Message.author_id, Message.body)
    .joinedload(Message.author)
    .load_only(User.username, User.display_name),
)
"""What a SELECT of messages brings along."""

# Made once: to put a statement together takes about as long as to run it.
MESSAGES = select(Message).options(*SHOWN)
OF_TOPIC = (
    MESSAGES.where(Message.topic_id == bindparam("topic_id"), Message.id > bindparam("after"))
    .order_by(Message.id)
    .limit(bindparam("rows", type_=BigInteger))
)


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
    shown = _shown(_find(message.id, populate_existing=True))
    emit(
        db(),
        "message.posted",
        {"topic_id": message.topic_id, "message_id": message.id, "created_at": shown.created_at.isoformat()},
    )
    return answer(shown, 201, f"/api/messages/{message.id}")


def _no_reply() -> Problem:
    return invalid("reply_to", "is not a message of this topic")


def _check_reply(new: schemas.NewMessage) -> None:
    if new.reply_to is None:
        return
    here = (Message.id == new.reply_to) & (Message.topic_id == new.topic_id)
    if not schemas.possible(new.reply_to) or db().scalar(select(Message.id).where(here)) is None:
        raise _no_reply()


@blueprint.get("")
def listing() -> Response:
    """Oldest first. A topic that does not exist has no messages."""
    asked = query(schemas.MessagesQuery)
    after = paging.after_id("oldest", asked.cursor) or 0
    place = {"topic_id": asked.topic_id, "after": after, "rows": asked.limit + 1}
    rows = db().scalars(OF_TOPIC, place).all() if schemas.possible(asked.topic_id) else []
    return _answer(*paging.page(rows, asked.limit, "oldest", lambda message: (message.id,)))


@blueprint.get("/search")
def find() -> Response:
    """In all topics, the latest first."""
    ids, cursor = search(db(), Message.__table__, query(schemas.SearchQuery))
    return _answer(db().scalars(MESSAGES.where(Message.id.in_(ids)).order_by(Message.id.desc())).all(), cursor)


def _answer(messages: Sequence[Message], cursor: str | None) -> Response:
    return answer(schemas.Page[schemas.Message](items=[_shown(message) for message in messages], next=cursor))


@blueprint.get("/<id:message_id>")
def read(message_id: int) -> Response:
    return answer(_shown(_find(message_id)))


@blueprint.patch("/<id:message_id>")
@authenticated
@idempotent(messages_idempotency)
def edit(message_id: int) -> Response:
    change = body(schemas.MessageChange)
    message = _find(message_id, with_for_update={"of": Message})
    if message.author_id != identity().id:
        raise forbidden("Only its author may edit a message.")
    message.body = change.body
    message.updated_at = func.now()
    db().flush()
    db().refresh(message, ["updated_at"])
    return answer(_shown(message))


@blueprint.delete("/<id:message_id>")
@authenticated
@idempotent(messages_idempotency)
def remove(message_id: int) -> Response:
    message = _find(message_id, with_for_update={"of": Message})
    if message.author_id != identity().id and not identity().is_moderator:
        raise forbidden("Only its author or a moderator may delete a message.")
    db().delete(message)
    db().flush()
    emit(db(), "message.deleted", {"topic_id": message.topic_id, "message_id": message_id})
    return no_content()


def _find(message_id: int, **options: Any) -> Message:
    message = db().get(Message, message_id, options=SHOWN, **options)
    if message is None:
        raise not_found("message")
    return message


def _shown(message: Message) -> schemas.Message:
    return schemas.Message(
        id=message.id,
        topic_id=message.topic_id,
        author=author_of(message),
        reply_to=message.reply_to,
        quote=_quote(message.quoted) if message.quoted else None,
        body=message.body,
        created_at=message.created_at,
        updated_at=message.updated_at,
    )


def _quote(message: Message) -> schemas.Quote:
    return schemas.Quote(author=author_of(message), excerpt=message.body[: schemas.EXCERPT])
