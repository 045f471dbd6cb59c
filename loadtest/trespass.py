"""What must be refused, and whose content must never be seen."""

from __future__ import annotations

import secrets

from loadtest import invent
from loadtest.visitor import Visitor


def rewrite_another(me: Visitor) -> None:
    """Edit what someone else wrote."""
    other = me.scene.some_message()
    if other is None or me.account is None or other.author == me.account.id:
        return
    topic, message, _ = other
    write = me.scene.ledger.new_id()
    sent = {"body": invent.body(write)}
    me.write(
        write, "message", "edit", "PATCH /api/messages/{id}", f"/api/messages/{message}", sent, send=sent,
        expect=lambda: (403,) if me.scene.memory.alive("message", message) else (403, 404),
        resource=message, topic=topic, trespass=True,
    )  # fmt: skip
    me.look("message", message, at_once=True)


def post_where_nothing_is(me: Visitor) -> None:
    """Post to a topic that was deleted."""
    if me.scene.deleted_topics:
        topic = me.scene.deleted_topics[-1]
        write = me.scene.ledger.new_id()
        sent = {"topic_id": topic, "body": invent.body(write)}
        me.write(
            write, "message", "create", "POST /api/messages", "/api/messages", sent, send=sent, topic=topic,
            expect=(404,), trespass=True,
        )  # fmt: skip


def say_too_much(me: Visitor) -> None:
    """A title beyond the limit."""
    write = me.scene.ledger.new_id()
    sent = {"title": invent.title(write) + "!" * 200}
    me.write(
        write, "topic", "create", "POST /api/topics", "/api/topics", sent, send=sent, expect=(422,), trespass=True
    )  # fmt: skip


def register_a_taken_name(me: Visitor) -> None:
    if not me.account:
        return
    write = me.scene.ledger.new_id()
    sent = {"username": me.account.username, "display_name": "Not me", "bio": invent.bio(write)}
    me.write(
        write, "user", "create", "POST /api/users", "/api/users", sent,
        send=sent | {"email": f"{write}@example.org", "password": secrets.token_urlsafe(12)},
        expect=(409,), anonymous=True, trespass=True,
    )  # fmt: skip
