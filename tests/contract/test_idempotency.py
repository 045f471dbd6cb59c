"""Idempotency-Key: what is sent again is answered again and not done again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.contract.client import Account, Client, created, key, ok, registration, status

REPLAYED = "Idempotency-Replayed"


def _same(first: requests.Response, again: requests.Response) -> None:
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert again.status_code == first.status_code
    assert again.headers.get("Location") == first.headers.get("Location")
    assert again.headers.get("Content-Type") == first.headers.get("Content-Type")
    assert (again.json() if again.content else None) == (first.json() if first.content else None)


def test_every_write_is_done_once(author: Account, moderator: Account, new_account: Callable[[], Account]) -> None:
    somebody = new_account()
    topic = author.topic()["id"]
    message = author.message(topic)["id"]
    writes: list[tuple[Account, str, str, Any]] = [
        (author, "POST", "/api/topics", {"title": "Once"}),
        (author, "PATCH", f"/api/topics/{topic}", {"title": "Renamed"}),
        (author, "POST", "/api/messages", {"topic_id": topic, "body": "Once"}),
        (author, "PATCH", f"/api/messages/{message}", {"body": "Edited"}),
        (author, "DELETE", f"/api/messages/{message}", None),
        (moderator, "DELETE", f"/api/topics/{topic}", None),
        (somebody, "PATCH", f"/api/users/{somebody.id}", {"bio": "Once"}),
        (somebody, "DELETE", f"/api/users/{somebody.id}", None),
    ]
    for who, method, path, body in writes:
        headers = key()
        first, again = (who.request(method, path, json=body, headers=headers) for _ in range(2))
        assert first.ok, first.text
        _same(first, again)


def test_a_registration_is_done_once(anybody: Client) -> None:
    new, headers = registration(), key()
    first, again = (anybody.post("/api/users", new, headers=headers) for _ in range(2))
    assert status(first) == 201
    _same(first, again)
    assert status(anybody.post("/api/users", new)) == 409


def test_one_key_is_for_one_request(author: Account, other: Account) -> None:
    topic = author.topic()["id"]
    headers = key()
    created(author.post("/api/topics", {"title": "One"}, headers=headers))
    assert status(author.post("/api/topics", {"title": "Two"}, headers=headers)) == 422
    assert status(author.patch(f"/api/topics/{topic}", {"title": "One"}, headers=headers)) == 422
    # Another user's key, and another module's, are other keys.
    assert REPLAYED not in other.post("/api/topics", {"title": "One"}, headers=headers).headers
    assert status(author.post("/api/messages", {"topic_id": topic, "body": "One"}, headers=headers)) == 201


def test_what_was_refused_may_be_tried_again_with_its_key(author: Account, moderator: Account) -> None:
    topic = author.topic()["id"]
    assert status(moderator.patch(f"/api/topics/{topic}", {"locked": True})) == 200
    headers, message = key(), {"topic_id": topic, "body": "At last"}
    for _ in range(2):
        assert status(author.post("/api/messages", message, headers=headers)) == 409
    assert status(moderator.patch(f"/api/topics/{topic}", {"locked": False})) == 200
    first = author.post("/api/messages", message, headers=headers)
    assert status(first) == 201
    # And what was posted stays posted, though by now it would be refused.
    assert status(moderator.patch(f"/api/topics/{topic}", {"locked": True})) == 200
    _same(first, author.post("/api/messages", message, headers=headers))
    assert status(moderator.delete(f"/api/topics/{topic}")) == 204
    _same(first, author.post("/api/messages", message, headers=headers))


def test_duplicates_at_the_same_time_are_done_once(author: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    for _ in range(5):
        headers = key()

        def post(_: int, headers: dict[str, str] = headers) -> requests.Response:
            client = Client(author.url, author.token)
            return client.post("/api/messages", {"topic_id": topic, "body": "Impatient"}, headers=headers)

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(post, range(6)))
        assert [status(answer) for answer in answers] == [201] * 6
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert len(ok(anybody.get("/api/messages", params={"topic_id": topic}))["items"]) == 5


@pytest.mark.parametrize("value", ["", "x" * 201, "tab\there", "ümläut"])
def test_a_key_is_printable_ascii_of_bounded_length(author: Account, value: str) -> None:
    headers: Any = {"Idempotency-Key": value.encode("latin-1")}
    assert status(author.post("/api/topics", {"title": "x"}, headers=headers)) == 400


def test_the_longest_key_serves(author: Account) -> None:
    headers = {"Idempotency-Key": (key()["Idempotency-Key"] + "~!\"#$%&'()*+, " * 20)[:199] + "x"}
    first, again = (author.post("/api/topics", {"title": "x"}, headers=headers) for _ in range(2))
    _same(first, again)


def test_a_key_does_not_open_what_a_token_must(author: Account, anybody: Client) -> None:
    headers = key()
    created(author.post("/api/topics", {"title": "x"}, headers=headers))
    assert status(anybody.post("/api/topics", {"title": "x"}, headers=headers)) == 401
