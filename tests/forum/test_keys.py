"""The published key set: fetched when needed, kept when its publisher is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from forum.problems import Problem
from forum.tokens import Identity, InvalidTokenError, Issuer, PublishedKeys, verify
from tests.forum.conftest import new_key

SOMEBODY = Identity(7, "ada", "member", "family")


class Publisher:
    """Serves key sets over HTTP and counts how often it is asked."""

    def __init__(self) -> None:
        self.document: Any = {"keys": []}
        self.asked = 0
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                body = json.dumps(publisher.document).encode()
                self.send_response(200 if publisher.document is not None else 503)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, *issuers: Issuer) -> None:
        self.document = {"keys": [issuer.jwks["keys"][0] for issuer in issuers]}


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    one = Publisher()
    yield one
    one.server.shutdown()


def test_a_token_is_verified_by_the_published_key_also_when_users_is_away(publisher: Publisher) -> None:
    issuer = Issuer(new_key())
    publisher.publish(issuer)
    keys = PublishedKeys(publisher.url, pause=0)
    for _ in range(3):
        assert verify(issuer.issue(SOMEBODY), keys) == SOMEBODY
    assert publisher.asked == 1
    publisher.document = None
    with pytest.raises(InvalidTokenError):
        verify(Issuer(new_key()).issue(SOMEBODY), keys)
    assert verify(issuer.issue(SOMEBODY), keys) == SOMEBODY


def test_a_new_key_is_found_when_a_token_names_it(publisher: Publisher) -> None:
    old, new = Issuer(new_key()), Issuer(new_key())
    publisher.publish(old)
    keys = PublishedKeys(publisher.url, pause=0)
    assert verify(old.issue(SOMEBODY), keys) == SOMEBODY
    publisher.publish(new)
    assert verify(new.issue(SOMEBODY), keys) == SOMEBODY
    assert verify(old.issue(SOMEBODY), keys) == SOMEBODY


def test_forged_tokens_do_not_become_a_flood_of_requests(publisher: Publisher) -> None:
    publisher.publish(Issuer(new_key()))
    keys = PublishedKeys(publisher.url, pause=60)
    for _ in range(20):
        with pytest.raises(InvalidTokenError):
            verify(Issuer(new_key()).issue(SOMEBODY), keys)
    assert publisher.asked == 1


@pytest.mark.parametrize("document", [None, [], {}, {"keys": [{"crv": "Ed25519", "kid": "x", "x": "!"}]}])
def test_without_any_key_yet_it_is_503_and_not_401(publisher: Publisher, document: Any) -> None:
    publisher.document = document
    issuer = Issuer(new_key())
    keys = PublishedKeys(publisher.url, pause=0)
    with pytest.raises(Problem) as raised:
        verify(issuer.issue(SOMEBODY), keys)
    assert raised.value.code == 503
    publisher.publish(issuer)
    assert verify(issuer.issue(SOMEBODY), keys) == SOMEBODY
