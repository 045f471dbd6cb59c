"""The library and its catalogue service, each on a cluster of its own, served by threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from werkzeug.serving import make_server

from local.postgres import Cluster
from strangler.config import Config
from strangler.flask import Strangler
from strangler.handover import Limits
from strangler.move import Move
from tests.foreign import catalogue, catalogue_orm, library
from tests.servers import free_port, running_cluster

HERE = Path(__file__).parent
TABLES = ["public.works", "public.copies", "public.WorkHistory"]
_numbers = count()

Installed = Callable[[Flask, str, Config], None]


@pytest.fixture(scope="session")
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    with running_cluster() as source, running_cluster() as target:
        yield source, target


def flask_sqlalchemy(dsn: str) -> tuple[Flask, Any]:
    return library.create_app(dsn), library.db.session


def psycopg_pool(dsn: str) -> tuple[Flask, Any]:
    return catalogue.create_app(dsn), catalogue.connection


def plain_sqlalchemy(dsn: str) -> tuple[Flask, Any]:
    return catalogue_orm.create_app(dsn), catalogue_orm.Session


@dataclass
class Town:
    """Both sites, running, and the move between them."""

    config: Config
    dsn: dict[str, str]
    url: dict[str, str]
    move: Move
    overridden: set[str]
    """Guards of the hand-over that are of no interest here."""

    def at(self, owner: str) -> None:
        """Let `owner` own the catalogue."""
        limits = Limits(override=frozenset(self.overridden))
        self.move.switch(limits) if owner == "catalogue" else self.move.reverse(limits)

    def run(self, site: str, query: str, parameters: Any = None) -> list[Any]:
        with psycopg.connect(self.dsn[site], autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()


@contextmanager
def running_town(
    clusters: tuple[Cluster, Cluster], service: Callable[[str], tuple[Flask, Any]], facade: bool = True
) -> Iterator[Town]:
    """A library whose catalogue is on the move to `service`: created, not switched."""
    name = f"library{next(_numbers)}"
    dsn = {"monolith": clusters[0].dsn(name), "catalogue": clusters[1].dsn(name)}
    for cluster, folder in zip(clusters, ("library", "catalogue"), strict=True):
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(cluster.dsn(name)) as connection:
            connection.execute((HERE / folder / "schema.sql").read_text())
    ports = {site: free_port() for site in dsn}
    url = {site: f"http://127.0.0.1:{port}" for site, port in ports.items()}
    config = Config.model_validate(
        {
            "sites": {site: {"dsn": dsn[site], "url": url[site]} for site in dsn},
            "modules": {
                "catalogue": {
                    "source": "monolith", "target": "catalogue", "tables": TABLES, "routes": ["/api/works"],
                }
            },
        }
    )  # fmt: skip
    with ExitStack() as stack:
        for site, (app, session) in {
            "monolith": flask_sqlalchemy(dsn["monolith"]), "catalogue": service(dsn["catalogue"]),
        }.items():  # fmt: skip
            if facade:
                Strangler().init_app(app, site=site, session=session, config=config)
            server = make_server("127.0.0.1", ports[site], app, threaded=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        move = stack.enter_context(Move(config, "catalogue"))
        stack.callback(move.forward.drop)  # slots outlive databases
        stack.callback(move.back.drop)
        move.create()
        # Without the facade there is no /readyz.
        yield Town(config, dsn, url, move, {"diff"} if facade else {"diff", "service"})


@pytest.fixture(scope="module", params=[psycopg_pool, plain_sqlalchemy], ids=lambda service: service.__name__)
def town(clusters: tuple[Cluster, Cluster], request: pytest.FixtureRequest) -> Iterator[Town]:
    """Shared by the tests of a file: each begins with `town.at(owner)` and leaves the move as it likes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRANGLER_SECRET", "s" * 32)
        with running_town(clusters, request.param) as one:
            yield one
