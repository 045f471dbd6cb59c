"""/api/messages: post, reply, list by topic, search, read, edit, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import BigInteger, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from forum import paging, schemas
from forum.application import db, owns, part
from forum.database import AnyConnection, Statement
from forum.events import emit
from forum.idempotency import idempotent
from forum.payload import answer, body, no_content, query
from forum.problems import Problem, forbidden, invalid, not_found
from forum.remote import Remote
from forum.search import search
from forum.tokens import authenticated, identity
from monolith.authors import NAMES, author, insert
from monolith.models import Message, Topic, User, messages_idempotency

blueprint = Blueprint("messages", __name__, url_prefix="/api/messages")

QUOTED, QUOTED_USER = aliased(Message), aliased(User)

# Columns and no entities: to make an entity of a row costs several times what the row does.
MESSAGES = (
    select(
        Message.id, Message.topic_id, Message.author_id, *NAMES, Message.body, Message.created_at, Message.updated_at,
        Message.reply_to, func.left(QUOTED.body, schemas.EXCERPT), QUOTED.author_id, QUOTED_USER.username,
        QUOTED_USER.display_name,
    )
    .outerjoin(User, User.id == Message.author_id)
    .outerjoin(QUOTED, QUOTED.id == Message.reply_to)
    .outerjoin(QUOTED_USER, QUOTED_USER.id == QUOTED.author_id)
)  # fmt: skip
OF_TOPIC = Statement(
    MESSAGES.where(Message.topic_id == bindparam("topic_id"), Message.id > bindparam("after"))
    .order_by(Message.id)
    .limit(bindparam("rows", type_=BigInteger))
)
ONE = Statement(MESSAGES.where(Message.id == bindparam("id")))
THESE = Statement(
    MESSAGES.where(Message.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))).order_by(Message.id.desc())
)

Row = tuple[Any, ...]
"""Of MESSAGES."""
KEPT, SHORT = 4096, 2000
"""Rows that are kept as the contract has them, and how long a body, in characters, may be for that."""


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
    posted = _find(message.id)
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


@blueprint.get("")
def listing() -> Response:
    return answer(listed(db().connection(), query(schemas.MessagesQuery)))


def listed(connection: AnyConnection, asked: schemas.MessagesQuery) -> schemas.Page[schemas.Message]:
    """Oldest first. A topic that does not exist has no messages. Raises Problem."""
    after = paging.after_id("oldest", asked.cursor) or 0
    rows: Sequence[Row] = ()
    if schemas.possible(asked.topic_id):
        rows = OF_TOPIC.rows(connection, topic_id=asked.topic_id, after=after, rows=asked.limit + 1)
    return _page(*paging.page(rows, asked.limit, "oldest", lambda row: (row[0],)))


@blueprint.get("/search")
def find() -> Response:
    """In all topics, the latest first."""
    ids, cursor = search(db(), Message.__table__, query(schemas.SearchQuery))
    return answer(_page(THESE.rows(db().connection(), ids=list(ids)), cursor))


def _page(rows: Sequence[Row], cursor: str | None) -> schemas.Page[schemas.Message]:
    return schemas.Page[schemas.Message](items=[shown(row) for row in rows], next=cursor)


@blueprint.get("/<id:message_id>")
def read(message_id: int) -> Response:
    return answer(_find(message_id))


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
    return answer(_find(message_id))


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


def _find(message_id: int) -> schemas.Message:
    for row in ONE.rows(db().connection(), id=message_id):
        return shown(row)
    raise not_found("message")


def shown(row: Row) -> schemas.Message:
    """A row as the contract has it. Of the same row it may be the same object: nobody may change it."""
    return _kept(row) if len(row[5]) <= SHORT else _made(row)


def _made(row: Row) -> schemas.Message:
    id, topic_id, author_id, username, display_name, body, created_at, updated_at, reply_to, excerpt, *quoted = row
    return schemas.Message(
        id=id,
        topic_id=topic_id,
        author=author(author_id, username, display_name),
        reply_to=reply_to,
        quote=None if excerpt is None else schemas.Quote(author=author(*quoted), excerpt=excerpt),
        body=body,
        created_at=created_at,
        updated_at=updated_at,
    )


_kept = lru_cache(KEPT)(_made)
