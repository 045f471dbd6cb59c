"""The list of topics, a topic, and what can be done with one."""

from __future__ import annotations

from flask import Response, flash, request, url_for

from forum.pages.blueprint import pages
from forum.pages.forms import Form
from forum.pages.port import PortError, Sort
from forum.pages.views import again, cursor, go, page, position, post_url, to_login, topic_url
from forum.pages.visitor import act, ask, part, port, visitor
from forum.schemas import PAGE, MessageChange, NewMessage, NewTopic, TopicChange


@pages.get("/")
def index() -> Response:
    sort: Sort = "newest" if request.args.get("sort") == "newest" else "activity"
    at = request.args.get("cursor") or None
    found = part(port().topics, sort, at)
    return page("index.html", 503 if found is None else 200, topics=found, sort=sort, first=at is None)


@pages.get("/topics/<page_id:topic_id>")
def topic(topic_id: int) -> Response:
    """Two parts from two modules; the page stands as long as one of them is there."""
    about = part(port().topic, topic_id, peek=bool(position()))
    messages = part(port().messages, topic_id, cursor())
    here = {message.id: message for message in messages.items} if messages else {}
    answering = here.get(request.args.get("reply_to", 0, type=int))
    # After posting, the reader stays on this page if the message will be on it.
    stays = messages is not None and messages.next is None and len(messages.items) < PAGE
    return page(
        "topic.html", 503 if about is None and messages is None else 200, topic_id=topic_id, topic=about,
        messages=messages, here=here, answering=answering, stays="1" if stays else "", position=position(),
        action=post_url(topic_id), form=Form(body=""),
    )  # fmt: skip


@pages.get("/topics/new")
def new_topic() -> Response:
    return page("new_topic.html", form=Form(title="", body="")) if visitor() else to_login()


@pages.post("/topics/new")
def create_topic() -> Response:
    """The topic, then its first message. Sent again after the second failed, the first is not done twice."""
    form = Form.sent("title", "body")
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
    """Lock or, without `locked`, unlock."""
    form = Form.sent("locked")
    act(port().change_topic, topic_id, TopicChange(locked=bool(form["locked"])), form.key)
    return go(topic_url(topic_id, where=position()))


@pages.get("/topics/<page_id:topic_id>/delete")
def ask_delete_topic(topic_id: int) -> Response:
    if not visitor():
        return to_login()
    about = ask(port().topic, topic_id, peek=True)
    return page("delete.html", what="topic", form=Form(), back=topic_url(topic_id), text=about.title)


@pages.post("/topics/<page_id:topic_id>/delete")
def delete_topic(topic_id: int) -> Response:
    form = Form.sent()
    act(port().delete_topic, topic_id, form.key)
    flash("The topic is deleted.")
    return go(url_for("pages.index"))
