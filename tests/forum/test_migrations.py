"""Migrations: repeatable, safe to start twice at once, and what the models say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from forum.database import psycopg_url
from forum.migrations import upgrade
from monolith.migrate import SCRIPTS
from monolith.models import Base
from tests.forum.conftest import ROOT, process_environment


def test_two_that_start_at_once_migrate_once(new_database: Callable[[], str]) -> None:
    url = new_database()
    words = [sys.executable, "-m", "monolith.migrate"]
    both = [
        subprocess.Popen(words, env=process_environment(DATABASE_URL=url), cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upgrade(url, SCRIPTS), range(4)))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_the_models_are_what_the_migrations_make(new_database: Callable[[], str]) -> None:
    url = new_database()
    upgrade(url, SCRIPTS)
    engine = create_engine(psycopg_url(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_every_table_has_a_primary_key(environment: dict[str, str]) -> None:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        without = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.conrelid = c.oid AND p.contype = 'p')"
        ).fetchall()
    assert without == []


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "postgresql://forum:pw@127.0.0.1:1/forum"}, "DATABASE_URL: cannot migrate"),
    ],
)
def test_what_cannot_be_migrated_is_one_line_and_exit_2(environment: dict[str, str], complaint: str) -> None:
    for words in (("-m", "monolith.migrate"), ("-m", "monolith.cli", "migrate")):
        done = subprocess.run(
            [sys.executable, *words], env=process_environment(**environment), cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert complaint in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
