"""/api/topics: open, list, read, edit, lock, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, after_this_request, g, request
from sqlalchemy import Select, func, select, tuple_

from forum import paging, schemas, viewcounts
from forum.application import db, resources
from forum.events import emit
from forum.idempotency import idempotent
from forum.payload import answer, body, no_content, query
from forum.problems import forbidden, not_found, unauthorized
from forum.remote import elsewhere
from forum.tokens import authenticated, identity
from services.topics.models import Topic, topics_idempotency

Authors = Mapping[int, schemas.Author | None]

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
    rows = db().scalars(_after(asked).limit(asked.limit + 1)).all()
    topics, cursor = paging.page(rows, asked.limit, asked.sort, _newest if asked.sort == "newest" else _activity)
    views = viewcounts.read(resources().redis, [topic.id for topic in topics])
    authors = elsewhere().authors(topic.author_id for topic in topics)
    items = [_shown(topic, authors, views[topic.id]) for topic in topics]
    return answer(schemas.Page[schemas.Topic](items=items, next=cursor))


def _after(asked: schemas.TopicsQuery) -> Select[Topic]:
    """Each order has its index (models.py), and the cursor is a place in it."""
    topics = select(Topic)
    if asked.sort == "newest":
        topics = topics.order_by(Topic.id.desc())
        id = paging.after_id(asked.sort, asked.cursor)
        return topics if id is None else topics.where(Topic.id < id)
    topics = topics.order_by(Topic.last_activity_at.desc(), Topic.id.desc())
    place = paging.after_time(asked.sort, asked.cursor)
    return topics if place is None else topics.where(tuple_(Topic.last_activity_at, Topic.id) < place)


def _newest(topic: Topic) -> paging.Key:
    return (topic.id,)


def _activity(topic: Topic) -> paging.Key:
    return (topic.last_activity_at, topic.id)


@blueprint.get("/<id:topic_id>")
def read(topic_id: int) -> Response:
    peek = query(schemas.TopicQuery).peek or request.method == "HEAD"
    topic = _find(topic_id)
    redis = resources().redis
    views = viewcounts.read(redis, [topic_id])[topic_id] if peek else viewcounts.add(redis, topic_id)
    return answer(_shown(topic, elsewhere().authors([topic.author_id]), views))


def _look_up_author() -> None:
    author_id = db().scalar(select(Topic.author_id).where(Topic.id == (request.view_args or {})["topic_id"]))
    g.authors = elsewhere().authors([author_id])


@blueprint.patch("/<id:topic_id>")
@authenticated
@idempotent(topics_idempotency, prepare=_look_up_author)
def edit(topic_id: int) -> Response:
    changes = body(schemas.TopicChange).changes()
    topic = _find(topic_id, with_for_update=True)
    _permit(topic)
    if "locked" in changes and not identity().is_moderator:
        raise forbidden("Only a moderator may lock or unlock a topic.")
    if changes:
        for field, value in {**changes, "updated_at": func.now()}.items():
            setattr(topic, field, value)
        db().flush()
        db().refresh(topic, ["updated_at"])
    return answer(_shown(topic, g.authors, viewcounts.read(resources().redis, [topic_id])[topic_id]))


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


def _shown(topic: Topic, authors: Authors, views: int | None) -> schemas.Topic:
    return schemas.Topic(
        id=topic.id,
        title=topic.title,
        locked=topic.locked,
        author=authors.get(topic.author_id) if topic.author_id else None,
        message_count=topic.message_count,
        last_activity_at=topic.last_activity_at,
        created_at=topic.created_at,
        updated_at=topic.updated_at,
        views=views,
        edited=topic.updated_at > topic.created_at if resources().settings.show_edited else None,
    )
