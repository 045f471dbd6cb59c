"""Too many wrong passwords, and no more are tried for a while; whoever knows theirs is not slowed."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from monolith.app import create_app
from tests.forum.conftest import bearer
from tests.servers import RedisServer

PASSWORD = "correct horse"
LIMITS = {"login_failures_per_account": 3, "login_failures_per_address": 5, "login_window_seconds": 600}


pytestmark = pytest.mark.usefixtures("variables")


@pytest.fixture
def strict(app: Flask, redis_server: RedisServer) -> FlaskClient:
    """The same forum with small limits, and nothing counted yet."""
    changes = {**LIMITS, "redis_url": redis_server.another_url()}
    return create_app(app.extensions["forum"].settings.model_copy(update=changes)).test_client()


def register(client: FlaskClient) -> tuple[str, int]:
    name = f"t{uuid4().hex[:12]}"
    new = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer: Any = client.post("/api/users", json=new)
    return name, answer.json["id"]


def log_in(client: FlaskClient, name: str, password: str = PASSWORD, address: str = "192.0.2.1") -> Any:
    credentials = {"username": name, "password": password}
    return client.post("/api/sessions", json=credentials, environ_overrides={"REMOTE_ADDR": address})


def test_an_account_is_closed_for_a_while_after_too_many_wrong_passwords(strict: FlaskClient) -> None:
    (name, _), (other, _) = register(strict), register(strict)
    for number in range(3):  # from wherever, however written
        assert log_in(strict, [name, name.upper()][number % 2], "wrong", f"192.0.2.{number}").status_code == 401
    for password in ("wrong", PASSWORD):
        refused = log_in(strict, name, password, "192.0.2.9")
        assert refused.status_code == 429
        assert refused.content_type == "application/problem+json"
        assert 590 <= int(refused.headers["Retry-After"]) <= 600
        assert refused.json["detail"] == "There were too many wrong passwords. Try again in 10 minutes."
    assert log_in(strict, other).status_code == 201


def test_a_name_that_nobody_has_is_throttled_as_any_other(strict: FlaskClient) -> None:
    assert [log_in(strict, "nobody.at.all", "wrong").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_an_address_that_tries_many_accounts_is_stopped_and_others_are_not(strict: FlaskClient) -> None:
    name, _ = register(strict)
    for number in range(5):
        assert log_in(strict, f"guess-{number}", "wrong").status_code == 401
    assert log_in(strict, name).status_code == 429
    assert log_in(strict, name, address="192.0.2.2").status_code == 201


def test_the_pages_say_whose_log_in_it_is(strict: FlaskClient) -> None:
    """They ask in their visitors' name, from an address of their own."""
    name, _ = register(strict)

    def try_page(username: str, password: str, address: str) -> int:
        here = {"REMOTE_ADDR": address}
        page = strict.get("/login", environ_overrides=here).text
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
        form = {**hidden, "username": username, "password": password}
        return strict.post("/login", data=form, environ_overrides=here).status_code

    for number in range(5):
        assert try_page(f"guess-{number}", "wrong", "192.0.2.1") == 401
    assert try_page(name, PASSWORD, "192.0.2.1") == 429
    assert log_in(strict, name, address="192.0.2.1").status_code == 429
    assert try_page(name, PASSWORD, "192.0.2.2") == 303


def test_right_passwords_are_not_counted(strict: FlaskClient) -> None:
    name, _ = register(strict)
    assert {log_in(strict, name).status_code for _ in range(12)} == {201}


def test_the_current_password_is_guessed_no_more_often_than_at_log_in(
    strict: FlaskClient, environment: dict[str, str]
) -> None:
    name, user_id = register(strict)
    path, headers = f"/api/users/{user_id}", bearer(environment, user_id)

    def change(current: str) -> int:
        body = {"password": "another password", "current_password": current}
        return strict.patch(path, json=body, headers=headers).status_code

    assert [change("wrong") for _ in range(3)] == [403] * 3
    assert change(PASSWORD) == 429
    assert log_in(strict, name).status_code == 429


def test_without_redis_everybody_can_log_in(strict: FlaskClient, redis_server: RedisServer) -> None:
    name, _ = register(strict)
    redis_server.stop()
    try:
        assert [log_in(strict, name, "wrong").status_code for _ in range(4)] == [401] * 4
        assert log_in(strict, name).status_code == 201
    finally:
        redis_server.start()


def test_nobody_reads_in_redis_who_tried(strict: FlaskClient) -> None:
    log_in(strict, "Somebody", "wrong", "192.0.2.77")
    redis: Redis = strict.application.extensions["forum"].redis
    keys: Any = redis.keys("*")
    assert len([key for key in keys if key.startswith("forum:throttle")]) == 2
    assert not any("somebody" in key.lower() or "192.0.2.77" in key for key in keys)


def test_counters_end_by_themselves(strict: FlaskClient) -> None:
    log_in(strict, "somebody", "wrong")
    redis: Redis = strict.application.extensions["forum"].redis
    keys: Any = redis.keys("forum:throttle*")
    assert all(0 < int(redis.ttl(key)) <= 600 for key in keys)  # type: ignore[arg-type]
    assert keys
