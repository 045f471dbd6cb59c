"""The fence runs with the rights and the search_path of whoever writes: neither may make it err."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import IsolationLevel

from strangler.fence import is_fenced
from tests.kit.conftest import Shop

CLERK = "clerk"
"""A role that may write items and nothing else."""
LIES = """
CREATE SCHEMA lies;
CREATE FUNCTION lies.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR lies.= (LEFTARG = text, RIGHTARG = text, FUNCTION = lies.yes);
CREATE FUNCTION lies.hashtext(text) RETURNS int LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION lies.current_setting(text) RETURNS text LANGUAGE sql AS $$SELECT 'read committed'$$;
CREATE TABLE lies.ownership AS SELECT 'stock' AS module, 'stock' AS owner, 1::bigint AS epoch;
GRANT USAGE ON SCHEMA lies TO PUBLIC; GRANT SELECT ON lies.ownership TO PUBLIC;
"""


@pytest.fixture
def clerks(shop: Shop) -> Iterator[Shop]:
    for site, cluster in shop.clusters.items():
        shop.run(site, f"CREATE ROLE {CLERK} LOGIN PASSWORD '{cluster.password}'")
        shop.run(site, f"GRANT SELECT, INSERT ON items TO {CLERK}")
        shop.run(site, LIES)
    yield shop
    for site in shop.dsn:
        shop.run(site, f"DROP OWNED BY {CLERK}; DROP ROLE {CLERK}")


@pytest.mark.parametrize("level", list(IsolationLevel))
@pytest.mark.parametrize("path", ["public", "lies, pg_catalog, public", "lies, pg_temp, strangler, pg_catalog, public"])
def test_only_the_owner_takes_a_clerks_write(clerks: Shop, level: IsolationLevel, path: str) -> None:
    clerks.move().create()
    for site, cluster in clerks.clusters.items():
        dsn = psycopg.conninfo.make_conninfo(clerks.dsn[site], user=CLERK, password=cluster.password)
        with psycopg.connect(dsn, options=f"-c search_path={path.replace(' ', '')}") as connection:
            connection.isolation_level = level
            refused: BaseException | None = None
            try:
                connection.execute("INSERT INTO public.items (name) VALUES ('by a clerk')")
            except psycopg.Error as error:
                refused = error
            connection.rollback()
        assert (refused is not None) == (site == "stock"), refused
        assert refused is None or is_fenced(refused), refused
