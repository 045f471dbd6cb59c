"""I3: a verb can be killed before any statement that changes something, and before any commit; then it can be run again
or turned round. At each such point in turn, from the same beginning, while writers write."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from strangler.config import Config
from strangler.database import Database
from strangler.diff import Diff
from strangler.errors import AwayError
from strangler.move import Move
from strangler.sql import changes
from strangler.status import status
from tests.kit.conftest import QuickMove, Shop, Writers
from tests.servers import wait_for

# One process that has imported everything; each command is a fork of it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.kit.test_kills"])


def work(config: dict[str, Any], verb: str, options: dict[str, Any], point: int | None) -> None:
    """A verb in a process of its own, which kills itself with -9 at a point, if it comes there."""
    left = count(0 if point is None else point, -1)
    run = Database.run

    def die_here() -> None:
        if point is not None and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: Database, name: str, /, *words: Any, **pieces: Any) -> list[dict[str, Any]]:
        if not changes(name):
            return run(self, name, *words, **pieces)
        die_here()
        found = run(self, name, *words, **pieces)
        if self.connection.info.transaction_status == TransactionStatus.INTRANS:
            die_here()
        return found

    Database.run = counted  # type: ignore[method-assign]
    with QuickMove(Config.model_validate(config), "stock") as move:
        getattr(move, verb)(**options)


def begin(shop: Shop, verb: str, point: int | None = None, **options: Any) -> Any:
    shop.close()
    process = FORKS.Process(target=work, args=(shop.config.model_dump(by_alias=True), verb, options, point))
    process.start()
    return process


def command(shop: Shop, verb: str, point: int | None = None, **options: Any) -> bool:
    """Whether it was killed."""
    process = begin(shop, verb, point, **options)
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), f"{verb} killed at {point} failed; see above"
    return bool(process.exitcode)


def is_free(shop: Shop) -> bool:
    """Of a controller that was killed PostgreSQL knows after a moment."""
    try:
        with Move(shop.config, "stock"):
            return True
    except AwayError:
        return False


def state(shop: Shop) -> tuple[str, str]:
    with Move(shop.config, "stock", exclusive=False) as move:
        found = status(move)
    return found["state"], found["owner"]


def at_each_point(shop: Shop, verb: str, then: Callable[[], None], **options: Any) -> int:
    """Kill `verb` at each point in turn, and do `then` every time, which must lead back to the beginning."""
    for point in count():
        if not command(shop, verb, point, **options):
            return point
        then()
    raise AssertionError


def catalogues(shop: Shop) -> dict[str, Any]:
    return {site: shop.catalogue(site) for site in shop.dsn}


def require_equal(shop: Shop, writers: Writers, owner: str) -> None:
    """I2 and I4, when nobody writes any more."""
    with Move(shop.config, "stock", exclusive=False) as move:
        assert move.owner().owner == owner
        assert list(Diff(move).run()) == []
        move.forward.catch_up(30)
        move.back.catch_up(30)
    assert shop.rows("monolith") == shop.rows("stock")
    writers.check(owner)


@pytest.fixture
def writers(shop: Shop) -> Writers:
    """Few and slow: what they write is copied again after every kill."""
    return Writers(shop, 2, pause=0.02)


@pytest.fixture
def indexed(shop: Shop) -> Shop:
    """With a secondary index at the target, which create puts aside."""
    shop.run("stock", "CREATE INDEX by_note ON items (note)")
    return shop


def test_create(indexed: Shop, writers: Writers) -> None:
    before = catalogues(indexed)

    def cancelled() -> None:
        assert not command(indexed, "cancel")
        assert catalogues(indexed) == before
        writers.wait_for(2)

    def finished() -> None:
        assert not command(indexed, "create")
        assert state(indexed) == ("ready", "monolith")
        writers.wait_for(2)
        cancelled()

    with writers:
        points = at_each_point(indexed, "create", cancelled)
        assert points > 30
        assert not command(indexed, "cancel")
        assert at_each_point(indexed, "create", finished) == points
        writers.wait_for(10)
    require_equal(indexed, writers, "monolith")


@pytest.mark.parametrize(("verb", "back", "giver"), [("switch", "reverse", "monolith"), ("reverse", "switch", "stock")])
def test_switch_and_reverse(shop: Shop, writers: Writers, verb: str, back: str, giver: str) -> None:
    taker = "stock" if giver == "monolith" else "monolith"

    def turned_round() -> None:
        assert not command(shop, back)
        assert state(shop)[1] == giver
        writers.wait_for(2)

    def finished() -> None:
        assert not command(shop, verb)
        assert state(shop)[1] == taker
        writers.wait_for(2)
        turned_round()

    with writers:
        assert not command(shop, "create")
        writers.sites = list(shop.dsn)
        if giver == "stock":
            assert not command(shop, "switch")
        points = at_each_point(shop, verb, turned_round)
        assert points > 5
        turned_round()
        assert at_each_point(shop, verb, finished) == points
        writers.wait_for(10)
    require_equal(shop, writers, taker)


def test_cancel(indexed: Shop, writers: Writers) -> None:
    before = catalogues(indexed)

    def begun_again() -> None:
        assert not command(indexed, "create")
        assert state(indexed) == ("ready", "monolith")
        writers.wait_for(2)

    def finished() -> None:
        assert not command(indexed, "cancel")
        assert catalogues(indexed) == before
        begun_again()

    with writers:
        assert not command(indexed, "create")
        points = at_each_point(indexed, "cancel", begun_again)
        assert points > 15
        assert catalogues(indexed) == before
        begun_again()
        assert at_each_point(indexed, "cancel", finished) == points
    assert catalogues(indexed) == before
    writers.check("monolith")


def test_complete(shop: Shop) -> None:
    def begin_again() -> None:
        """As complete found it: nothing of the kit does that."""
        if shop.run("monolith", "SELECT to_regclass('public.items')") == [(None,)]:
            for name in ("items", "places"):
                shop.run("monolith", f"ALTER TABLE strangler_retired.{name} SET SCHEMA public")
        shop.run("monolith", "DROP SCHEMA IF EXISTS strangler_retired; DROP SCHEMA strangler CASCADE")
        shop.run("monolith", "DELETE FROM items WHERE name LIKE 'w%'")
        shop.run("stock", "DROP SCHEMA strangler CASCADE; TRUNCATE items, places")
        assert not command(shop, "create")
        assert not command(shop, "switch")

    def finished() -> None:
        writers = Writers(shop, 2)
        writers.sites = ["stock"]
        with writers:
            writers.wait_for(2)
            assert not command(shop, "complete", force=True)
            writers.wait_for(2)
        writers.check("stock")
        assert state(shop) == ("complete", "stock")
        assert shop.run("monolith", "SELECT count(*) >= 3000 FROM strangler_retired.items") == [(True,)]
        slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        assert [shop.run(site, slots) for site in shop.dsn] == [[(0,)], [(0,)]]
        begin_again()

    assert not command(shop, "create")
    assert not command(shop, "switch")
    assert at_each_point(shop, "complete", finished, force=True) > 15


def test_a_watch_that_is_killed_leaves_a_stream_at_rest_which_the_next_verb_wakes(shop: Shop) -> None:
    assert not command(shop, "create")
    assert not command(shop, "switch")
    process = begin(shop, "complete", quiet_seconds=60.0)
    at_rest = "SELECT count(*) FROM pg_subscription WHERE subname = 'strangler_stock_back' AND NOT subenabled"
    wait_for(lambda: shop.run("monolith", at_rest) == [(1,)], "the watch")
    process.kill()
    process.join(10)
    with Move(shop.config, "stock", exclusive=False) as move:
        assert any("no apply worker" in alarm for alarm in status(move)["alarms"])
    assert not command(shop, "reverse")
    assert shop.run("monolith", at_rest) == [(0,)]


def test_killed_at_any_moment_over_and_over(indexed: Shop, writers: Writers) -> None:
    """In the middle of statements too: what a dead controller was at may go on for a moment without it."""
    before = catalogues(indexed)
    with writers:
        for _ in range(12):
            verb = random.choice(["create", "create", "cancel"])
            process = begin(indexed, verb)
            time.sleep(random.uniform(0.02, 0.4))
            process.kill()
            process.join(10)
        assert not command(indexed, "create")
        writers.sites = list(indexed.dsn)
        for _ in range(12):
            verb = random.choice(["switch", "reverse"])
            process = begin(indexed, verb)
            time.sleep(random.uniform(0.02, 0.15))
            process.kill()
            process.join(10)
            writers.wait_for(1)
        assert not command(indexed, "reverse")
        writers.wait_for(5)
    require_equal(indexed, writers, "monolith")
    assert not command(indexed, "cancel")
    assert catalogues(indexed) == before


def test_a_dead_controllers_statement_ends_with_it(shop: Shop) -> None:
    """The creation of a slot waits for a long transaction; a killed controller's must not hold the next one up."""
    writer = shop.connect("monolith")
    writer.execute("CREATE TEMP TABLE other (id int)")
    writer.execute("BEGIN")
    writer.execute("INSERT INTO other VALUES (1)")
    shop.opened.remove(writer)
    process = begin(shop, "create")
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_create_log%' AND wait_event = 'transactionid'"
    wait_for(lambda: shop.run("monolith", waits) == [(1,)], "the slot to wait")
    process.kill()
    process.join(10)
    wait_for(lambda: is_free(shop), "the controller's lock, while the transaction goes on")
    writer.execute("COMMIT")
    writer.close()
    assert not command(shop, "create")
    assert state(shop) == ("ready", "monolith")


def test_a_kill_that_loses_the_dropped_indexes_would_be_noticed(indexed: Shop) -> None:
    """Negative control: were a definition not kept in the transaction that drops the index, cancel could not know."""
    before = catalogues(indexed)
    assert not command(indexed, "create")
    with psycopg.connect(indexed.dsn["stock"], autocommit=True) as connection:
        connection.execute("DROP INDEX by_note")
    assert not command(indexed, "cancel")
    assert catalogues(indexed) != before
