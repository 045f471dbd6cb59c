"""What was read is shown again while nothing has been written, and never after that."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from forum.database import Reading, Statement
from local.postgres import Cluster
from monolith.messages import MESSAGES
from monolith.topics import TOPICS
from strangler.config import Module, load
from strangler.ownership import OwnershipReader
from tests.servers import wait_for


class Asked:
    """How many statements reads have run: the look at the owner is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        rows = Statement.rows

        def counting(statement: Statement, *args: Any, **values: Any) -> Any:
            self.times += 1
            return rows(statement, *args, **values)

        monkeypatch.setattr(Statement, "rows", counting)

    def by(self, client: FlaskClient, path: str) -> int:
        before = self.times
        assert client.get(path).status_code == 200
        return self.times - before


@pytest.fixture
def topic(client: FlaskClient, authorization: dict[str, str]) -> int:
    made: Any = client.post("/api/topics", json={"title": "Before"}, headers=authorization).json
    client.post("/api/messages", json={"topic_id": made["id"], "body": "Said before"}, headers=authorization)
    return int(made["id"])


def _write(environment: dict[str, str], sql: str) -> None:
    """By somebody whom no application knows of."""
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.encode())


PATHS = ["/?sort=newest", "/topics/{}", "/api/topics?sort=newest", "/api/topics/{}", "/api/messages?topic_id={}"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_read_twice_while_nothing_is_written(
    client: FlaskClient, topic: int, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], path: str
) -> None:
    asked, path = Asked(monkeypatch), path.format(topic)
    assert asked.by(client, path) > 0
    wait_for(lambda: asked.by(client, path) == 0, "a moment in which no period ends")
    _write(environment, "UPDATE topics SET locked = locked WHERE id = 0; SELECT pg_current_xact_id()")
    assert asked.by(client, path) > 0, "no row of ours was written, but somebody has committed"


@pytest.mark.parametrize("path", PATHS)
def test_what_anybody_wrote_is_shown_at_once(
    client: FlaskClient, topic: int, environment: dict[str, str], path: str
) -> None:
    for number in range(5):
        for table, column in (("topics", "title"), ("messages", "body")):
            key = "id" if table == "topics" else "topic_id"
            _write(environment, f"UPDATE {table} SET {column} = 'Written {number} of {topic}' WHERE {key} = {topic}")
        shown = client.get(path.format(topic)).text
        assert f"Written {number} of {topic}" in shown
        assert f"Written {number - 1} of {topic}" not in shown


def test_that_is_because_of_the_look(
    client: FlaskClient, topic: int, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a look that always sees the same shows what is old."""
    looked = Reading.looked
    monkeypatch.setattr(Reading, "looked", lambda self, _: looked(self, "the same"))
    path = f"/api/messages?topic_id={topic}"
    assert "Said before" in client.get(path).text
    _write(environment, f"UPDATE messages SET body = 'Written' WHERE topic_id = {topic}")
    assert "Said before" in client.get(path).text


def test_names_that_are_not_known_are_not_kept(
    client: FlaskClient,
    topic: int,
    cluster: Cluster,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = f"/api/topics/{topic}", f"/api/messages?topic_id={topic}"
    name = environment["DATABASE_URL"].rpartition("/")[2]
    with psycopg.connect(cluster.dsn(name), autocommit=True) as connection:
        # As a replica lags: the author is not here yet.
        connection.execute("SET session_replication_role = replica")
        for table, key in (("topics", "id"), ("messages", "topic_id")):
            connection.execute(f"UPDATE {table} SET author_id = 1000000 WHERE {key} = {topic}".encode())
    asked = Asked(monkeypatch)
    for path in paths:
        answer = client.get(path)
        assert '"username":null' in answer.text
        assert "ETag" not in answer.headers
        assert asked.by(client, path) > 0


def test_long_messages_are_not_kept(
    app: Flask, client: FlaskClient, topic: int, authorization: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/api/messages", json={"topic_id": topic, "body": "x" * 2001}, headers=authorization)
    asked = Asked(monkeypatch)
    assert [asked.by(client, f"/api/messages?topic_id={topic}") for _ in range(2)] == [1, 1]
    assert app.extensions["forum"].database is not None
    assert TOPICS.seconds < MESSAGES.seconds


def test_a_look_tells_what_it_saw(environment: dict[str, str]) -> None:
    class Session:
        def __init__(self) -> None:
            self.saw: list[str] = []

        def looked(self, snapshot: str) -> None:
            self.saw.append(snapshot)

        def exec_driver_sql(self, sql: str) -> Any:
            return connection.execute(sql.encode())

    session, reader = Session(), OwnershipReader()
    module: Module = load().module("topics")
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        for _ in range(2):
            assert reader.read(session, module).owner == "monolith"
        _write(environment, "SELECT pg_current_xact_id()")
        reader.read(session, module)
    first, same, other = session.saw
    assert first == same != other
