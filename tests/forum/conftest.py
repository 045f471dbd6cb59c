"""The monolith in this process, to look into what the contract tests cannot see from outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient

from forum.migrations import upgrade
from forum.tokens import Identity, Issuer
from monolith.app import Settings, create_app
from monolith.migrate import SCRIPTS
from tests.servers import RedisServer, free_port

ROOT = Path(__file__).parents[2]


def new_key() -> str:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


@pytest.fixture(scope="session")
def environment(new_database: Callable[[], str], redis_server: RedisServer) -> dict[str, str]:
    """What the monolith needs, on a migrated database of its own."""
    database = new_database()
    upgrade(database, SCRIPTS)
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis_server.url,
        "FORUM_API_URL": f"http://127.0.0.1:{free_port()}",
        "TOKEN_PRIVATE_KEY": new_key(),
        "STRANGLER_SECRET": "a secret that only tests know",
        "SECRET_KEY": "another secret that only tests know",
        "STRANGLER_CONFIG": str(ROOT / "strangler.toml"),
        "ARGON2_MEMORY_KIB": "64",
        "ARGON2_TIME": "1",
    }


@pytest.fixture
def variables(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment, for a test that makes or reads settings of its own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def app(environment: dict[str, str]) -> Flask:
    with pytest.MonkeyPatch.context() as patch:  # undone at once: others of this process have environments of their own
        for name, value in environment.items():
            patch.setenv(name, value)
        return create_app(Settings())  # type: ignore[call-arg]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def authorization(app: Flask, environment: dict[str, str]) -> dict[str, str]:
    """The headers of a user that exists."""
    user = app.test_client().post(
        "/api/users", json={"username": "tester", "email": "tester@example.org", "password": "correct horse"}
    )
    assert user.status_code == 201, user.text
    return bearer(environment, user.json["id"])  # type: ignore[index]


def bearer(environment: dict[str, str], user_id: int, role: str = "member") -> dict[str, str]:
    token = Issuer(environment["TOKEN_PRIVATE_KEY"]).issue(Identity(user_id, "tester", role, "no session"))
    return {"Authorization": f"Bearer {token}"}


def process_environment(**variables: str) -> dict[str, str]:
    """For a process that is to find nothing in its environment but `variables`."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | variables
