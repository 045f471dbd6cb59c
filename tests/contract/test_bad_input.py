"""Whatever is sent, the answer is a 4xx that says what is wrong. (`Client` fails on any 5xx.)"""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.client import Account, Client, ok, registration, status

NUL, SURROGATE = "a\0b", "a\ud800b"
GOOD: dict[str, dict[str, Any]] = {
    "/api/users": registration(),
    "/api/sessions": {"username": "somebody", "password": "some password"},
    "/api/sessions/refresh": {"refresh_token": "x"},
    "/api/topics": {"title": "x"},
    "/api/messages": {"topic_id": 2**62, "body": "x"},
}
PATHS = list(GOOD)


def _post(account: Account, path: str, data: bytes, content_type: str | None = "application/json") -> int:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return status(account.request("POST", path, data=data, headers=headers))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"nul", b"{'a': 1}", b'{"a": "\xff"}', b"[" * 60_000, b'{"a": ' + b"1" * 5000 + b"}", b"\xff\xfe{"],
)
def test_malformed_json_is_400(author: Account, path: str, data: bytes) -> None:
    assert _post(author, path, data) == 400


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("data", [b"null", b"[]", b"1", b'"x"', b"NaN", b"true", b"{}"])
def test_json_that_is_no_such_object_is_422(author: Account, path: str, data: bytes) -> None:
    assert _post(author, path, data) == 422


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "x"])
def test_another_content_type_is_415(author: Account, path: str, content_type: str | None) -> None:
    assert _post(author, path, json.dumps(GOOD[path]).encode(), content_type) == 415


@pytest.mark.parametrize(("path", "field"), [(path, field) for path in PATHS for field in GOOD[path]])
def test_a_field_of_the_wrong_type_is_422_and_named(author: Account, path: str, field: str) -> None:
    wrongs: list[Any] = [None, True, 1.5, [], {}, 1 if isinstance(GOOD[path][field], str) else "1"]
    for wrong in wrongs:
        answer = author.post(path, {**GOOD[path], field: wrong})
        assert status(answer) == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert "some password" not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_field_is_422(author: Account, path: str) -> None:
    for field in ("role", "id", "author_id", "ü", NUL, SURROGATE, ""):
        assert status(author.post(path, {**GOOD[path], field: "moderator"})) == 422


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for path in PATHS for field, value in GOOD[path].items() if isinstance(value, str)]
    + [("/api/users", "bio"), ("/api/users", "display_name")],
)
def test_text_that_the_database_cannot_keep_is_422(author: Account, path: str, field: str) -> None:
    for text in (NUL, SURROGATE, "\0" * 12, "\udfff\ud800" * 6):
        assert status(author.post(path, {**GOOD[path], field: text})) == 422


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("/api/users", "username", ["", "ab", "x" * 33, "with space", "semi;colon", "ümlaut", "end\n", "٣٣٣"]),
        ("/api/users", "email", ["", "x", "@", "a@b", "a b@example.org", "a@example.org\n", f"{'x' * 250}@a.bc"]),
        ("/api/users", "password", ["", "x" * 9, "x" * 201]),
        ("/api/users", "display_name", ["", " ", "x" * 101]),
        ("/api/users", "bio", ["x" * 2001]),
        ("/api/topics", "title", ["", " \t\n", "x" * 201]),
        ("/api/messages", "body", ["", " \n ", "x" * 20_001]),
        ("/api/messages", "topic_id", [0, -1]),
        ("/api/messages", "reply_to", [0, -1, "1", True]),
    ],
)  # fmt: skip
def test_limits_are_kept(author: Account, path: str, field: str, values: list[Any]) -> None:
    topic = author.topic()["id"] if path == "/api/messages" and field != "topic_id" else None
    good = {**GOOD[path], **({"topic_id": topic} if topic else {}), **({} if path != "/api/users" else registration())}
    for value in values:
        answer = author.post(path, {**good, field: value})
        assert status(answer) == 422, f"{value!r} was taken"
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_longest_of_everything_is_taken(author: Account, anybody: Client) -> None:
    # Four bytes of UTF-8 a character, and twelve of JSON: what is allowed must also fit in a request.
    title, body, bio = "🦉" * 200, "x" * 20_000, "é" * 2000
    assert ok(anybody.get(f"/api/topics/{author.topic(title)['id']}"))["title"] == title
    topic = author.topic()["id"]
    assert author.message(topic, body)["body"] == body
    new = registration(bio=bio, display_name="n" * 100, password="🔑" * 200)
    assert status(anybody.post("/api/users", new)) == 201
    assert status(anybody.post("/api/sessions", {name: new[name] for name in ("username", "password")})) == 201


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [256 * 1024 + 1, 1024 * 1024])
def test_an_oversized_body_is_413(author: Account, path: str, size: int) -> None:
    assert _post(author, path, b'{"title": "' + b"x" * (size - 13) + b'"}') == 413


def test_a_body_of_unknown_length_is_bounded_too(author: Account) -> None:
    chunks = (b"x" * 1024 for _ in range(257))
    answer = author.request("POST", "/api/topics", data=chunks, headers={"Content-Type": "application/json"})
    assert status(answer) == 413


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("collection", ["users", "topics", "messages"])
@pytest.mark.parametrize(
    "id_", [2**62, 2**63 - 1, 2**63, 2**64, "9" * 400, "0", "-1", "007", "1.0", "x", "%00", "٣", "1%0A"]
)
def test_an_id_that_cannot_be_is_404(moderator: Account, method: str, collection: str, id_: Any) -> None:
    body = {"users": {"bio": "x"}, "topics": {"title": "x"}, "messages": {"body": "x"}}[collection]
    answer = moderator.request(method, f"/api/{collection}/{id_}", json=body if method == "PATCH" else None)
    assert status(answer) == 404


@pytest.mark.parametrize(
    "topic", ["", "topic_id=", "topic_id=x", "topic_id=0", "topic_id=-1", "topic_id=%00", "topic_id=1.5"]
)
def test_a_list_of_messages_says_of_which_topic(anybody: Client, topic: str) -> None:
    assert status(anybody.get(f"/api/messages?{topic}")) == 422


def test_a_method_that_is_not_there_is_405_with_those_that_are(author: Account) -> None:
    answer = author.request("PUT", "/api/topics", json={"title": "x"})
    assert status(answer) == 405
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["Allow"].split(",")}


@pytest.mark.parametrize("path", ["/api/users/", "/api/topics/1/x", "/api/users/me/x", "/api/topics/%2e%2e/x"])
def test_a_path_that_is_not_there_is_404(anybody: Client, path: str) -> None:
    assert status(anybody.get(path)) == 404


def test_a_request_that_breaks_off_harms_nobody(author: Account) -> None:
    place = urlsplit(author.url)
    head = (
        f"POST /api/topics HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {author.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection((str(place.hostname), place.port or 80), 5) as connection:
        connection.sendall(head.encode() + b'{"title": "Brok')
    assert status(author.get("/api/topics")) == 200
