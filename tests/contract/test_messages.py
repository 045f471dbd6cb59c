"""/api/messages."""

from __future__ import annotations

from collections.abc import Callable

from tests.contract.client import Account, Client, created, ok, status

FIELDS = {"id", "topic_id", "author", "reply_to", "quote", "body", "created_at", "updated_at"}


def test_a_posted_message_is_there_for_everybody(author: Account, anybody: Client) -> None:
    topic = author.topic()
    text = " <b>Bold</b> & 🦜\n\ttabs, 'quotes' and \\u0000 in words; ends with a space "
    answer = author.post("/api/messages", {"topic_id": topic["id"], "body": text})
    message = created(answer)
    assert message.keys() == FIELDS
    assert (message["body"], message["topic_id"], message["reply_to"]) == (text, topic["id"], None)
    assert message["author"] == {"id": author.id, "username": author.username, "display_name": author.username}
    assert answer.headers["Location"].endswith(f"/api/messages/{message['id']}")
    assert ok(anybody.get(f"/api/messages/{message['id']}")) == message
    assert ok(anybody.get("/api/messages", params={"topic_id": topic["id"]})) == {"items": [message], "next": None}


def test_a_reply_is_to_a_message_of_the_same_topic(author: Account, other: Account) -> None:
    here, elsewhere = author.topic(), author.topic()
    first = author.message(here["id"])
    assert other.message(here["id"], "Yes", reply_to=first["id"])["reply_to"] == first["id"]
    for reply_to in (author.message(elsewhere["id"])["id"], 2**62, 2**80):
        answer = other.post("/api/messages", {"topic_id": here["id"], "body": "x", "reply_to": reply_to})
        assert status(answer) == 422
        assert answer.json()["errors"][0]["field"] == "reply_to"


def test_a_reply_quotes_what_it_answers(author: Account, other: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    first = author.message(topic, "x" * 1000)
    reply = other.message(topic, "Yes", reply_to=first["id"])
    assert reply["quote"]["author"] == first["author"]
    assert reply["quote"]["excerpt"] == "x" * 240
    assert first["quote"] is None
    path = f"/api/messages/{reply['id']}"
    assert ok(anybody.get(path)) == reply
    assert ok(anybody.get("/api/messages", params={"topic_id": topic}))["items"] == [first, reply]
    assert ok(other.patch(path, {"body": "No"}))["quote"] == reply["quote"]
    ok(author.patch(f"/api/messages/{first['id']}", {"body": "Changed"}))
    assert ok(anybody.get(path))["quote"]["excerpt"] == "Changed"


def test_a_deleted_message_leaves_its_replies(author: Account, anybody: Client) -> None:
    topic = author.topic()
    first = author.message(topic["id"])
    reply = author.message(topic["id"], "Yes", reply_to=first["id"])
    assert status(author.delete(f"/api/messages/{first['id']}")) == 204
    left = ok(anybody.get(f"/api/messages/{reply['id']}"))
    assert (left["reply_to"], left["quote"]) == (None, None)


def test_a_message_needs_a_topic_that_is_there(author: Account) -> None:
    gone = author.topic()["id"]
    assert status(author.delete(f"/api/topics/{gone}")) == 204
    for topic_id in (gone, 2**62, 2**63, 2**80):
        assert status(author.post("/api/messages", {"topic_id": topic_id, "body": "x"})) == 404


def test_a_topic_that_is_not_there_has_no_messages(anybody: Client) -> None:
    for topic_id in (2**62, 2**80):
        assert ok(anybody.get("/api/messages", params={"topic_id": topic_id})) == {"items": [], "next": None}


def test_only_the_author_edits(author: Account, other: Account, moderator: Account, anybody: Client) -> None:
    message = author.message(author.topic()["id"])
    path = f"/api/messages/{message['id']}"
    changed = ok(author.patch(path, {"body": "Better"}))
    assert changed["body"] == "Better"
    assert changed["updated_at"] > message["updated_at"]
    assert changed["created_at"] == message["created_at"]
    for somebody in (other, moderator):
        assert status(somebody.patch(path, {"body": "Mine"})) == 403
    assert ok(anybody.get(path)) == changed


def test_the_author_and_moderators_delete(author: Account, other: Account, moderator: Account, anybody: Client) -> None:
    topic = author.topic()
    for by in (author, moderator):
        path = f"/api/messages/{author.message(topic['id'])['id']}"
        assert status(other.delete(path)) == 403
        assert status(by.delete(path)) == 204
        assert status(anybody.get(path)) == 404
        assert status(by.delete(path)) == 404
        assert status(author.patch(path, {"body": "x"})) == 404


def test_who_was_deleted_cannot_be_made_to_fail_the_server(new_account: Callable[[], Account], author: Account) -> None:
    """The access token outlives the account: where accounts can be looked up it is refused, elsewhere it may serve."""
    somebody = new_account()
    topic = author.topic()
    assert status(somebody.delete(f"/api/users/{somebody.id}")) == 204
    assert status(somebody.post("/api/topics", {"title": "Ghost"})) in (201, 401)
    assert status(somebody.post("/api/messages", {"topic_id": topic["id"], "body": "Boo"})) in (201, 401)
