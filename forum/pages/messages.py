"""Posting, editing and deleting messages. All addresses lie under the topic, so that the way back is known."""

from __future__ import annotations

from flask import Response, flash, request

from forum.pages.blueprint import pages
from forum.pages.forms import Form
from forum.pages.markdown import markdown
from forum.pages.port import PortError
from forum.pages.views import again, go, page, position, post_url, previews, to_login, topic_url
from forum.pages.visitor import act, ask, port, visitor
from forum.schemas import MessageChange, NewMessage


@pages.post("/preview")
def preview() -> Response:
    """What `body` will look like, as a piece of a page: for those who write with JavaScript."""
    form = Form.sent("body")
    if not visitor():
        return Response(status=401)
    try:
        return Response(markdown(form.read(MessageChange, body=form["body"]).body), mimetype="text/html")
    except PortError:  # nothing yet, or too much
        return Response("", mimetype="text/html")


@pages.post("/topics/<page_id:topic_id>/messages")
def post_message(topic_id: int) -> Response:
    form = Form.sent("body", "reply_to", "stays")
    if previews():
        action = post_url(topic_id)
        return page("write.html", form=form, topic_id=topic_id, action=action, stays=form["stays"], preview=True)
    reply_to = request.form.get("reply_to", type=int)
    try:
        new = form.read(NewMessage, topic_id=topic_id, body=form["body"], reply_to=reply_to)
        posted = act(port().post_message, new, form.key)
    except PortError as error:
        return again("write.html", form, error, topic_id=topic_id, action=post_url(topic_id), stays=form["stays"])
    where = position() if form["stays"] else {"from": str(posted.id)}
    return go(topic_url(topic_id, posted.id, where))


@pages.get("/topics/<page_id:topic_id>/messages/<page_id:message_id>/edit")
def edit_message(topic_id: int, message_id: int) -> Response:
    if not visitor():
        return to_login()
    message = ask(port().message, message_id)
    return page("edit_message.html", topic_id=topic_id, form=Form(body=message.body))


@pages.post("/topics/<page_id:topic_id>/messages/<page_id:message_id>/edit")
def change_message(topic_id: int, message_id: int) -> Response:
    form = Form.sent("body")
    if previews():
        return page("edit_message.html", form=form, topic_id=topic_id, preview=True)
    try:
        act(port().change_message, message_id, form.read(MessageChange, body=form["body"]), form.key)
    except PortError as error:
        return again("edit_message.html", form, error, topic_id=topic_id)
    return go(topic_url(topic_id, message_id, position()))


@pages.get("/topics/<page_id:topic_id>/messages/<page_id:message_id>/delete")
def ask_delete_message(topic_id: int, message_id: int) -> Response:
    if not visitor():
        return to_login()
    back, message = topic_url(topic_id, message_id, position()), ask(port().message, message_id)
    return page("delete.html", what="message", form=Form(), back=back, text=message.body, author=message.author)


@pages.post("/topics/<page_id:topic_id>/messages/<page_id:message_id>/delete")
def delete_message(topic_id: int, message_id: int) -> Response:
    form = Form.sent()
    act(port().delete_message, message_id, form.key)
    flash("The message is deleted.")
    return go(topic_url(topic_id, where=position()))
