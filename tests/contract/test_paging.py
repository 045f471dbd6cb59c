"""Lists: complete, nothing twice, and steady while others write."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.contract.client import Account, Client, ok, status


def test_messages_come_oldest_first_each_once(author: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    posted = [author.message(topic, f"{number}") for number in range(7)]
    for limit in (1, 3, 7, 100):
        assert anybody.all_pages("/api/messages", topic_id=topic, limit=limit) == posted
    assert ok(anybody.get("/api/messages", params={"topic_id": topic, "limit": 7}))["next"] is None


def test_messages_posted_and_deleted_meanwhile_shift_nothing(author: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    posted = [author.message(topic, f"{number}")["id"] for number in range(6)]
    first = ok(anybody.get("/api/messages", params={"topic_id": topic, "limit": 3}))
    author.delete(f"/api/messages/{posted[0]}")
    author.delete(f"/api/messages/{posted[2]}")  # the one that the cursor stands at
    posted.append(author.message(topic, "later")["id"])
    rest = ok(anybody.get("/api/messages", params={"topic_id": topic, "limit": 100, "cursor": first["next"]}))
    assert [item["id"] for page in (first, rest) for item in page["items"]] == posted
    assert rest["next"] is None


@pytest.mark.parametrize("sort", ["newest", "activity"])
def test_topics_come_latest_first_each_once_while_new_ones_are_opened(
    author: Account, anybody: Client, sort: str
) -> None:
    mine = [author.topic(f"{number}")["id"] for number in range(6)]
    late: list[int] = []
    found: list[dict[str, Any]] = []
    cursor = None
    while not set(mine) <= {topic["id"] for topic in found}:
        page = ok(anybody.get("/api/topics", params={"sort": sort, "limit": 2, "cursor": cursor}))
        assert page["next"], f"{set(mine) - {topic['id'] for topic in found}} never came"
        found += page["items"]
        cursor = page["next"]
        if not found[-1]["pinned"]:  # one that is opened before comes behind those, so it is rightly found
            late.append(author.topic("late")["id"])
    key = (
        (lambda topic: topic["id"])
        if sort == "newest"
        else (lambda topic: (topic["pinned"], topic["last_activity_at"], topic["id"]))
    )
    assert found == sorted(found, key=key, reverse=True)
    ids = [topic["id"] for topic in found]
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(late)


@pytest.mark.parametrize("sort", ["newest", "activity"])
def test_pages_to_the_last_one_are_every_topic_once(author: Account, anybody: Client, sort: str) -> None:
    mine = {author.topic()["id"] for _ in range(3)}
    ids = [topic["id"] for topic in anybody.all_pages("/api/topics", sort=sort, limit=100)]
    assert len(ids) == len(set(ids))
    assert mine <= set(ids)


def test_a_page_has_twenty_items_unless_asked_otherwise(author: Account, anybody: Client) -> None:
    for _ in range(21):
        author.topic()
    assert len(ok(anybody.get("/api/topics"))["items"]) == 20
    newest = ok(anybody.get("/api/topics", params={"sort": "newest"}))["items"]
    assert len(newest) == 20


@pytest.mark.parametrize("limit", ["0", "-1", "101", "x", "1.5", "", "9" * 3000])
@pytest.mark.parametrize("path", ["/api/topics?", "/api/messages?topic_id=1&"])
def test_a_page_has_one_to_a_hundred_items(anybody: Client, path: str, limit: str) -> None:
    assert status(anybody.get(f"{path}limit={limit}")) == 422


def test_the_last_page_is_the_end_of_a_topic_in_the_same_order(author: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    ids = [author.message(topic, f"{number}")["id"] for number in range(5)]

    def last(**more: Any) -> Any:
        return ok(anybody.get("/api/messages", params={"topic_id": topic, "last": "true", **more}))

    assert [each["id"] for each in last(limit=2)["items"]] == ids[-2:]
    assert last(limit=2)["next"] is None
    assert [each["id"] for each in last()["items"]] == ids
    first = ok(anybody.get("/api/messages", params={"topic_id": topic, "limit": 1}))
    assert [each["id"] for each in last(limit=2, cursor=first["next"])["items"]] == ids[1:3], "a cursor goes first"
    assert last(topic_id=2**62) == last(topic_id=2**80) == {"items": [], "next": None}
    assert status(anybody.get("/api/messages", params={"topic_id": topic, "last": "perhaps"})) == 422


def _cursor(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "ü", "%00", "a" * 201, "=" * 9, _cursor(None), _cursor({}), _cursor([]), _cursor(["newest"]),
        _cursor(["newest", "1"]), _cursor(["newest", 2**63]), _cursor(["newest", -1]), _cursor(["newest", True]),
        _cursor(["newest", 1.5]), _cursor(["newest", 1, 2]), _cursor(["oldest", 1]),
        _cursor(["activity", "2020-01-01T00:00:00+00:00", 1]),
    ],
)  # fmt: skip
def test_a_cursor_that_is_not_ours_is_refused(anybody: Client, cursor: str) -> None:
    assert status(anybody.get(f"/api/topics?sort=newest&cursor={cursor}")) == 422


@pytest.mark.parametrize(
    "place",
    [
        [0, "2020-01-01", True], [0, "yesterday", 1], [0, None, 1], ["2020-01-01T00:00:00+00:00", 1],
        [0, "2020-01-01", 2**63], [0, "0001-01-01T00:00:00+14:00", 1], [0, "9999-12-31T23:59:59-14:00", 1],
        [0, 1e300, 1], [1, 2, 3, 4],
    ],
)  # fmt: skip
def test_a_cursor_to_a_time_that_cannot_be_is_refused(anybody: Client, place: list[Any]) -> None:
    assert status(anybody.get("/api/topics", params={"cursor": _cursor(["activity", *place])})) == 422


def test_a_cursor_belongs_to_its_order(author: Account, anybody: Client) -> None:
    author.topic()
    author.topic()
    cursor = ok(anybody.get("/api/topics", params={"sort": "newest", "limit": 1}))["next"]
    assert status(anybody.get("/api/topics", params={"sort": "activity", "cursor": cursor})) == 422
    assert status(anybody.get("/api/topics", params={"sort": "oldest"})) == 422
