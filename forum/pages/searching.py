"""Search: in messages or in the titles of topics, each by the module that has the text."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response, request

from forum.pages.blueprint import pages
from forum.pages.views import page
from forum.pages.visitor import part, port
from forum.schemas import Message, Topic


@pages.get("/search")
def search() -> Response:
    """Titles belong to another module than messages: without it messages are found under their topics' numbers."""
    words = request.args.get("q", "").strip()[:200]
    at = request.args.get("cursor") or None
    context = {"words": words, "first": at is None}
    if request.args.get("in") == "topics":
        topics = part(port().search_topics, words, at) if words else None
        return page("search.html", _status(words, topics), where="topics", found=topics, **context)
    messages = part(port().search_messages, words, at) if words else None
    titles = _titles(messages.items) if messages else {}
    return page("search.html", _status(words, messages), where="messages", found=messages, titles=titles, **context)


def _status(words: str, found: object) -> int:
    return 503 if words and found is None else 200


def _titles(messages: Iterable[Message]) -> dict[int, Topic]:
    ids = {message.topic_id for message in messages}
    topics = part(port().topics_by_ids, sorted(ids)) if ids else None
    return {topic.id: topic for topic in topics.items} if topics else {}
