"""/api/topics: open, list, search, read, edit, lock, pin, delete; and how far somebody has read one."""

from __future__ import annotations

from flask import Blueprint, Response, after_this_request, g, request
from sqlalchemy import func

from forum import schemas
from forum.application import db, part
from forum.events import emit
from forum.idempotency import idempotent
from forum.payload import answer, body, no_content
from forum.problems import forbidden, not_found
from forum.tokens import authenticated, identity
from forum.topics import Topics
from forum.viewcounts import ViewCounts
from forum.views import read_topics
from monolith.authors import insert
from monolith.models import Topic, TopicRead, User, topics_idempotency

TOPICS = Topics(Topic.__table__, TopicRead.__table__, User.__table__)

blueprint = Blueprint("topics", __name__, url_prefix="/api/topics")
read_topics(blueprint, TOPICS, topics_idempotency)


@blueprint.post("")
@authenticated
@idempotent(topics_idempotency)
def create() -> Response:
    topic = Topic(author_id=identity().id, title=body(schemas.NewTopic).title)
    insert(topic)
    return answer(_shown(topic.id, 0), 201, f"/api/topics/{topic.id}")


def _look_up_views() -> None:
    """Before the transaction writes: Redis may keep us waiting, and a switch waits for who has written."""
    topic_id: int = (request.view_args or {})["topic_id"]
    g.views = part(ViewCounts).read([topic_id])[topic_id]


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
    return answer(_shown(topic_id, g.views))


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
            part(ViewCounts).forget(topic_id)
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


def _shown(topic_id: int, views: int | None) -> schemas.Topic:
    return TOPICS.shown(TOPICS.find(db().connection(), topic_id), views)
