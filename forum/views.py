"""Views of topics and messages that are the same wherever the tables are."""

from __future__ import annotations

from flask import Blueprint, Response, request
from sqlalchemy import Table

from forum import schemas
from forum.application import db, reading
from forum.idempotency import idempotent
from forum.messages import Messages
from forum.payload import answer, body, no_content, query
from forum.tokens import authenticated, identity, reader
from forum.topics import Topics


def read_topics(blueprint: Blueprint, topics: Topics, idempotency: Table) -> None:
    """List, search, read one; and how far somebody has read."""

    @blueprint.get("")
    def listing() -> Response:
        return answer(topics.listed(reading(), query(schemas.TopicsQuery), reader()))

    @blueprint.get("/search")
    def find() -> Response:
        return answer(topics.found(reading(), query(schemas.SearchQuery), reader()))

    @blueprint.get("/<id:topic_id>")
    def read(topic_id: int) -> Response:
        peek = query(schemas.TopicQuery).peek or request.method == "HEAD"
        return answer(topics.one(reading(), topic_id, reader(), peek))

    @blueprint.put("/read")
    @authenticated
    @idempotent(idempotency)
    def mark_all_read() -> Response:
        topics.mark_all_read(db(), identity().id, body(schemas.AllRead))
        return no_content()

    @blueprint.put("/<id:topic_id>/read")
    @authenticated
    @idempotent(idempotency)
    def mark_read(topic_id: int) -> Response:
        topics.mark_read(db(), identity().id, topic_id, body(schemas.Reading))
        return no_content()


def read_messages(blueprint: Blueprint, messages: Messages) -> None:
    """List, search, read one."""

    @blueprint.get("")
    def listing() -> Response:
        return answer(messages.listed(reading(), query(schemas.MessagesQuery)))

    @blueprint.get("/search")
    def find() -> Response:
        return answer(messages.found(reading(), query(schemas.SearchQuery)))

    @blueprint.get("/<id:message_id>")
    def read(message_id: int) -> Response:
        return answer(messages.one(reading(), message_id))
