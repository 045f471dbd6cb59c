"""A 304 spares the view, says what the view would have said, and is never given for what has changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from werkzeug.test import TestResponse

from forum.database import Reading
from forum.not_modified import NotModified
from forum.viewcounts import SHOWN_SECONDS, ViewCounts
from strangler.flask import Strangler
from strangler.forward import HEADER as FORWARDED
from tests.servers import wait_for

PATHS = ["/api/topics/{}", "/api/topics?sort=newest", "/api/messages?topic_id={}"]


class Asking:
    """A client that has an answer, asks again with its ETag, and is told whether the view was spared."""

    def __init__(self, client: FlaskClient, path: str) -> None:
        self._client, self.path, self.spared = client, path, False

    def again(self, tag: str, path: str = "", **more: Any) -> TestResponse:
        headers = {"If-None-Match": tag, **more.pop("headers", {})}
        return self._client.open(path or self.path, headers=headers, buffered=True, **more)

    def tag(self) -> str:
        return self._client.get(self.path).headers["ETag"]

    def is_spared(self, path: str = "", **more: Any) -> bool:
        self.again(self.tag(), path, **more)
        return self.spared

    def wait_until_spared(self, path: str = "", **more: Any) -> None:
        wait_for(lambda: self.is_spared(path, **more), "a moment in which no period ends and nobody commits")


@pytest.fixture
def topic(client: FlaskClient, authorization: dict[str, str]) -> int:
    made: Any = client.post("/api/topics", json={"title": "Before"}, headers=authorization).json
    client.post("/api/messages", json={"topic_id": made["id"], "body": "Said before"}, headers=authorization)
    return int(made["id"])


@pytest.fixture
def asking(client: FlaskClient, topic: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Asking]:
    def of(path: str) -> Asking:
        one, still = Asking(client, path.format(topic)), NotModified.still

        def noting(known: NotModified, *asked: Any) -> Iterable[bytes] | None:
            answer = still(known, *asked)
            one.spared = answer is not None
            return answer

        monkeypatch.setattr(NotModified, "still", noting)
        return one

    return of


@pytest.fixture
def views_of(app: Flask) -> Iterator[Callable[[], None]]:
    """Without what is tested here: every request goes to its view."""
    resources = app.extensions["forum"]

    def turn_off() -> None:
        app.extensions["forum"] = dataclasses.replace(resources, not_modified=None)

    yield turn_off
    app.extensions["forum"] = resources


@pytest.mark.parametrize("path", PATHS)
def test_the_answer_is_the_views(asking: Callable[[str], Asking], path: str, views_of: Callable[[], None]) -> None:
    one = asking(path)

    def not_modified(spared: bool) -> TestResponse:
        found: list[TestResponse] = []

        def is_it() -> bool:
            found.append(one.again(one.tag()))
            return found[-1].status_code == 304 and one.spared == spared

        wait_for(is_it, "a 304")
        return found[-1]

    known = not_modified(spared=True)
    one.spared = False
    views_of()
    by_view = not_modified(spared=False)
    assert known.data == by_view.data == b""
    assert _headers(known) == _headers(by_view)


@pytest.mark.parametrize("path", PATHS)
def test_who_has_what_anybody_changed_is_told(
    asking: Callable[[str], Asking], topic: int, path: str, environment: dict[str, str]
) -> None:
    one = asking(path)
    one.wait_until_spared()
    for number in range(5):
        tag = one.tag()
        _write(environment, topic, f"Written {number}")
        answer = one.again(tag)
        assert answer.status_code == 200
        assert f"Written {number}" in answer.text


def test_that_is_because_of_the_look(
    asking: Callable[[str], Asking], topic: int, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    looked = Reading.looked
    monkeypatch.setattr(Reading, "looked", lambda self, _: looked(self, "the same"))
    one = asking("/api/messages?topic_id={}")
    tag = one.tag()
    _write(environment, topic, "Written")
    assert one.again(tag).status_code == 304


def test_what_is_shown_for_some_time_only_is_asked_for_again(
    asking: Callable[[str], Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views and names come from elsewhere."""
    one, now = asking("/api/topics/{}"), time.time
    one.wait_until_spared()
    tag = one.tag()
    monkeypatch.setattr(time, "time", lambda: now() + SHOWN_SECONDS)
    assert one.again(tag).status_code == 200


def test_who_does_not_own_the_module_does_not_say_so(
    asking: Callable[[str], Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = asking("/api/messages?topic_id={}")
    one.wait_until_spared()
    owned = Strangler.owned
    monkeypatch.setattr(Strangler, "owned", lambda kit, session: owned(kit, session) - {"messages"})
    for _ in range(20):
        assert not one.is_spared()


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "HEAD"},
        {"headers": {"Authorization": "Bearer anything"}},
        {"headers": {FORWARDED: "anything"}},
        {"data": b"{}"},
        {"path": "/api/topics/0"},
        {"path": "/api/topics/99999999999999999999"},
        {"path": "/api/topics/1?readers=none"},
        {"path": "/api/nothing"},
        {"path": "/"},
    ],
)
def test_everything_else_goes_to_its_view(asking: Callable[[str], Asking], request_: dict[str, Any]) -> None:
    one = asking("/api/topics/{}")
    one.wait_until_spared()
    for _ in range(20):
        assert not one.is_spared(**request_)


def test_another_etag_goes_to_the_view(asking: Callable[[str], Asking]) -> None:
    one = asking("/api/topics/{}")
    one.wait_until_spared()
    assert one.again('W/"another"').status_code == 200
    assert not one.spared


def test_a_topic_that_has_not_changed_has_been_opened_all_the_same(
    asking: Callable[[str], Asking], topic: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = asking("/api/topics/{}")
    counted: list[tuple[int, int]] = []
    one.wait_until_spared()
    monkeypatch.setattr(ViewCounts, "add", lambda _, topic_id, readers=1: counted.append((topic_id, readers)))

    def spared_counts(query: str) -> list[tuple[int, int]]:
        def is_spared() -> bool:
            tag = one.tag()
            counted.clear()
            one.again(tag, f"{one.path}?{query}")
            return one.spared

        wait_for(is_spared, "a 304")
        return counted

    assert spared_counts("") == [(topic, 1)]
    assert spared_counts("readers=3") == [(topic, 3)]
    assert spared_counts("readers=3&readers=5") == [(topic, 3)]
    assert spared_counts("peek=1") == []


def test_it_is_measured_like_any_other(asking: Callable[[str], Asking]) -> None:
    one = asking("/api/messages?topic_id={}")
    forum = {"site": "monolith", "method": "GET", "endpoint": "/api/messages", "status": "304"}
    kit = {"site": "monolith", "module": "messages", "status": "304"}

    def counts() -> tuple[float, float]:
        values = REGISTRY.get_sample_value
        return (
            values("forum_http_requests_total", forum) or 0,
            values("strangler_request_seconds_count", kit) or 0,
        )

    one.wait_until_spared()
    before = counts()
    one.wait_until_spared()
    assert all(after > earlier for earlier, after in zip(before, counts(), strict=True))


def _headers(answer: TestResponse) -> dict[str, str]:
    """Without the Date, which the server writes, and with any ETag: somebody may have committed in between."""
    return {name: value for name, value in answer.headers if name != "Date"} | {"ETag": answer.headers["ETag"][:3]}


def _write(environment: dict[str, str], topic: int, what: str) -> None:
    """By somebody whom no application knows of."""
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE topics SET title = %s WHERE id = %s", (what, topic))
        connection.execute("UPDATE messages SET body = %s WHERE topic_id = %s", (what, topic))
