"""What is asked: a monolith with as many messages as wanted, and a bare Flask route, each on the same gunicorn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from forum.migrations import upgrade
from local.postgres import Cluster
from local.state import CHECKOUT
from monolith.migrate import SCRIPTS
from tests.bench.result import Say
from tests.servers import RedisServer, free_port, new_database, running_cluster, wait_for

PASSWORD = "benches are people too"
TOPIC_MESSAGES = 25
"""On average, as `forum seed` has it by default."""


def bare() -> Flask:
    """An application that does nothing: what Flask and gunicorn cost by themselves."""
    app = Flask(__name__)
    app.add_url_rule("/", "nothing", lambda: "hello")
    return app


@dataclass(frozen=True)
class Server:
    url: str
    pid: int

    def cpu(self) -> float:
        """Seconds that its processes have used so far."""
        top = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (top, *top.children())]
        return sum(each.user + each.system for each in times)


@contextmanager
def gunicorn(application: str, environment: Mapping[str, str], ready: str) -> Iterator[Server]:
    """One worker process, eight threads."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"BIND": f"127.0.0.1:{port}", "THREADS": "8", "DRAIN_SECONDS": "0", "FORUM_API_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:strangler.gunicorn", "--log-level", "warning", application],
        env={**os.environ, **settings, **environment}, cwd=CHECKOUT,
    )  # fmt: skip
    try:
        wait_for(lambda: _answers(url + ready), application)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


@dataclass(frozen=True)
class Stores:
    """Where monoliths keep what they know."""

    cluster: Cluster
    redis: RedisServer


@contextmanager
def stores() -> Iterator[Stores]:
    """PostgreSQL (128 MB of buffers, as the stages have) and Redis, gone afterwards."""
    with running_cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder), free_port())
        redis.start()
        try:
            yield Stores(cluster, redis)
        finally:
            redis.stop()


def seeded(stores: Stores, messages: int, say: Say) -> str:
    """A database with so many messages, ready to be read; its URL."""
    database = new_database(stores.cluster)
    upgrade(database, SCRIPTS)
    say(f"writing {messages:,} messages")
    sizes = ["--messages", str(messages), "--topics", str(messages // TOPIC_MESSAGES), "--users", str(messages // 50)]
    subprocess.run(
        [sys.executable, "-m", "monolith.cli", "seed", *sizes, "--password", PASSWORD], cwd=CHECKOUT, check=True,
        env=os.environ | {"DATABASE_URL": database}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return database


@contextmanager
def monolith(stores: Stores, database: str) -> Iterator[Server]:
    """A monolith on `database`."""
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    environment = {
        "DATABASE_URL": database, "REDIS_URL": stores.redis.another_url(), "TOKEN_PRIVATE_KEY": key.decode(),
        "STRANGLER_SECRET": "a secret that only benches know", "SECRET_KEY": "another secret that only benches know",
        "STRANGLER_CONFIG": str(CHECKOUT / "strangler.toml"),
    }  # fmt: skip
    with gunicorn("monolith.app:create_app()", environment, "/readyz") as server:
        yield server


@contextmanager
def commits(database: str, per_second: float) -> Iterator[None]:
    """Somebody commits so often: nothing of a cluster's databases that was read before then is shown again."""
    over = threading.Event()

    def commit() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not over.wait(1 / per_second):
                connection.execute("SELECT pg_current_xact_id()")

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def topics_of(database: str, messages: int = 20) -> list[str]:
    """The pages of some topics with at least so many messages."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT id FROM topics WHERE message_count >= %s ORDER BY id LIMIT 50", (messages,)
        ).fetchall()
    return [f"/topics/{id}" for (id,) in rows]
