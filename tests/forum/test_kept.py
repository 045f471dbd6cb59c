"""What is kept in the database says no more than it must."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from forum.passwords import Passwords

PASSWORD = "never written down"


def test_no_password_or_refresh_token_is_kept(client: FlaskClient, environment: dict[str, str]) -> None:
    new = {"username": "careful", "email": "careful@example.org", "password": PASSWORD}
    headers = {"Idempotency-Key": "registering"}
    assert client.post("/api/users", json=new, headers=headers).status_code == 201
    session: Any = client.post("/api/sessions", json={"username": "careful", "password": PASSWORD}).json
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        for table in ("users", "sessions", "users_idempotency", "outbox"):
            rows = str(connection.execute(f"SELECT t::text FROM {table} t").fetchall())
            assert PASSWORD not in rows
            assert session["refresh_token"] not in rows
            assert session["access_token"] not in rows
        kept = connection.execute("SELECT password_hash FROM users WHERE username = 'careful'").fetchone()
    assert kept is not None
    assert kept[0].startswith("$argon2id$")


def test_a_hash_made_at_another_cost_is_made_again_at_log_in(client: FlaskClient, environment: dict[str, str]) -> None:
    cheap = Passwords(memory_kib=8, time=1).hash(PASSWORD)
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (username, display_name, email, password_hash) VALUES ('old', '', 'old@x.org', %s)",
            (cheap,),
        )
        for _ in range(2):
            answer = client.post("/api/sessions", json={"username": "old", "password": PASSWORD})
            assert answer.status_code == 201
        row = connection.execute("SELECT password_hash FROM users WHERE username = 'old'").fetchone()
    assert row is not None
    assert "m=64,t=1" in row[0]


def test_a_log_in_counts_for_nothing_when_the_password_changes_while_it_is_verified(
    client: FlaskClient, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {"username": "changing", "email": "changing@example.org", "password": PASSWORD}
    assert client.post("/api/users", json=new).status_code == 201
    verify = Passwords.verify

    def slowly(self: Passwords, hashed: str | None, password: str) -> bool:
        right = verify(self, hashed, password)
        with psycopg.connect(environment["DATABASE_URL"]) as other:
            other.execute("UPDATE users SET password_hash = 'another' WHERE username = 'changing'")
        return right

    monkeypatch.setattr(Passwords, "verify", slowly)
    assert client.post("/api/sessions", json={"username": "changing", "password": PASSWORD}).status_code == 401


def test_an_error_of_the_database_does_not_say_whose_data_it_was_about(app: Flask) -> None:
    database = app.extensions["forum"].database
    with database.engine.connect() as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(text("SELECT 1 / 0, CAST(:address AS text)"), {"address": "ada@example.org"})
    assert "division by zero" in str(raised.value)
    assert "ada@example.org" not in str(raised.value)
