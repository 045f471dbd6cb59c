"""A guest's page before Flask: what Flask would have said, only while it holds, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from forum.pages import fragments
from forum.pages.api import Reply, Request, Sent
from forum.pages.guests import Guests
from forum.pages.http import HttpPort
from forum.pages.port import Away, Module
from services.web.app import create_app

ROOT = Path(__file__).parents[2]
WHEN = "2026-01-01T00:00:00Z"
PATHS = ["/", "/?sort=newest", "/topics/7", "/topics/7?at=end"]


class Modules:
    """Answers what a port asks, with an ETag for each module, and 304 to who has it."""

    def __init__(self) -> None:
        self.title, self.said = "Before", "Said before"
        self.etags = {"topics": "t1", "messages": "m1"}
        self.away: set[str] = set()
        self.asked: list[str] = []

    def send(self, module: Module, request: Request) -> Sent:
        self.asked.append(request.target)

        def reply() -> Reply:
            if module in self.away:
                raise Away(module)
            headers = Headers({"ETag": self.etags[module], "X-Served-By": f"{module}/v1@{module}-1"})
            if request.headers.get("If-None-Match") == self.etags[module]:
                return Reply(304, headers, b"")
            return Reply(200, headers, json.dumps(self._content(request.target.partition("?")[0])).encode())

        return reply

    def _content(self, path: str) -> dict[str, Any]:
        topic = {
            "id": 7, "title": self.title, "author": None, "locked": False, "pinned": False, "created_at": WHEN,
            "updated_at": WHEN, "last_activity_at": WHEN, "message_count": 1, "views": 3, "read": None,
        }  # fmt: skip
        message = {
            "id": 1, "topic_id": 7, "author": None, "reply_to": None, "body": self.said, "created_at": WHEN,
            "updated_at": WHEN,
        }  # fmt: skip
        listed = {"items": [topic if path == "/api/topics" else message], "next": None}
        return topic if path == "/api/topics/7" else listed

    def change(self) -> None:
        self.title, self.said = "After", "Said after"
        self.etags = {"topics": "t2", "messages": "m2"}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    found = Modules()
    monkeypatch.setattr(HttpPort, "send", lambda _, module, request: found.send(module, request))
    return found


@pytest.fixture
def app(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> Flask:  # noqa: ARG001
    environment = {
        "REDIS_URL": "redis://127.0.0.1:9", "FORUM_API_URL": "http://127.0.0.1:9",
        "STRANGLER_SECRET": "a secret that only tests know", "SECRET_KEY": "another secret that only tests know",
        "STRANGLER_CONFIG": str(ROOT / "strangler.toml"), "INSTANCE": "web-1",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made: Flask = create_app()
    return made


@pytest.fixture
def flasks(app: Flask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was left to Flask."""
    left, guests = [], app.extensions["forum.guests"]
    flask: Callable[..., Iterable[bytes]] = guests._flask

    def noting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        left.append(environ["PATH_INFO"])
        return flask(environ, start_response)

    monkeypatch.setattr(guests, "_flask", noting)
    return left


class Reader(FlaskClient):
    """Reads each answer to its end, as servers do."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, buffered=True, **kwargs)


@pytest.fixture
def guest(app: Flask, flasks: list[str], monkeypatch: pytest.MonkeyPatch) -> FlaskClient:  # noqa: ARG001
    monkeypatch.setattr(app, "test_client_class", Reader)
    return app.test_client(use_cookies=False)


@pytest.mark.parametrize("path", PATHS)
def test_the_second_guest_is_answered_before_flask(
    guest: FlaskClient, modules: Modules, flasks: list[str], path: str
) -> None:
    first, asked = guest.get(path), modules.asked[:]
    modules.asked.clear()
    second = guest.get(path)
    assert len(flasks) == 1
    assert (second.status, second.data, second.headers) == (first.status, first.data, first.headers)
    assert modules.asked == asked, "what it shows was asked for all the same, and so a view counted"


@pytest.mark.parametrize("path", PATHS)
def test_a_change_is_shown_at_once(guest: FlaskClient, modules: Modules, flasks: list[str], path: str) -> None:
    guest.get(path)
    guest.get(path)
    modules.change()
    modules.asked.clear()
    page = guest.get(path).text
    assert "After" in page
    assert "Before" not in page
    assert "Said before" not in page
    assert len(modules.asked) == len({target.partition("?")[0] for target in modules.asked}), "each was asked once"
    assert guest.get(path).text == page
    assert len(flasks) == 2


def test_that_is_because_it_is_looked_at(
    guest: FlaskClient, modules: Modules, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    guests: Guests = app.extensions["forum.guests"]
    guest.get("/topics/7")
    modules.change()
    with monkeypatch.context() as patch:
        patch.setattr(guests, "_same", lambda environ: guests._pages.get(("", environ["PATH_INFO"], "")))
        assert "Before" in guest.get("/topics/7").text
    assert "After" in guest.get("/topics/7").text


@pytest.mark.parametrize("away", ["topics", "messages"])
def test_who_is_away_is_missed(guest: FlaskClient, modules: Modules, away: str) -> None:
    whole = guest.get("/topics/7")
    modules.away = {away}
    part = guest.get("/topics/7")
    assert part.status_code == 200
    assert ("Before" in part.text, "Said before" in part.text) == (away != "topics", away != "messages")
    modules.away = {"topics", "messages"}
    assert guest.get("/topics/7").status_code == 503
    modules.away = set()
    assert guest.get("/topics/7").data == whole.data


def test_only_a_guests_plain_read_is_answered_so(
    guest: FlaskClient, app: Flask, flasks: list[str], modules: Modules
) -> None:
    guest.get("/topics/7")
    somebodys: list[dict[str, Any]] = [
        {"headers": {"Cookie": "forum_strip=1"}},
        {"method": "HEAD"},
        {"method": "POST", "data": {"body": "x"}},
        {"data": b"a body"},
        {"query_string": {"reply_to": 1}},
        {"environ_overrides": {"SCRIPT_NAME": "/forum"}},
    ]
    for number, request in enumerate(somebodys, start=2):
        guest.open("/topics/7", **request)
        assert len(flasks) == number, request
    with app.test_client() as somebody:
        somebody.set_cookie("forum_strip", "1")
        assert "topics/v1@topics-1" in somebody.get("/topics/7").text
    assert "topics/v1@topics-1" not in guest.get("/topics/7").text
    modules.asked.clear()
    assert guest.get("/topics/8888").status_code == 200, "what the fake says is there"
    assert modules.asked


def test_what_somebody_is_given_is_nobody_elses(guest: FlaskClient, app: Flask, flasks: list[str]) -> None:
    @app.after_request
    def give(response: Response) -> Response:
        response.set_cookie("forum_session", f"number{len(flasks)}")
        return response

    assert [guest.get("/topics/7").headers["Set-Cookie"][:22] for _ in range(2)] == [
        "forum_session=number1;", "forum_session=number2;"
    ]  # fmt: skip


def test_it_is_made_anew_in_time(guest: FlaskClient, flasks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By then `5 min ago` is another."""
    now = 1000.0
    monkeypatch.setattr(fragments.time, "monotonic", lambda: now)
    guest.get("/")
    guest.get("/")
    assert len(flasks) == 1
    now += fragments.SECONDS
    guest.get("/")
    assert len(flasks) == 2


def test_it_is_counted_as_every_request(guest: FlaskClient, flasks: list[str]) -> None:
    labels = {"site": "web", "method": "GET", "endpoint": "/topics/<page_id:topic_id>"}
    names = {
        "forum_http_requests_total": {**labels, "status": "200"}, "forum_http_request_seconds_count": labels,
        "strangler_request_seconds_count": {"site": "web", "module": "", "status": "200"},
    }  # fmt: skip

    def counted() -> list[float]:
        return [REGISTRY.get_sample_value(name, labels) or 0 for name, labels in names.items()]

    before = counted()
    for _ in range(3):
        guest.get("/topics/7")
    assert len(flasks) == 1
    assert counted() == [count + 3 for count in before]


def test_what_is_traced_goes_all_its_way(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "forum.guests" in app.extensions
    monkeypatch.setattr("forum.tracing.on", lambda: True)
    monkeypatch.setattr("forum.tracing.init_app", lambda *_: None)
    assert "forum.guests" not in create_app().extensions
