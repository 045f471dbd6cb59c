"""/api/topics: open, list, search, read, edit, lock, pin, delete; and how far somebody has read one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, after_this_request, g, request
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from forum import paging, schemas, viewcounts
from forum.application import db, resources
from forum.events import emit
from forum.idempotency import idempotent
from forum.payload import answer, body, no_content, query
from forum.problems import forbidden, not_found, unauthorized
from forum.remote import elsewhere
from forum.search import search
from forum.tokens import authenticated, identity, reader
from services.topics.models import Topic, TopicRead, topics_idempotency

Authors = Mapping[int, schemas.Author | None]

# Made once: to put a statement together takes about as long as to run it.
TOPICS = select(Topic)
NEWEST = TOPICS.order_by(Topic.id.desc())
ACTIVE = TOPICS.order_by(Topic.pinned.desc(), Topic.last_activity_at.desc(), Topic.id.desc())

blueprint = Blueprint("topics", __name__, url_prefix="/api/topics")


def _look_up_me() -> None:
    g.authors = elsewhere().authors([identity().id])


@blueprint.post("")
@authenticated
@idempotent(topics_idempotency, prepare=_look_up_me)
def create() -> Response:
    new = body(schemas.NewTopic)
    if g.authors[identity().id] is None:
        raise unauthorized("This account is gone.")
    topic = Topic(author_id=identity().id, title=new.title)
    db().add(topic)
    db().flush()
    return answer(_shown(topic, g.authors, 0), 201, f"/api/topics/{topic.id}")


@blueprint.get("")
def listing() -> Response:
    asked = query(schemas.TopicsQuery)
    if asked.ids is not None:
        return _answer(_these(asked.ids))
    if asked.sort == "views":
        return _most_viewed(asked)
    rows = db().scalars(_after(asked).limit(asked.limit + 1)).all()
    return _answer(*paging.page(rows, asked.limit, asked.sort, _newest if asked.sort == "newest" else _activity))


def _after(asked: schemas.TopicsQuery) -> Select[Topic]:
    """Each order has its index (models.py), and the cursor is a place in it."""
    if asked.sort == "newest":
        id = paging.after_id(asked.sort, asked.cursor)
        return NEWEST if id is None else NEWEST.where(Topic.id < id)
    place = paging.after_time(asked.sort, asked.cursor)
    if place is None:
        return ACTIVE
    # Not one comparison of three columns: the planner would guess from `pinned` alone how many rows that leaves.
    pinned, *rest = place
    earlier = tuple_(Topic.last_activity_at, Topic.id) < tuple_(*rest)
    return ACTIVE.where(~Topic.pinned | earlier) if pinned else ACTIVE.where(~Topic.pinned, earlier)


def _most_viewed(asked: schemas.TopicsQuery) -> Response:
    """Redis has the order. It moves while it is read, so the cursor is a place in it: a topic may come twice."""
    start = paging.after_id("views", asked.cursor) or 0
    views = viewcounts.most_viewed(resources().redis, start, asked.limit + 1)
    ids, cursor = paging.page(list(views), asked.limit, "views", lambda _: (start + asked.limit,))
    return _answer(_these(ids), cursor)


def _these(ids: Sequence[int]) -> list[Topic]:
    """Those of `ids` that exist, in that order."""
    rows = db().scalars(TOPICS.where(Topic.id.in_({id for id in ids if schemas.possible(id)})))
    topics = {topic.id: topic for topic in rows}
    return [topics[id] for id in dict.fromkeys(ids) if id in topics]


@blueprint.get("/search")
def find() -> Response:
    """By words of their titles, the latest first."""
    ids, cursor = search(db(), Topic.__table__, query(schemas.SearchQuery))
    return _answer(_these(ids), cursor)


def _answer(topics: Sequence[Topic], cursor: str | None = None) -> Response:
    read = _read(topics)
    views = viewcounts.read(resources().redis, [topic.id for topic in topics])
    authors = elsewhere().authors(topic.author_id for topic in topics)
    items = [_shown(topic, authors, views[topic.id], read.get(topic.id)) for topic in topics]
    return answer(schemas.Page[schemas.Topic](items=items, next=cursor))


def _read(topics: Iterable[Topic]) -> dict[int, TopicRead]:
    """How far the one who asks has read these topics."""
    user_id = reader()
    if user_id is None:
        return {}
    theirs = (TopicRead.user_id == user_id) & TopicRead.topic_id.in_([topic.id for topic in topics])
    return {read.topic_id: read for read in db().scalars(select(TopicRead).where(theirs))}


def _newest(topic: Topic) -> paging.Key:
    return (topic.id,)


def _activity(topic: Topic) -> paging.Key:
    return (topic.pinned, topic.last_activity_at, topic.id)


@blueprint.get("/<id:topic_id>")
def read(topic_id: int) -> Response:
    peek = query(schemas.TopicQuery).peek or request.method == "HEAD"
    topic = _find(topic_id)
    read = _read([topic]).get(topic_id)
    redis = resources().redis
    views = viewcounts.read(redis, [topic_id])[topic_id] if peek else viewcounts.add(redis, topic_id)
    return answer(_shown(topic, elsewhere().authors([topic.author_id]), views, read))


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


def _look_up() -> None:
    """Before the transaction writes: others may keep us waiting, and a switch waits for who has written."""
    topic_id: int = (request.view_args or {})["topic_id"]
    author_id = db().scalar(select(Topic.author_id).where(Topic.id == topic_id))
    g.authors = elsewhere().authors([author_id])
    g.views = viewcounts.read(resources().redis, [topic_id])[topic_id]


@blueprint.patch("/<id:topic_id>")
@authenticated
@idempotent(topics_idempotency, prepare=_look_up)
def edit(topic_id: int) -> Response:
    changes = body(schemas.TopicChange).changes()
    topic = _find(topic_id, with_for_update=True)
    _permit(topic)
    if changes.keys() & {"locked", "pinned"} and not identity().is_moderator:
        raise forbidden("Only a moderator may lock or pin a topic.")
    if changes:
        for field, value in {**changes, "updated_at": func.now()}.items():
            setattr(topic, field, value)
        db().flush()
        db().refresh(topic, ["updated_at"])
    return answer(_shown(topic, g.authors, g.views))


@blueprint.delete("/<id:topic_id>")
@authenticated
@idempotent(topics_idempotency)
def remove(topic_id: int) -> Response:
    """The topic's messages go too: by the event, wherever they are."""
    topic = _find(topic_id, with_for_update=True)
    _permit(topic)
    db().delete(topic)
    db().flush()
    emit(db(), "topic.deleted", {"topic_id": topic_id})

    @after_this_request  # so after the commit
    def forget_views(response: Response) -> Response:
        if response.status_code == 204:
            viewcounts.forget(resources().redis, topic_id)
        return response

    return no_content()


def _find(topic_id: int, **options: Any) -> Topic:
    topic = db().get(Topic, topic_id, **options)
    if topic is None:
        raise not_found("topic")
    return topic


def _permit(topic: Topic) -> None:
    if topic.author_id != identity().id and not identity().is_moderator:
        raise forbidden("Only its author or a moderator may change a topic.")


def _shown(topic: Topic, authors: Authors, views: int | None, read: TopicRead | None = None) -> schemas.Topic:
    return schemas.Topic(
        id=topic.id,
        title=topic.title,
        locked=topic.locked,
        pinned=topic.pinned,
        author=authors.get(topic.author_id) if topic.author_id else None,
        message_count=topic.message_count,
        last_activity_at=topic.last_activity_at,
        created_at=topic.created_at,
        updated_at=topic.updated_at,
        views=views,
        read=schemas.Read.model_validate(read) if read else None,
        edited=topic.updated_at > topic.created_at if resources().settings.show_edited else None,
    )
