"""The fence: at the owner it is down until a switch raises it, and nobody gets past it then. It runs with the rights
and the search_path of whoever writes: neither may make it err."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from psycopg import IsolationLevel

from strangler.database import Database
from strangler.errors import NotYetError
from strangler.fence import is_fenced
from strangler.handover import Limits
from strangler.move import Move
from strangler.sql import LOCK_CLASS
from strangler.status import status
from tests.kit.conftest import Shop, passing
from tests.servers import wait_for

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


UP = {"public.items": True, "public.places": True}
DOWN = dict.fromkeys(UP, False)
LIMITS = Limits(tries=3, override=passing().override)


def test_it_is_down_at_the_owner_and_nowhere_else(shop: Shop) -> None:
    move = shop.move()
    move.create()
    for _ in range(2):
        assert [move.fences(move.source), move.fences(move.target)] == [DOWN, UP]
        move.switch()
        assert [move.fences(move.source), move.fences(move.target)] == [UP, DOWN]
        move.reverse()


@pytest.mark.parametrize("level", list(IsolationLevel))
def test_who_prepared_or_looked_before_it_went_up_is_refused_all_the_same(shop: Shop, level: IsolationLevel) -> None:
    move = shop.move()
    move.create()
    with psycopg.connect(shop.dsn["monolith"], prepare_threshold=0) as early:
        early.isolation_level = level
        insert = "INSERT INTO items (name) VALUES (%s)"
        for n in range(7):  # from the sixth on with a plan that is kept
            early.execute(insert, (f"early {n}",))
        early.commit()
        early.execute("SELECT FROM items")
        move.switch()
        with pytest.raises(psycopg.Error) as refused:
            early.execute(insert, ("late",))
        assert is_fenced(refused.value) or isinstance(refused.value, psycopg.errors.SerializationFailure)


def test_without_it_up_nothing_is_handed_over(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a writer that holds no lock would be overlooked."""
    move = shop.move()
    move.create()
    writer = shop.connect("monolith")
    writer.execute("BEGIN")
    writer.execute("INSERT INTO items (name) VALUES ('under way')")
    monkeypatch.setattr(Move, "raise_fences", lambda *_: None)
    with pytest.raises(NotYetError, match="nothing has changed"):
        move.switch(LIMITS)
    fences = Move.fences
    monkeypatch.setattr(Move, "fences", lambda self, database: dict.fromkeys(fences(self, database), True))
    assert move.switch(LIMITS).owner == "stock"
    writer.execute("COMMIT")
    assert shop.run("monolith", "SELECT count(*) FROM items WHERE name = 'under way'") == [(1,)], "a second owner"


def test_a_dead_controller_that_lowers_it_is_waited_for(shop: Shop) -> None:
    """Killed while its COMMIT was under way; a switch must not count on a fence that is just going down."""
    move = shop.move()
    move.create()
    move.raise_fences(move.source)
    dead = shop.connect("monolith")
    dead.execute("BEGIN")
    dead.execute("SELECT pg_advisory_xact_lock_shared(%s, hashtext('stock'))", (LOCK_CLASS,))
    dead.execute("ALTER TABLE items DISABLE TRIGGER strangler_fence")
    with ThreadPoolExecutor(1) as pool:
        switched = pool.submit(move.switch)
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_for(lambda: shop.run("monolith", waits) == [(1,)], "the switch to wait")
        dead.execute("COMMIT")
        assert switched.result(60).owner == "stock"
    assert move.fences(move.source) == UP


def test_where_it_cannot_be_lowered_it_stays_up_and_create_lowers_it_later(shop: Shop) -> None:
    move = shop.move()
    move.create()
    busy = shop.connect("stock")
    busy.execute("BEGIN")
    busy.execute("LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE")
    assert move.switch().fences_up == ["public.items"]
    assert "stock: the fence of public.items is up" in "".join(status(move)["alarms"])
    shop.run("stock", "INSERT INTO items (name) VALUES ('all the same')")
    busy.execute("COMMIT")
    move.create()
    assert move.fences(move.target) == DOWN
    assert not status(move)["alarms"]


@pytest.fixture
def slowly_vacuumed(shop: Shop) -> Iterator[Shop]:
    """Autovacuum comes to the owner's items as soon as a row changes, and takes half a minute."""
    options = {"threshold": 0, "scale_factor": 0, "cost_limit": 1, "cost_delay": 100}
    settings = ", ".join(f"autovacuum_vacuum_{name} = {value}" for name, value in options.items())
    shop.run("monolith", f"ALTER TABLE items SET ({settings})")
    shop.run(
        "monolith", "INSERT INTO items (name, note) SELECT 'x' || g, repeat('x', 99) FROM generate_series(1, 9000) g"
    )
    admin = shop.connect("monolith")
    admin.execute("ALTER SYSTEM SET autovacuum_naptime = 1")
    admin.execute("SELECT pg_reload_conf()")
    yield shop
    admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
    admin.execute("SELECT pg_reload_conf()")


def vacuuming(shop: Shop) -> bool:
    query = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'items'::regclass"
    return bool(shop.run("monolith", query) == [(1,)])


def test_autovacuum_gives_way_to_a_switch(slowly_vacuumed: Shop) -> None:
    move = slowly_vacuumed.move()
    move.create()
    slowly_vacuumed.run("monolith", "UPDATE items SET note = 'new'")
    wait_for(lambda: vacuuming(slowly_vacuumed), "autovacuum")
    move.source.connection.execute("RESET deadlock_timeout")  # as for a user who may not set it
    with pytest.raises(NotYetError, match=r"is autovacuum, .* GRANT SET ON PARAMETER deadlock_timeout"):
        move.switch(LIMITS)
    assert vacuuming(slowly_vacuumed)
    move.source.run("send_autovacuum_away")
    assert move.switch(LIMITS).owner == "stock"


def test_autovacuum_gives_way_to_whatever_wants_a_lock(slowly_vacuumed: Shop) -> None:
    dsn = slowly_vacuumed.dsn["monolith"]
    with closing(Database("monolith", dsn)) as source, closing(Database("monolith", dsn)) as unprivileged:
        unprivileged.connection.execute("RESET deadlock_timeout")
        wait_for(lambda: vacuuming(slowly_vacuumed), "autovacuum")

        def lock(database: Database) -> None:
            with database.transaction():
                database.connection.execute("LOCK TABLE public.items IN SHARE ROW EXCLUSIVE MODE")

        with pytest.raises(NotYetError, match="if it is autovacuum, GRANT SET ON PARAMETER deadlock_timeout"):
            unprivileged.patiently("lock", lambda: lock(unprivileged), seconds=2)
        assert vacuuming(slowly_vacuumed)
        source.patiently("lock", lambda: lock(source), seconds=10)
