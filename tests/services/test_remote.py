"""What a service does about the other modules: few calls, none in vain, and a page without names rather than none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from redis import Redis
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

from forum.remote import FAILURES, NAMES_SECONDS, RESET_SECONDS, Remote, forget_authors
from forum.settings import TopicsSettings
from forum.tokens import Identity, Issuer
from services.messages.app import create_app as messages_app
from services.topics.app import create_app as topics_app
from tests.servers import RedisServer, free_port, wait_for
from tests.services.conftest import Place
from tests.statements import statements

ISSUER = Issuer(
    Ed25519PrivateKey.generate()
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)


@dataclass
class Elsewhere:
    """Stands for the gateway and the modules behind it; counts what it is asked."""

    url: str
    calls: list[str] = field(default_factory=list)
    away: bool = False
    slow: float = 0.0
    topics: dict[int, bool] = field(default_factory=dict)
    """Id -> locked."""

    @Request.application
    def __call__(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except HTTPException as error:
            return error.get_response(request.environ)

    def _answer(self, request: Request) -> Response:
        if request.path.endswith("jwks.json"):
            return _json(ISSUER.jwks)
        self.calls.append(request.path)
        time.sleep(self.slow)
        if self.away:
            return Response("no healthy upstream", 503)
        if request.path == "/api/users":
            ids = [int(part) for part in request.args["ids"].split(",")]
            return _json({"items": [_user(each) for each in ids if each < 900]})
        topic = int(request.path.rpartition("/")[2])
        if topic not in self.topics:
            return _json({"status": 404}, 404, "application/problem+json")
        return _json({"id": topic, "locked": self.topics[topic]})


def _json(content: Any, status: int = 200, mimetype: str = "application/json") -> Response:
    return Response(json.dumps(content), status, mimetype=mimetype)


def _user(user_id: int) -> dict[str, Any]:
    return {"id": user_id, "username": f"user{user_id}", "display_name": f"User {user_id}", "role": "member"}


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    port = free_port()
    stub = Elsewhere(f"http://127.0.0.1:{port}")
    server = make_server("127.0.0.1", port, stub, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield stub
    server.shutdown()
    thread.join(10)


@pytest.fixture
def remote(elsewhere: Elsewhere, redis: Redis) -> Remote:
    return Remote(elsewhere.url, redis)


@pytest.fixture
def client_of(
    place: Callable[[str], Place], elsewhere: Elsewhere, redis: Redis, redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], tuple[FlaskClient, Place]]:  # fmt: skip
    """A service, with `elsewhere` as everything else."""
    redis.ping()
    monkeypatch.setenv("STRANGLER_SECRET", "a secret that only tests know")

    def make(site: str) -> tuple[FlaskClient, Place]:
        one = place(site)
        settings = TopicsSettings(
            forum_api_url=elsewhere.url, redis_url=redis_server.url, database_url=SecretStr(one.url),
            strangler_secret=SecretStr("a secret that only tests know"),
        )  # fmt: skip
        create: Callable[[TopicsSettings], Flask] = {"topics": topics_app, "messages": messages_app}[site]
        return create(settings).test_client(), one

    return make


def as_user(user_id: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {ISSUER.issue(Identity(user_id, f'user{user_id}', 'member', 'family'))}"}


def test_a_page_asks_for_its_authors_once_and_then_the_cache(
    client_of: Callable[[str], tuple[FlaskClient, Place]], elsewhere: Elsewhere
) -> None:
    topics, place = client_of("topics")
    for number in range(60):
        place.topic(author_id=number % 20 + 1)
    page = topics.get("/api/topics?limit=60").get_json()
    assert {item["author"]["username"] for item in page["items"]} == {f"user{number}" for number in range(1, 21)}
    assert elsewhere.calls == ["/api/users"]
    topics.get("/api/topics?limit=60")
    assert elsewhere.calls == ["/api/users"], "asked for what it knew"


@pytest.mark.parametrize("site", ["topics", "messages"])
def test_a_page_costs_the_same_however_long_it_is(
    client_of: Callable[[str], tuple[FlaskClient, Place]], elsewhere: Elsewhere, site: str
) -> None:
    service, place = client_of(site)
    path = f"/api/{site}?limit=100&topic_id=1"

    def cost() -> tuple[int, int]:
        elsewhere.calls.clear()
        with statements() as sent:
            assert service.get(path).status_code == 200
        return len(sent), len(elsewhere.calls)

    columns = {"topics": "title, author_id", "messages": "body, topic_id, author_id"}[site]
    values = {"topics": "'A topic', mod(n, 50)", "messages": "'Hello', 1, mod(n, 50)"}[site]
    with place.engine.begin() as connection:
        insert = f"INSERT INTO {site} ({columns}) SELECT {values} FROM generate_series(%s::int, %s::int) n"
        connection.exec_driver_sql(insert, (1, 1))
    service.get(path)
    assert 1 < cost()[0] <= 3
    with place.engine.begin() as connection:
        connection.exec_driver_sql(insert, (2, 100))
    queries, calls = cost()
    assert 1 < queries <= 3
    assert calls == 1


def test_names_are_asked_for_anew_when_a_user_has_changed(remote: Remote, elsewhere: Elsewhere, redis: Redis) -> None:
    remote.authors([1, 2])
    forget_authors(redis, [1])
    remote.authors([1, 2])
    assert len(elsewhere.calls) == 2


def test_an_unknown_author_is_nobody(remote: Remote) -> None:
    authors = remote.authors([1, None, 999])
    assert authors[999] is None
    assert authors[1] is not None
    assert authors[1].display_name == "User 1"


@pytest.mark.parametrize("site", ["topics", "messages"])
def test_with_users_away_pages_come_without_names(
    client_of: Callable[[str], tuple[FlaskClient, Place]], elsewhere: Elsewhere, site: str
) -> None:
    service, place = client_of(site)
    elsewhere.away = True
    if site == "topics":
        place.topic(author_id=5)
        path = "/api/topics"
    else:
        with place.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO messages (topic_id, author_id, body) VALUES (1, 5, 'Hello')")
        path = "/api/messages?topic_id=1"
    answer = service.get(path)
    assert answer.status_code == 200
    assert answer.get_json()["items"][0]["author"] == {"id": 5, "username": None, "display_name": None}


def test_with_users_away_one_can_still_post(
    client_of: Callable[[str], tuple[FlaskClient, Place]], elsewhere: Elsewhere
) -> None:
    topics, _ = client_of("topics")
    topics.get("/api/topics")
    elsewhere.away = True
    answer = topics.post("/api/topics", json={"title": "Is anybody there?"}, headers=as_user(5))
    assert answer.status_code == 201, answer.text
    assert answer.get_json()["author"] == {"id": 5, "username": None, "display_name": None}


def test_without_redis_names_are_still_known(
    client_of: Callable[[str], tuple[FlaskClient, Place]], redis_server: RedisServer
) -> None:
    topics, place = client_of("topics")
    place.topic(author_id=5)
    redis_server.stop()
    try:
        [topic] = topics.get("/api/topics").get_json()["items"]
    finally:
        redis_server.start()
    assert topic["author"]["username"] == "user5"
    assert topic["views"] is None


def test_a_message_needs_a_topic_that_is_there_and_open(
    client_of: Callable[[str], tuple[FlaskClient, Place]], elsewhere: Elsewhere
) -> None:
    messages, place = client_of("messages")
    elsewhere.topics = {1: False, 2: True}

    def post(topic_id: int) -> int:
        message = {"topic_id": topic_id, "body": "Hello"}
        return messages.post("/api/messages", json=message, headers=as_user(5)).status_code

    assert [post(1), post(2), post(3)] == [201, 409, 404]
    assert place.value("SELECT count(*) FROM messages") == place.value("SELECT count(*) FROM outbox") == 1


def test_a_message_whose_topic_cannot_be_looked_up_is_503_and_not_posted(
    client_of: Callable[[str], tuple[FlaskClient, Place]], elsewhere: Elsewhere
) -> None:
    messages, place = client_of("messages")
    elsewhere.topics = {1: False}
    elsewhere.away = True
    message = {"topic_id": 1, "body": "Hello"}
    headers = {**as_user(5), "Idempotency-Key": "once"}
    refused = messages.post("/api/messages", json=message, headers=headers)
    assert (refused.status_code, refused.mimetype) == (503, "application/problem+json")
    assert int(refused.headers["Retry-After"]) > 0
    assert place.value("SELECT count(*) FROM messages") == 0
    elsewhere.away = False
    assert messages.post("/api/messages", json=message, headers=headers).status_code == 201
    elsewhere.away = True
    again = messages.post("/api/messages", json=message, headers=headers)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")


def test_who_does_not_answer_is_left_alone_for_a_while(remote: Remote, elsewhere: Elsewhere) -> None:
    elsewhere.away = True
    for _ in range(FAILURES + 5):
        remote.authors([1])
    asked = len(elsewhere.calls)
    remote.authors([1])
    assert len(elsewhere.calls) == asked, "the breaker did not open"
    elsewhere.away = False

    def known() -> bool:
        author = remote.authors([1])[1]
        return author is not None and author.username == "user1"

    wait_for(known, "the name, after the pause", RESET_SECONDS + 5)


def test_calls_do_not_wait_for_each_other(remote: Remote, elsewhere: Elsewhere) -> None:
    elsewhere.slow = 0.5
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert all(list(pool.map(lambda number: remote.authors([number])[number], range(1, 9))))
    assert time.monotonic() - began < 3.0, "one after another they take 4 s"


def test_whoever_writes_waits_longer_for_the_topic_than_a_page_for_names(remote: Remote, elsewhere: Elsewhere) -> None:
    elsewhere.topics = {1: False}
    elsewhere.slow = NAMES_SECONDS + 0.5
    assert remote.topic(1) is not None
    author = remote.authors([1])[1]
    assert author is not None
    assert author.username is None


def test_a_call_has_a_deadline(elsewhere: Elsewhere, redis: Redis) -> None:
    elsewhere.slow = 2.0
    began = time.monotonic()
    author = Remote(elsewhere.url, redis, names_seconds=0.5).authors([1])[1]
    assert author is not None
    assert author.username is None
    assert time.monotonic() - began < 1.5
