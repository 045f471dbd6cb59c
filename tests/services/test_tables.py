"""A service's tables are the monolith's: else its rows could not come and go."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from forum.migrations import upgrade
from tests.services.conftest import Place

SITES = ("users", "topics", "messages")
CROSSING = {"messages_author_id_fkey", "messages_topic_id_fkey", "topics_author_id_fkey"}

COLUMNS = """
SELECT column_name, ordinal_position, data_type, udt_name, is_nullable, column_default, is_identity,
       identity_generation, generation_expression
FROM information_schema.columns WHERE table_schema || '.' || table_name = %s ORDER BY column_name
"""
CONSTRAINTS = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY 1"
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname || '.' || tablename = %s ORDER BY 1"


@pytest.mark.parametrize("site", SITES)
def test_a_services_tables_equal_the_monoliths(place: Callable[[str], Place], site: str) -> None:
    monolith, service = place("monolith"), place(site)
    for table in [*service.config.module(site).tables, "public.outbox"]:
        assert service.query(COLUMNS, (table,)) == monolith.query(COLUMNS, (table,)), table
        assert service.query(INDEXES, (table,)) == monolith.query(INDEXES, (table,)), table
        kept = [each for each in monolith.query(CONSTRAINTS, (table,)) if each[0] not in CROSSING]
        assert service.query(CONSTRAINTS, (table,)) == kept, table


@pytest.mark.parametrize("site", SITES)
def test_models_say_what_migrations_made(place: Callable[[str], Place], site: str) -> None:
    service = place(site)
    models: Any = importlib.import_module(f"services.{site}.models")
    with service.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.Base.metadata) == []


@pytest.mark.parametrize("site", SITES)
def test_migrating_again_changes_nothing(place: Callable[[str], Place], site: str) -> None:
    service = place(site)
    newest = service.query("SELECT version_num FROM alembic_version")
    assert len(newest) == 1
    upgrade(service.url, f"services.{site}:migrations")
    assert service.query("SELECT version_num FROM alembic_version") == newest
