"""The list of topics, a topic, and what can be done with one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_args

from flask import Response, flash, request, url_for

from forum.pages.blueprint import pages
from forum.pages.forms import Form
from forum.pages.guests import asked
from forum.pages.port import PortError, Sort
from forum.pages.views import (
    END,
    again,
    cursor,
    go,
    page,
    page_of,
    position,
    post_url,
    previews,
    to_login,
    topic_url,
)
from forum.pages.visitor import act, ask, part, port, read_part, visitor
from forum.schemas import PAGE, AllRead, Message, MessageChange, NewMessage, NewTopic, Page, Reading, Topic, TopicChange


@pages.get("/")
def index() -> Response:
    wanted = request.args.get("sort")
    sort: Sort = next((each for each in get_args(Sort) if each == wanted), "activity")
    at = request.args.get("cursor") or None
    (ask_topics,) = asked(port().topics_page(sort, at, guest=visitor() is None))
    found = read_part(ask_topics)

    def context() -> dict[str, Any]:
        form = Form(until=datetime.now(UTC).isoformat())
        return {"topics": found, "sort": sort, "first": at is None, "form": form}

    return page_of((found,), "index.html", 503 if found is None else 200, context)


@pages.post("/read")
def mark_all_read() -> Response:
    """Until the page was made that the button is on: what came since has not been seen."""
    form = Form.sent("until")
    act(port().mark_all_read, form.read(AllRead, until=form["until"]), form.key)
    flash("All topics are marked as read.")
    return go(url_for("pages.index"))


@pages.get("/topics/<page_id:topic_id>")
def topic(topic_id: int) -> Response:
    """Two parts from two modules; the page stands as long as one of them is there."""
    where = position()
    last = where == END
    turned = bool(where) and not last
    at, guest = cursor() if turned else None, visitor() is None
    ask_topic, ask_messages = asked(port().topic_page(topic_id, peek=turned, cursor=at, last=last, guest=guest))
    about = read_part(ask_topic)
    messages = part(ask_messages)

    def context() -> dict[str, Any]:
        new = _mark_read(about, messages)
        here = {message.id: message for message in messages.items} if messages else {}
        answering = here.get(request.args.get("reply_to", 0, type=int))
        # After posting, the reader stays on this page if the message will be on it.
        stays = messages is not None and messages.next is None and (last or len(messages.items) < PAGE)
        return {
            "topic_id": topic_id, "topic": about, "messages": messages, "new": new, "here": here, "position": where,
            "answering": answering, "stays": "1" if stays else "", "action": post_url(topic_id), "form": Form(body=""),
            "whole": last and messages is not None and len(messages.items) < PAGE,
        }  # fmt: skip

    return page_of((about, messages), "topic.html", 503 if about is None and messages is None else 200, context)


def _mark_read(topic: Topic | None, messages: Page[Message] | None) -> int | None:
    """The visitor has now read what this page shows. Answers the first message that is new to who was here before.

    Not done when it cannot be: it is done with the next page.
    """
    if not visitor() or topic is None or not messages or not messages.items:
        return None
    before = topic.read.until if topic.read else None
    latest = max(message.created_at for message in messages.items)
    if before is None or before < latest:
        reading = Reading.model_validate({"message_id": messages.items[-1].id, "until": latest.isoformat()})
        with suppress(PortError):
            act(port().mark_read, topic.id, reading)
    return next((each.id for each in messages.items if before and each.created_at > before), None)


@pages.get("/topics/new")
def new_topic() -> Response:
    return page("new_topic.html", form=Form(title="", body="")) if visitor() else to_login()


@pages.post("/topics/new")
def create_topic() -> Response:
    """The topic, then its first message. Sent again after the second failed, the first is not done twice."""
    form = Form.sent("title", "body")
    if previews():
        return page("new_topic.html", form=form, preview=True)
    try:
        wanted, first = form.read(NewTopic, title=form["title"]), form.read(MessageChange, body=form["body"])
        created = act(port().create_topic, wanted, form.key)
    except PortError as error:
        return again("new_topic.html", form, error)
    try:
        act(port().post_message, NewMessage(topic_id=created.id, body=first.body), form.key)
    except PortError as error:
        action = url_for("pages.post_message", topic_id=created.id)
        return again("write.html", form, error, topic_id=created.id, action=action, stays="1")
    return go(topic_url(created.id))


@pages.get("/topics/<page_id:topic_id>/edit")
def edit_topic(topic_id: int) -> Response:
    if not visitor():
        return to_login()
    about = ask(port().topic, topic_id, peek=True)
    return page("edit_topic.html", topic=about, topic_id=topic_id, form=Form(title=about.title))


@pages.post("/topics/<page_id:topic_id>/edit")
def change_topic(topic_id: int) -> Response:
    form = Form.sent("title")
    try:
        act(port().change_topic, topic_id, form.read(TopicChange, title=form["title"]), form.key)
    except PortError as error:
        return again("edit_topic.html", form, error, topic_id=topic_id)
    return go(topic_url(topic_id))


@pages.post("/topics/<page_id:topic_id>/lock")
def lock_topic(topic_id: int) -> Response:
    return _turn(topic_id, "locked")


@pages.post("/topics/<page_id:topic_id>/pin")
def pin_topic(topic_id: int) -> Response:
    return _turn(topic_id, "pinned")


def _turn(topic_id: int, what: str) -> Response:
    """On or, when the form's field `what` is empty, off."""
    form = Form.sent(what)
    act(port().change_topic, topic_id, TopicChange.model_validate({what: bool(form[what])}), form.key)
    return go(topic_url(topic_id, where=position()))


@pages.get("/topics/<page_id:topic_id>/delete")
def ask_delete_topic(topic_id: int) -> Response:
    if not visitor():
        return to_login()
    about, back = ask(port().topic, topic_id, peek=True), topic_url(topic_id)
    return page("delete.html", what="topic", form=Form(), back=back, text=about.title, author=about.author)


@pages.post("/topics/<page_id:topic_id>/delete")
def delete_topic(topic_id: int) -> Response:
    form = Form.sent()
    act(port().delete_topic, topic_id, form.key)
    flash("The topic is deleted.")
    return go(url_for("pages.index"))
