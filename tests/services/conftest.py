"""Databases of the services (and the monolith's), migrated as in production, and workers on them."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from forum.database import Database
from forum.events import Event, Handler, Worker, emit
from forum.migrations import upgrade
from forum.redis_client import connect
from local.databases import APPLICATION, prepare
from local.postgres import Cluster
from strangler.config import Config, load
from strangler.database import Database as KitDatabase
from tests.servers import RedisServer


@dataclass
class Place:
    """A site's database: `url` for the application, `admin` for the kit."""

    site: str
    url: str
    admin: str
    engine: Engine
    config: Config

    def query(self, query: str, parameters: Any = None) -> list[Any]:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, parameters: Any = None) -> Any:
        return self.query(query, parameters)[0][0]

    def give(self, module: str, owner: str) -> None:
        """Have `owner` own the module, with the kit's own fence, as a move would leave it."""
        kit = KitDatabase(self.site, self.admin)
        kit.run("install", site=sql.Literal(self.site))
        for name in self.config.module(module).tables:
            kit.run(
                "add_fence", table=sql.Identifier(*name.split(".")), module=sql.Literal(module),
                site=sql.Literal(self.site),
            )  # fmt: skip
        kit.connection.execute(
            "INSERT INTO strangler.ownership (module, owner, epoch) VALUES (%s, %s, 1)"
            " ON CONFLICT (module) DO UPDATE SET owner = excluded.owner, epoch = ownership.epoch + 1",
            (module, owner),
        )
        kit.connection.close()

    def emit(self, type_: str, **payload: Any) -> None:
        with Session(self.engine) as session:
            emit(session, type_, payload)
            session.commit()

    def post(self, topic_id: int, message_id: int) -> None:
        """What posting a message tells."""
        now = datetime.now(UTC).isoformat()
        self.emit("message.posted", topic_id=topic_id, message_id=message_id, created_at=now)

    def topic(self, author_id: int | None = None) -> int:
        """A topic, written as the application writes: past no fence."""
        with self.engine.begin() as connection:
            row = connection.exec_driver_sql(
                "INSERT INTO topics (title, author_id) VALUES ('A topic', %s) RETURNING id", (author_id,)
            )
            return int(row.scalar_one())

    def messages_of(self, topic_id: int) -> int:
        """What the topic's counter says."""
        return int(self.value("SELECT message_count FROM topics WHERE id = %s", (topic_id,)))


def add_up(session: Session, events: Sequence[Event]) -> None:
    """A handler that shows how often an event was handled: done twice, it counts twice."""
    for event in sorted(events, key=lambda event: int(event.payload["topic_id"])):
        step = {"message.posted": 1, "message.deleted": -1}[event.type]
        session.execute(
            text(
                "UPDATE topics SET message_count = message_count + :step,"
                " last_activity_at = greatest(last_activity_at, CAST(:at AS timestamptz)) WHERE id = :topic"
            ),
            {"step": step, "at": event.payload["created_at"], "topic": event.payload["topic_id"]},
        )


ADD_UP: Mapping[str, Handler] = {"message.posted": add_up, "message.deleted": add_up}


def handlers_of(site: str, redis: Redis) -> Mapping[str, Mapping[str, Handler]]:
    """As the site's worker has them."""
    found: Mapping[str, Mapping[str, Handler]] = {}
    if site == "monolith":
        found = importlib.import_module("monolith.handlers").HANDLERS
    elif site != "users":
        found = importlib.import_module(f"services.{site}.worker").handlers(redis)
    return found


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Callable[[str], Place]]:
    """Makes the database of a site; a service's belongs to the service, as after its move."""
    made: list[Place] = []

    def make(site: str, owner: str | None = None, moved: bool = True) -> Place:
        name = f"{site}_{uuid4().hex[:12]}"
        prepare(cluster, name, cluster.password)
        url = cluster.dsn(name, user=APPLICATION)
        package = "monolith" if site == "monolith" else f"services.{site}"
        upgrade(url, importlib.import_module(f"{package}.migrate").SCRIPTS)
        admin = cluster.dsn(name)
        one = Place(site, url, admin, Database(url, application_name=f"test of {site}").engine, load())
        if site != "monolith" and moved:
            one.give(site, owner or site)
        made.append(one)
        return one

    yield make
    for one in made:
        one.engine.dispose()


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    if redis_server.process is None:
        redis_server.start()
    client = connect(redis_server.url, timeout=5)
    client.flushall()
    yield client
    client.close()


@contextmanager
def working(place: Place, redis: Redis, adds_up: bool = False) -> Iterator[Worker]:
    """The worker of a site, in this process. adds_up: topics does not take what messages counts, but adds up itself."""
    handlers = dict(handlers_of(place.site, redis))
    if adds_up and "topics" in handlers:
        others = {type_: handler for type_, handler in handlers["topics"].items() if type_ != "topic.counted"}
        handlers["topics"] = others | ADD_UP
    worker = Worker(place.site, engine=place.engine, redis=redis, config=place.config, handlers=handlers)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)
    assert not thread.is_alive(), "the worker does not stop"
