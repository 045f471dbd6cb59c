"""/api/topics."""

from __future__ import annotations

from tests.contract.client import Account, Client, created, ok, status

FIELDS = {
    "id", "title", "locked", "author", "message_count", "last_activity_at", "created_at", "updated_at", "views",
}  # fmt: skip


def test_a_new_topic_is_there_for_everybody(author: Account, anybody: Client) -> None:
    answer = author.post("/api/topics", {"title": "Où est le 🐈?"})
    topic = created(answer)
    assert topic.keys() == FIELDS
    assert (topic["title"], topic["locked"], topic["message_count"]) == ("Où est le 🐈?", False, 0)
    assert topic["author"] == {"id": author.id, "username": author.username, "display_name": author.username}
    assert answer.headers["Location"].endswith(f"/api/topics/{topic['id']}")
    found = ok(anybody.get(f"/api/topics/{topic['id']}"))
    assert {**found, "views": None} == {**topic, "views": None}


def test_each_reader_counts_as_a_view_and_a_peek_does_not(author: Account, anybody: Client) -> None:
    path = f"/api/topics/{author.topic()['id']}"
    views = [ok(anybody.get(path))["views"] for _ in range(2)]
    assert views == [1, 2]
    assert ok(anybody.get(path, params={"peek": 1}))["views"] == 2
    anybody.request("HEAD", path)
    assert ok(anybody.get(path))["views"] == 3
    topic_id = int(path.rpartition("/")[2])
    listed = ok(anybody.get("/api/topics", params={"sort": "newest", "limit": 100}))["items"]
    assert next(topic["views"] for topic in listed if topic["id"] == topic_id) == 3


def test_the_author_and_moderators_edit_the_title(
    author: Account, other: Account, moderator: Account, anybody: Client
) -> None:
    topic = author.topic()
    path = f"/api/topics/{topic['id']}"
    changed = ok(author.patch(path, {"title": "Better"}))
    assert changed["title"] == "Better"
    assert changed["updated_at"] > topic["updated_at"]
    assert ok(moderator.patch(path, {"title": "Best"}))["title"] == "Best"
    assert status(other.patch(path, {"title": "Mine"})) == 403
    assert ok(author.patch(path, {}))["title"] == "Best"
    assert ok(anybody.get(path))["title"] == "Best"


def test_only_moderators_lock(author: Account, other: Account, moderator: Account) -> None:
    topic = author.topic()
    path = f"/api/topics/{topic['id']}"
    for somebody in (author, other):
        assert status(somebody.patch(path, {"locked": True})) == 403
    assert status(author.patch(path, {"title": "Sneaky", "locked": False})) == 403
    assert ok(moderator.patch(path, {"locked": True}))["locked"] is True
    assert status(author.post("/api/messages", {"topic_id": topic["id"], "body": "Hello?"})) == 409
    assert ok(moderator.patch(path, {"locked": False}))["title"] == topic["title"]
    author.message(topic["id"])


def test_the_author_and_moderators_delete(author: Account, other: Account, moderator: Account, anybody: Client) -> None:
    for by in (author, moderator):
        path = f"/api/topics/{author.topic()['id']}"
        assert status(other.delete(path)) == 403
        assert status(by.delete(path)) == 204
        for method in ("GET", "DELETE"):
            assert status(moderator.request(method, path)) == 404
        assert status(moderator.patch(path, {"title": "x"})) == 404
        assert status(anybody.get(path)) == 404
