"""The port over HTTP: what a page asks is all on its way before any of it is waited for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import REGISTRY

from forum.pages.http import HttpPort
from forum.pages.port import Away
from tests.servers import wait_for

SITE = "tests of the port"


class Modules(ThreadingHTTPServer):
    """Answers every request with an empty page of a list, when it may."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.may_answer: Callable[[], bool] = lambda: True
        self.closes = False
        self.closed = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Modules

    def do_GET(self) -> None:
        self.server.asked.append(self.path.partition("?")[0])
        wait_for(self.server.may_answer, "leave to answer")
        body = json.dumps({"items": [], "next": None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.closes  # without a word, as a gateway does after some time

    def finish(self) -> None:
        super().finish()
        self.connection.close()
        self.server.closed.release()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def modules() -> Iterator[Modules]:
    with Modules() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _without_answer() -> float:
    labels = {"site": SITE, "module": "messages", "kind": "call", "status": "none"}
    return REGISTRY.get_sample_value("strangler_call_seconds_count", labels) or 0


@pytest.mark.parametrize("guest", [True, False])
def test_the_parts_of_a_page_are_asked_for_together(modules: Modules, guest: bool) -> None:
    port = HttpPort(modules.url, SITE)
    modules.may_answer = lambda: {"/api/topics/7", "/api/messages"} <= set(modules.asked)
    about, messages = port.topic_page(7, peek=False, cursor=None, last=False, guest=guest)()
    with pytest.raises(Away):  # an empty list is no topic
        about(token="")
    assert messages().value.items == []


def test_a_connection_that_was_closed_meanwhile_is_not_used(modules: Modules) -> None:
    port, before = HttpPort(modules.url, SITE), _without_answer()
    modules.closes = True
    for _ in range(3):
        port.messages(7, None)
        assert modules.closed.acquire(timeout=30)
    assert _without_answer() == before


def test_that_is_because_it_is_looked_at(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control; and what is left to be met is tried again."""
    monkeypatch.setattr("forum.pages.http.wait_for_read", lambda *_, **__: False)
    port, before = HttpPort(modules.url, SITE), _without_answer()
    modules.closes = True
    for _ in range(3):
        assert port.messages(7, None).value.items == []
        assert modules.closed.acquire(timeout=30)
    assert _without_answer() > before


def test_who_never_answers_is_away(modules: Modules) -> None:
    answers = threading.Event()
    modules.may_answer = answers.is_set
    about, messages = HttpPort(modules.url, SITE, read_seconds=0.2).topic_page(7, False, None, False, True)()
    for part in (about, messages):
        with pytest.raises(Away):
            part()
    answers.set()


def test_nobody_there_is_away() -> None:
    with Modules() as gone:
        url = gone.url
    with pytest.raises(Away):
        HttpPort(url, SITE).messages(7, None)


def test_what_cannot_be_a_header_is_not_sent(modules: Modules) -> None:
    with pytest.raises(Away):
        HttpPort(modules.url, SITE).me("no\ntoken")
    assert modules.asked == []
