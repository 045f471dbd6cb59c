"""/api/topics: open, list, search, read, edit, lock, pin, delete; and how far somebody has read one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, after_this_request, g, request
from sqlalchemy import BigInteger, bindparam, func, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from forum import paging, schemas, viewcounts
from forum.application import db, resources
from forum.database import AnyConnection, Statement
from forum.events import emit
from forum.idempotency import idempotent
from forum.payload import answer, body, no_content, query
from forum.problems import forbidden, not_found
from forum.search import search
from forum.tokens import authenticated, identity, reader
from monolith.authors import NAMES, author, insert
from monolith.models import Topic, TopicRead, User, topics_idempotency

# Columns and no entities: to make an entity of a row costs several times what the row does.
TOPICS = select(
    Topic.id, Topic.pinned, Topic.last_activity_at, Topic.title, Topic.locked, Topic.author_id, *NAMES,
    Topic.message_count, Topic.created_at, Topic.updated_at,
).outerjoin(User, User.id == Topic.author_id)  # fmt: skip
ROWS: Any = bindparam("rows", type_=BigInteger)
NEWEST = TOPICS.order_by(Topic.id.desc()).limit(ROWS)
ACTIVE = TOPICS.order_by(Topic.pinned.desc(), Topic.last_activity_at.desc(), Topic.id.desc()).limit(ROWS)
# Not one comparison of three columns: the planner would guess from `pinned` alone how many rows that leaves.
EARLIER = tuple_(Topic.last_activity_at, Topic.id) < tuple_(bindparam("time"), bindparam("id"))

FIRST_ACTIVE, FIRST_NEWEST = Statement(ACTIVE), Statement(NEWEST)
AFTER_PINNED, AFTER_ACTIVE = (
    Statement(ACTIVE.where(~Topic.pinned | EARLIER)),
    Statement(ACTIVE.where(~Topic.pinned, EARLIER)),
)
AFTER_NEWEST = Statement(NEWEST.where(Topic.id < bindparam("id")))
ONE = Statement(TOPICS.where(Topic.id == bindparam("id")))
THESE = Statement(TOPICS.where(Topic.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))))
READ = Statement(
    select(TopicRead.topic_id, TopicRead.message_id, TopicRead.until).where(
        TopicRead.user_id == bindparam("reader"),
        TopicRead.topic_id == func.any(bindparam("ids", type_=ARRAY(BigInteger))),
    )
)

Row = tuple[Any, ...]
"""Of TOPICS."""
KEPT = 4096

blueprint = Blueprint("topics", __name__, url_prefix="/api/topics")


@blueprint.post("")
@authenticated
@idempotent(topics_idempotency)
def create() -> Response:
    topic = Topic(author_id=identity().id, title=body(schemas.NewTopic).title)
    insert(topic)
    return answer(shown(_find(db().connection(), topic.id), 0), 201, f"/api/topics/{topic.id}")


@blueprint.get("")
def listing() -> Response:
    return answer(listed(db().connection(), query(schemas.TopicsQuery), reader()))


def listed(connection: AnyConnection, asked: schemas.TopicsQuery, user_id: int | None) -> schemas.Page[schemas.Topic]:
    """user_id: who asks, None for a guest. Raises Problem."""
    if asked.ids is not None:
        return _page(connection, user_id, _these(connection, asked.ids))
    if asked.sort == "views":
        return _page(connection, user_id, *_most_viewed(connection, asked))
    key = _newest if asked.sort == "newest" else _activity
    rows = _after(connection, asked)
    return _page(connection, user_id, *paging.page(rows, asked.limit, asked.sort, key))


def _after(connection: AnyConnection, asked: schemas.TopicsQuery) -> Sequence[Row]:
    """Each order has its index (models.py), and the cursor is a place in it."""
    rows = asked.limit + 1
    if asked.sort == "newest":
        id = paging.after_id(asked.sort, asked.cursor)
        return (
            FIRST_NEWEST.rows(connection, rows=rows) if id is None else AFTER_NEWEST.rows(connection, rows=rows, id=id)
        )
    place = paging.after_time(asked.sort, asked.cursor)
    if place is None:
        return FIRST_ACTIVE.rows(connection, rows=rows)
    pinned, time, id = place
    return (AFTER_PINNED if pinned else AFTER_ACTIVE).rows(connection, rows=rows, time=time, id=id)


def _most_viewed(connection: AnyConnection, asked: schemas.TopicsQuery) -> tuple[Sequence[Row], str | None]:
    """Redis has the order. It moves while it is read, so the cursor is a place in it: a topic may come twice."""
    start = paging.after_id("views", asked.cursor) or 0
    views = viewcounts.most_viewed(resources().redis, start, asked.limit + 1)
    ids, cursor = paging.page(list(views), asked.limit, "views", lambda _: (start + asked.limit,))
    return _these(connection, ids), cursor


def _these(connection: AnyConnection, ids: Sequence[int]) -> list[Row]:
    """Those of `ids` that exist, in that order."""
    rows = THESE.rows(connection, ids=[id for id in set(ids) if schemas.possible(id)])
    topics = {row[0]: row for row in rows}
    return [topics[id] for id in dict.fromkeys(ids) if id in topics]


@blueprint.get("/search")
def find() -> Response:
    """By words of their titles, the latest first."""
    ids, cursor = search(db(), Topic.__table__, query(schemas.SearchQuery))
    connection = db().connection()
    return answer(_page(connection, reader(), _these(connection, ids), cursor))


def _page(
    connection: AnyConnection, user_id: int | None, rows: Sequence[Row], cursor: str | None = None
) -> schemas.Page[schemas.Topic]:
    ids = [row[0] for row in rows]
    read = _read(connection, ids, user_id)
    views = viewcounts.read(resources().redis, ids)
    return schemas.Page[schemas.Topic](items=[shown(row, views[row[0]], read.get(row[0])) for row in rows], next=cursor)


def _read(connection: AnyConnection, ids: Sequence[int], user_id: int | None) -> Mapping[int, tuple[int, datetime]]:
    """How far the one who asks has read these topics."""
    if user_id is None:
        return {}
    return {id: (message_id, until) for id, message_id, until in READ.rows(connection, reader=user_id, ids=ids)}


def _newest(row: Row) -> paging.Key:
    return (row[0],)


def _activity(row: Row) -> paging.Key:
    id, pinned, last_activity_at, *_ = row
    return pinned, last_activity_at, id


@blueprint.get("/<id:topic_id>")
def read(topic_id: int) -> Response:
    peek = query(schemas.TopicQuery).peek or request.method == "HEAD"
    return answer(one(db().connection(), topic_id, reader(), peek))


def one(connection: AnyConnection, topic_id: int, user_id: int | None, peek: bool) -> schemas.Topic:
    """As `listed`. A view is counted last, when nothing can fail any more. Raises Problem."""
    topic = _find(connection, topic_id)
    read = _read(connection, [topic_id], user_id).get(topic_id)
    redis = resources().redis
    return shown(topic, viewcounts.read(redis, [topic_id])[topic_id] if peek else viewcounts.add(redis, topic_id), read)


@blueprint.put("/<id:topic_id>/read")
@authenticated
@idempotent(topics_idempotency)
def mark_read(topic_id: int) -> Response:
    """The reader got this far; never back."""
    reading = body(schemas.Reading)
    here = select(Topic.id).where(Topic.id == topic_id).with_for_update(read=True, key_share=True)
    if db().scalar(here) is None:
        raise not_found("topic")
    new = insert_or_update(TopicRead).values(user_id=identity().id, topic_id=topic_id, **reading.model_dump())
    later = {
        "message_id": func.greatest(TopicRead.message_id, new.excluded.message_id),
        "until": func.greatest(TopicRead.until, new.excluded.until),
    }
    db().execute(new.on_conflict_do_update(index_elements=["user_id", "topic_id"], set_=later))
    return no_content()


def _look_up_views() -> None:
    """Before the transaction writes: Redis may keep us waiting, and a switch waits for who has written."""
    topic_id: int = (request.view_args or {})["topic_id"]
    g.views = viewcounts.read(resources().redis, [topic_id])[topic_id]


@blueprint.patch("/<id:topic_id>")
@authenticated
@idempotent(topics_idempotency, prepare=_look_up_views)
def edit(topic_id: int) -> Response:
    changes = body(schemas.TopicChange).changes()
    topic = _lock(topic_id)
    if changes.keys() & {"locked", "pinned"} and not identity().is_moderator:
        raise forbidden("Only a moderator may lock or pin a topic.")
    if changes:
        for field, value in {**changes, "updated_at": func.now()}.items():
            setattr(topic, field, value)
        db().flush()
    return answer(shown(_find(db().connection(), topic_id), g.views))


@blueprint.delete("/<id:topic_id>")
@authenticated
@idempotent(topics_idempotency)
def remove(topic_id: int) -> Response:
    """The topic's messages go too: by the event, wherever they are."""
    db().delete(_lock(topic_id))
    db().flush()
    emit(db(), "topic.deleted", {"topic_id": topic_id})

    @after_this_request  # so after the commit
    def forget_views(response: Response) -> Response:
        if response.status_code == 204:
            viewcounts.forget(resources().redis, topic_id)
        return response

    return no_content()


def _lock(topic_id: int) -> Topic:
    """The topic, to be changed by the one who asks. Raises Problem."""
    topic = db().get(Topic, topic_id, with_for_update=True)
    if topic is None:
        raise not_found("topic")
    if topic.author_id != identity().id and not identity().is_moderator:
        raise forbidden("Only its author or a moderator may change a topic.")
    return topic


def _find(connection: AnyConnection, topic_id: int) -> Row:
    for row in ONE.rows(connection, id=topic_id):
        return row
    raise not_found("topic")


@lru_cache(KEPT)
def shown(row: Row, views: int | None, read: tuple[int, datetime] | None = None) -> schemas.Topic:
    """A row as the contract has it. Of the same row it is the same object: nobody may change it."""
    id, pinned, last_activity_at, title, locked, *by, message_count, created_at, updated_at = row
    return schemas.Topic(
        id=id,
        title=title,
        locked=locked,
        pinned=pinned,
        author=author(*by),
        message_count=message_count,
        last_activity_at=last_activity_at,
        created_at=created_at,
        updated_at=updated_at,
        views=views,
        read=schemas.Read(message_id=read[0], until=read[1]) if read else None,
    )
