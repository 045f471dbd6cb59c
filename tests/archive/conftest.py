"""Forums of their own, and the command `forum` on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner

from forum.database import Database
from forum.migrations import upgrade
from local.databases import APPLICATION, prepare
from local.postgres import Cluster
from monolith.cli import main
from monolith.migrate import SCRIPTS
from strangler.config import load
from tests.services.conftest import Place

ROOT = Path(__file__).parents[2]


class Forum(Place):
    """A monolith's database, and the command on it."""

    def run(self, *words: object) -> tuple[int, str]:
        """`forum WORDS`: exit code, and what it said (with the progress it showed, if it failed)."""
        result = CliRunner().invoke(main, [str(word) for word in words], env={"DATABASE_URL": self.url})
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result.exit_code, result.output if result.exit_code else result.stdout

    def succeed(self, *words: object) -> str:
        code, output = self.run(*words)
        assert code == 0, output
        return output

    def rows(self, table: str, order: str = "id") -> list[Any]:
        return self.query(f"SELECT * FROM {table} ORDER BY {order}")

    def count(self, table: str) -> int:
        return int(self.value(f"SELECT count(*) FROM {table}"))


@pytest.fixture(scope="session")
def pattern(cluster: Cluster) -> str:
    """A migrated database, to be copied."""
    prepare(cluster, "archive", cluster.password)
    upgrade(cluster.dsn("archive", user=APPLICATION), SCRIPTS)
    return "archive"


@pytest.fixture
def new_forum(cluster: Cluster, pattern: str) -> Iterator[Callable[[], Forum]]:
    """Makes an empty one."""
    made: list[Forum] = []

    def make() -> Forum:
        name = f"archive_{uuid4().hex[:12]}"
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {pattern} OWNER {APPLICATION} STRATEGY file_copy")
        url = cluster.dsn(name, user=APPLICATION)
        made.append(Forum("monolith", url, cluster.dsn(name), Database(url).engine, load()))
        return made[-1]

    yield make
    for one in made:
        one.engine.dispose()


@pytest.fixture
def forum(new_forum: Callable[[], Forum]) -> Forum:
    return new_forum()
