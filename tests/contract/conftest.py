"""The forum that the contract is tested against: the one at $FORUM_URL, or a monolith of its own.

For a forum that runs already, the environment tells what cannot be found out over HTTP:
FORUM_MODERATOR and FORUM_MODERATOR_PASSWORD, an account that `forum grant` made a moderator;
FORUM_TOKEN_KEY_FILE (optional), the key that signs its tokens, to make one that has expired;
FORUM_REFRESH_GRACE_SECONDS (optional), if it is short enough to wait for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.contract.client import Account, Client, log_in, new_name, register, registration
from tests.servers import free_port, wait_for

ROOT = Path(__file__).parents[2]
GRACE_SECONDS = 1.0
MODERATOR_PASSWORD = "moderators are people too"


@dataclass(frozen=True)
class Forum:
    """A running forum and what is known of it."""

    url: str
    moderator: tuple[str, str]
    token_key: str | None
    grace_seconds: float | None


@pytest.fixture(scope="session")
def forum(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forum]:
    if url := os.environ.get("FORUM_URL"):
        key_file, grace = os.environ.get("FORUM_TOKEN_KEY_FILE"), os.environ.get("FORUM_REFRESH_GRACE_SECONDS")
        yield Forum(
            url.rstrip("/"),
            (os.environ["FORUM_MODERATOR"], os.environ["FORUM_MODERATOR_PASSWORD"]),
            Path(key_file).read_text() if key_file else None,
            float(grace) if grace else None,
        )
        return
    database = request.getfixturevalue("new_database")()
    redis = request.getfixturevalue("redis_server").another_url()
    with monolith(database, redis, tmp_path_factory.mktemp("monolith")) as started:
        yield started


@contextmanager
def monolith(database: str, redis: str, directory: Path) -> Iterator[Forum]:
    """A monolith as it is run: gunicorn and a worker, on a migrated database."""
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "FORUM_API_URL": f"http://{address}",
        "TOKEN_PRIVATE_KEY": key.decode(),
        "STRANGLER_SECRET": "a secret that only tests know",
        "SECRET_KEY": "another secret that only tests know",
        "STRANGLER_CONFIG": str(ROOT / "strangler.toml"),
        "REFRESH_GRACE_SECONDS": str(GRACE_SECONDS),
        "ARGON2_MEMORY_KIB": "64",
        "ARGON2_TIME": "1",
        "BIND": address,
        "DRAIN_SECONDS": "0",
    }

    def run(*words: str) -> None:
        done = subprocess.run([sys.executable, "-m", *words], env=environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    with ExitStack() as stack:

        def start(name: str, *words: str) -> None:
            log = stack.enter_context((directory / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", *words], env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        run("monolith.migrate")
        start("web", "gunicorn", "-c", "python:strangler.gunicorn", "monolith.app:create_app()")
        start("worker", "monolith.worker")
        url = f"http://{address}"
        wait_for(lambda: _ready(url), f"the monolith to be ready; see {directory}")
        name = new_name()
        new = registration(username=name, password=MODERATOR_PASSWORD)
        assert Client(url).post("/api/users", new).status_code == 201
        run("monolith.cli", "grant", name, "moderator")
        yield Forum(url, (name, MODERATOR_PASSWORD), key.decode(), GRACE_SECONDS)


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@pytest.fixture
def anybody(forum: Forum) -> Client:
    return Client(forum.url)


@pytest.fixture
def new_account(forum: Forum) -> Callable[[], Account]:
    return lambda: register(forum.url)


@pytest.fixture(scope="session")
def author(forum: Forum) -> Account:
    """Somebody who writes. Shared: don't change or delete the account."""
    return register(forum.url)


@pytest.fixture(scope="session")
def other(forum: Forum) -> Account:
    """Somebody else."""
    return register(forum.url)


@pytest.fixture(scope="session")
def moderator(forum: Forum) -> Account:
    return log_in(forum.url, *forum.moderator)
