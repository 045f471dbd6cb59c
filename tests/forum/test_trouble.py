"""When something is away or breaks: requests that can be served are, the others say so, and nothing is half done."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from forum.application import Resources
from forum.logs import JsonFormatter
from local.postgres import Cluster
from monolith import messages, topics
from monolith.app import create_app
from strangler.analyze.recording import read
from strangler.recorder import recorder_of
from tests.servers import RedisServer


def test_without_redis_the_forum_serves_and_writes(
    client: FlaskClient, authorization: dict[str, str], redis_server: RedisServer
) -> None:
    redis_server.stop()
    try:
        topic: Any = client.post("/api/topics", json={"title": "No views"}, headers=authorization).json
        message = client.post("/api/messages", json={"topic_id": topic["id"], "body": "x"}, headers=authorization)
        assert message.status_code == 201
        read: Any = client.get(f"/api/topics/{topic['id']}").json
        listed: Any = client.get("/api/topics?sort=newest").json
        assert read["views"] is None
        # Of the other topics a number may still be known from the test before.
        assert [item["views"] for item in listed["items"] if item["id"] == topic["id"]] == [None]
        assert client.delete(f"/api/topics/{topic['id']}", headers=authorization).status_code == 204
    finally:
        redis_server.start()
    topic = client.post("/api/topics", json={"title": "Views"}, headers=authorization).json
    until = time.monotonic() + 60  # it is asked again after a pause
    while not client.get(f"/api/topics/{topic['id']}").json["views"]:  # type: ignore[index]
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_message_that_goes_while_it_is_replied_to_is_refused_as_one_that_has_gone(
    client: FlaskClient, authorization: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_check_reply", lambda _: None)  # it was still there then
    topic: Any = client.post("/api/topics", json={"title": "Gone"}, headers=authorization).json
    reply = {"topic_id": topic["id"], "body": "x", "reply_to": 2**40}
    answer: Any = client.post("/api/messages", json=reply, headers=authorization)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "reply_to"


def _with_trouble(app: Flask, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Any:
    """Creating a topic meets `error` after its row was inserted. The answer as a server would give it."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(topics, "_shown", fail)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    return app.test_client()


def _count(environment: dict[str, str], table: str) -> int:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_bug_is_a_500_that_tells_the_log_and_not_the_client(
    app: Flask,
    environment: dict[str, str],
    authorization: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = _count(environment, "topics"), _count(environment, "topics_idempotency")
    client = _with_trouble(app, monkeypatch, ZeroDivisionError("the inside"))
    app.logger.addHandler(caplog.handler)
    headers = {**authorization, "Idempotency-Key": str(uuid4())}
    answer = client.post("/api/topics", json={"title": "x"}, headers=headers)
    app.logger.removeHandler(caplog.handler)
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert "inside" not in answer.text
    assert "the inside" in caplog.text
    assert (_count(environment, "topics"), _count(environment, "topics_idempotency")) == before
    monkeypatch.undo()
    assert app.test_client().post("/api/topics", json={"title": "x"}, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "path", ["", "/", "/api/topics", "/api/topics/1", "/api/users?ids=1", "/api/topics/search?q=x"]
)
def test_a_database_that_closed_its_connections_fails_nobody(
    app: Flask,
    client: FlaskClient,
    authorization: dict[str, str],
    cluster: Cluster,
    environment: dict[str, str],
    path: str,
) -> None:
    """path: of a page or the API; without one it is a write."""
    status = client.get(path).status_code if path else 201
    assert client.get("/api/topics").status_code == 200
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        name = environment["DATABASE_URL"].rpartition("/")[2]
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    later = app.test_client()
    answer = later.get(path) if path else later.post("/api/topics", json={"title": "x"}, headers=authorization)
    assert answer.status_code == status


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("path", ["/", "/api/topics", "/api/users?ids=1"])
def test_what_is_read_is_recorded_too(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "recording"
    monkeypatch.setenv("STRANGLER_RECORD", str(file))
    assert create_app().test_client().get(path).status_code == 200
    recorder = recorder_of()
    assert recorder is not None
    recorder.flush()
    recording = read([file])
    assert any("FROM users" in text or "JOIN users" in text for text in recording.statements.values())
    assert {end for _, end in recording.transactions} <= {"commit", "rollback"}
    assert recording.nameless() == 0


def test_a_database_that_is_away_is_a_503_to_come_back_to(
    app: Flask, monkeypatch: pytest.MonkeyPatch, authorization: dict[str, str]
) -> None:
    resources: Resources = app.extensions["forum"]
    assert resources.database is not None
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    engine = resources.database.engine
    engine.dispose()
    monkeypatch.setattr(engine.pool, "_creator", _refused)
    for answer in (
        app.test_client().get("/api/topics"),
        app.test_client().post("/api/topics", json={"title": "x"}, headers=authorization),
    ):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert answer.mimetype == "application/problem+json"
    assert app.test_client().get("/livez").status_code == 200
    monkeypatch.undo()
    assert app.test_client().get("/api/topics").status_code == 200


def _refused(*_: Any) -> None:
    raise psycopg.OperationalError("connection refused")


def test_metrics_name_endpoints_and_not_paths(client: FlaskClient) -> None:
    client.get("/api/topics/123456789")
    client.get("/no/such/path/123456789")
    client.open("/api/topics", method="BREW")
    text = client.get("/metrics").text
    labels = 'endpoint="/api/topics/<id:topic_id>",method="GET",site="monolith",status="404"'
    assert f"forum_http_requests_total{{{labels}}}" in text
    assert "123456789" not in text
    assert "BREW" not in text


def test_a_line_of_the_log_is_one_json_object() -> None:
    record = logging.LogRecord("forum", logging.ERROR, "", 0, "line\n%s", ("two",), None)
    line = JsonFormatter("topics").format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "line\ntwo"
    assert json.loads(line)["site"] == "topics"
