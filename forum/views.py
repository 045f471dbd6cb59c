"""Views of topics and messages that are the same wherever the tables are."""

from __future__ import annotations

import hashlib
import time

from flask import Blueprint, Flask, Response, g, request
from sqlalchemy import Table

from forum import schemas
from forum.application import db, part, reading, resources
from forum.idempotency import idempotent
from forum.messages import Messages
from forum.not_modified import opens
from forum.payload import answer, body, no_content, query
from forum.tokens import authenticated, identity, reader
from forum.topics import Topics
from forum.viewcounts import ViewCounts


def found(content: schemas.Output, seconds: float) -> Response:
    """The answer to a read; 304 when the one who asks has it already.

    As long as the ETag is the same, so is everything that this module answers to reads: nothing was written, and it is
    good for `seconds` (names and views come from elsewhere).
    """
    response, seen = answer(content), reading().state
    if seen and content.complete:
        kit, period = resources().strangler, int(time.time() // seconds)
        who = request.headers.get("Authorization", "")
        tag = hashlib.sha256(f"{kit.site} {kit.version} {seen} {period} {who}".encode()).hexdigest()[:32]
        response.set_etag(tag, weak=True)
        response.headers["Vary"] = "Authorization"
        if not who and (not_modified := resources().not_modified):
            not_modified.gave(g.strangler_module.name, response.headers["ETag"], seen, (period + 1) * seconds)
        if request.if_none_match:
            response.make_conditional(request)
    return response


def _opened(app: Flask, asked: dict[str, str], topic_id: int) -> None:
    wanted = schemas.TopicQuery.model_validate(asked)
    if not wanted.peek:
        part(ViewCounts, app).add(topic_id, wanted.readers)


def read_topics(blueprint: Blueprint, topics: Topics, idempotency: Table) -> None:
    """List, search, read one; and how far somebody has read."""

    @blueprint.get("")
    def listing() -> Response:
        return found(topics.listed(reading(), query(schemas.TopicsQuery), reader()), topics.seconds)

    @blueprint.get("/search")
    def find() -> Response:
        return found(topics.found(reading(), query(schemas.SearchQuery), reader()), topics.seconds)

    @blueprint.get("/<id:topic_id>")
    @opens(_opened)
    def read(topic_id: int) -> Response:
        asked = query(schemas.TopicQuery)
        peeks = asked.peek or request.method == "HEAD"
        return found(topics.one(reading(), topic_id, reader(), 0 if peeks else asked.readers), topics.seconds)

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
        return found(messages.listed(reading(), query(schemas.MessagesQuery)), messages.seconds)

    @blueprint.get("/search")
    def find() -> Response:
        return found(messages.found(reading(), query(schemas.SearchQuery)), messages.seconds)

    @blueprint.get("/<id:message_id>")
    def read(message_id: int) -> Response:
        return found(messages.one(reading(), message_id), messages.seconds)
