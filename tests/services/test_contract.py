"""The contract, by the same tests as the monolith's, kept by three services on three databases without a monolith."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis import Redis

from tests.contract.client import Client, new_name, registration
from tests.servers import RedisServer, free_port, wait_for
from tests.services.conftest import Place

ROOT = Path(__file__).parents[2]
SITES = ("users", "topics", "messages")
MODERATOR_PASSWORD = "moderators are people too"
GRACE_SECONDS = "1.0"


@pytest.fixture
def environment(
    place: Callable[[str], Place], redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Three services and their workers, as processes; answers the environment that `tests/contract` wants."""
    redis.ping()
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(key)
    places = {site: place(site) for site in SITES}
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    common = {
        **os.environ,
        "REDIS_URL": redis_server.url, "FORUM_API_URL": url, "TOKEN_PRIVATE_KEY": key.decode(),
        "STRANGLER_SECRET": "a secret that only tests know", "SECRET_KEY": "another secret that only tests know",
        "STRANGLER_CONFIG": str(ROOT / "strangler.toml"),
        "REFRESH_GRACE_SECONDS": GRACE_SECONDS, "ARGON2_MEMORY_KIB": "64", "ARGON2_TIME": "1",
        "BIND": address, "DRAIN_SECONDS": "0", "THREADS": "16",
        **{f"{site.upper()}_DATABASE_URL": places[site].url for site in SITES}, "DATABASE_URL": places["users"].url,
    }  # fmt: skip
    with ExitStack() as stack:

        def start(name: str, *words: str, **more: str) -> None:
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env={**common, **more}, stderr=log)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        start("router", "gunicorn", "-c", "python:strangler.gunicorn", "tests.services.router:create_app()")
        for site in SITES:
            start(site, f"services.{site}.worker", DATABASE_URL=places[site].url)
        wait_for(lambda: _ready(url), f"the services to be ready; see {tmp_path}")
        name = new_name()
        assert (
            Client(url).post("/api/users", registration(username=name, password=MODERATOR_PASSWORD)).status_code == 201
        )
        words = [sys.executable, "-m", "forum.grant", name, "moderator"]
        subprocess.run(words, cwd=ROOT, env={**common, "DATABASE_URL": places["users"].url}, check=True)
        yield {
            **os.environ,
            "FORUM_URL": url, "FORUM_MODERATOR": name, "FORUM_MODERATOR_PASSWORD": MODERATOR_PASSWORD,
            "FORUM_TOKEN_KEY_FILE": str(key_file), "FORUM_REFRESH_GRACE_SECONDS": GRACE_SECONDS,
        }  # fmt: skip


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def test_the_services_keep_the_contract(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout
