"""/api/topics."""

from __future__ import annotations

from tests.contract.client import Account, Client, created, ok, status
from tests.servers import wait_for

FIELDS = {
    "id", "title", "locked", "author", "message_count", "last_activity_at", "created_at", "updated_at", "views",
    "pinned", "read",
}  # fmt: skip


def test_a_new_topic_is_there_for_everybody(author: Account, anybody: Client) -> None:
    answer = author.post("/api/topics", {"title": "Où est le 🐈?"})
    topic = created(answer)
    assert topic.keys() == FIELDS
    assert (topic["title"], topic["locked"], topic["pinned"], topic["message_count"]) == (
        "Où est le 🐈?",
        False,
        False,
        0,
    )
    assert topic["author"] == {"id": author.id, "username": author.username, "display_name": author.username}
    assert answer.headers["Location"].endswith(f"/api/topics/{topic['id']}")
    found = ok(anybody.get(f"/api/topics/{topic['id']}"))
    assert {**found, "views": None} == {**topic, "views": None}


def test_each_reader_counts_as_a_view_and_a_peek_does_not(author: Account, anybody: Client) -> None:
    topic_id = author.topic()["id"]
    path = f"/api/topics/{topic_id}"

    def peeked() -> int:
        views: int = ok(anybody.get(path, params={"peek": 1}))["views"]
        return views

    def listed() -> int:
        items = ok(anybody.get("/api/topics", params={"sort": "newest", "limit": 100}))["items"]
        return int(next(topic["views"] for topic in items if topic["id"] == topic_id))

    for _ in range(2):
        anybody.get(path)
        anybody.request("HEAD", path)
    anybody.get(path, params={"readers": 3})
    # Numbers may be some seconds old.
    wait_for(lambda: peeked() == 5, "the views")
    wait_for(lambda: listed() == 5, "the views in the list")
    assert peeked() <= 5, "who peeks is not counted"


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


def test_a_moderator_pins_a_topic_before_the_active_ones(author: Account, moderator: Account, anybody: Client) -> None:
    path = f"/api/topics/{author.topic()['id']}"
    author.topic("Later, but not pinned")
    assert status(author.patch(path, {"pinned": True})) == 403
    pinned = ok(moderator.patch(path, {"pinned": True}))
    try:
        assert pinned["pinned"] is True
        first = ok(anybody.get("/api/topics", params={"limit": 1}))
        assert first["items"][0]["pinned"] is True
        everything = anybody.all_pages("/api/topics", limit=7)
        order = [(topic["pinned"], topic["last_activity_at"], topic["id"]) for topic in everything]
        assert order == sorted(order, reverse=True)
        assert [topic["id"] for topic in everything].count(pinned["id"]) == 1
    finally:
        assert ok(moderator.patch(path, {"pinned": False}))["pinned"] is False
    assert ok(anybody.get("/api/topics", params={"limit": 1}))["items"][0]["id"] != pinned["id"]


def test_the_most_viewed_come_first(author: Account, anybody: Client) -> None:
    rare, often = author.topic()["id"], author.topic()["id"]
    top = ok(anybody.get("/api/topics", params={"sort": "views", "limit": 1}))["items"]
    for _ in range((top[0]["views"] if top else 0) + 1):
        anybody.get(f"/api/topics/{often}")
    anybody.get(f"/api/topics/{rare}")

    def counted() -> bool:
        everything = anybody.all_pages("/api/topics", sort="views", limit=100)
        views = [topic["views"] for topic in everything]
        assert views == sorted(views, reverse=True)
        return everything[0]["id"] == often and rare in [topic["id"] for topic in everything]

    wait_for(counted, "the views")
    assert status(author.delete(f"/api/topics/{often}")) == 204
    after = ok(anybody.get("/api/topics", params={"sort": "views", "limit": 1}))
    assert after["items"][0]["id"] != often


def test_topics_by_ids_are_those_that_exist_in_that_order(author: Account, anybody: Client) -> None:
    first, second = author.topic("first")["id"], author.topic("second")["id"]
    found = ok(anybody.get("/api/topics", params={"ids": f"{second},{first},{2**62},{2**70},{second}"}))
    assert [topic["title"] for topic in found["items"]] == ["second", "first"]
    assert found["next"] is None
    for ids in ("x", "0", ",".join("1" * 201)):
        assert status(anybody.get("/api/topics", params={"ids": ids})) == 422


def test_how_far_somebody_has_read_is_theirs_and_never_goes_back(
    author: Account, other: Account, anybody: Client
) -> None:
    topic = author.topic()["id"]
    path = f"/api/topics/{topic}"
    assert ok(author.get(path))["read"] is None
    messages = [author.message(topic) for _ in range(2)]
    marks = [{"message_id": message["id"], "until": message["created_at"]} for message in messages]
    for mark, now in ((marks[0], marks[0]), (marks[1], marks[1]), (marks[0], marks[1])):
        assert status(author.request("PUT", f"{path}/read", json=mark)) == 204
        assert ok(author.get(path))["read"] == now
    listed = ok(author.get("/api/topics", params={"ids": topic}))["items"]
    assert listed[0]["read"] == marks[1]
    for somebody in (other, anybody):
        assert ok(somebody.get(path))["read"] is None
    assert status(anybody.request("PUT", f"{path}/read", json=marks[0])) == 401
    assert status(author.request("PUT", f"/api/topics/{2**62}/read", json=marks[0])) == 404


def test_all_topics_are_read_as_far_as_they_went_until_then(author: Account, other: Account, anybody: Client) -> None:
    before, opened = author.topic()["id"], author.topic()["id"]
    message = author.message(opened)
    mark = {"message_id": message["id"], "until": "9999-12-31T00:00:00Z"}
    assert status(author.request("PUT", f"/api/topics/{opened}/read", json=mark)) == 204
    furthest = ok(author.get(f"/api/topics/{opened}"))["read"]
    until = ok(author.get(f"/api/topics/{opened}"))["last_activity_at"]
    after = author.topic()["id"]
    for key in ("a", "a", "b"):
        headers = {"Idempotency-Key": f"{key}-{before}"}
        assert status(author.request("PUT", "/api/topics/read", json={"until": until}, headers=headers)) == 204
    assert ok(author.get(f"/api/topics/{before}"))["read"] == {"message_id": 0, "until": until}
    assert ok(author.get(f"/api/topics/{opened}"))["read"] == furthest, "never back"
    assert ok(author.get(f"/api/topics/{after}"))["read"] is None
    assert ok(other.get(f"/api/topics/{before}"))["read"] is None
    assert status(anybody.request("PUT", "/api/topics/read", json={"until": until})) == 401
    for wrong in ({}, {"until": "soon"}, {"until": None}, {"until": until, "topic_ids": [1]}):
        assert status(author.request("PUT", "/api/topics/read", json=wrong)) == 422


def test_nobody_has_read_the_future_or_nonsense(author: Account) -> None:
    path = f"/api/topics/{author.topic()['id']}"
    far = {"message_id": 1, "until": "9999-12-31T00:00:00Z"}
    assert status(author.request("PUT", f"{path}/read", json=far)) == 204
    assert ok(author.get(path))["read"]["until"] < "9000"
    for until in (None, 1, "1", "soon", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"):
        assert status(author.request("PUT", f"{path}/read", json={**far, "until": until})) == 422
    for message_id in (None, 0, 2**63, "1"):
        assert status(author.request("PUT", f"{path}/read", json={**far, "message_id": message_id})) == 422


def test_a_token_that_is_not_good_is_refused_where_guests_are_not(author: Account, anybody: Client) -> None:
    path = f"/api/topics/{author.topic()['id']}"
    for place in (path, "/api/topics"):
        assert status(anybody.get(place, headers={"Authorization": "Bearer nonsense"})) == 401


def test_the_author_and_moderators_delete(author: Account, other: Account, moderator: Account, anybody: Client) -> None:
    for by in (author, moderator):
        path = f"/api/topics/{author.topic()['id']}"
        assert status(other.delete(path)) == 403
        assert status(by.delete(path)) == 204
        for method in ("GET", "DELETE"):
            assert status(moderator.request(method, path)) == 404
        assert status(moderator.patch(path, {"title": "x"})) == 404
        assert status(anybody.get(path)) == 404
