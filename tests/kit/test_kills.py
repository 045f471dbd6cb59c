"""I3: a verb can be killed before any statement that changes something, and before any commit; then it can be run again
or turned round. At each such point in turn, from the same beginning, while writers write."""

from __future__ import annotations

import random
import time

import psycopg
import pytest

from strangler.move import Move
from strangler.status import status
from tests.kit.conftest import Shop, Writers
from tests.kit.kills import at_each_point, begin, catalogues, command, is_free, require_equal, state
from tests.servers import wait_for


@pytest.mark.parametrize(("verb", "back", "giver"), [("switch", "reverse", "monolith"), ("reverse", "switch", "stock")])
def test_switch_and_reverse(shop: Shop, few_writers: Writers, verb: str, back: str, giver: str) -> None:
    taker = "stock" if giver == "monolith" else "monolith"

    def turned_round() -> None:
        assert not command(shop, back)
        assert state(shop)[1] == giver
        few_writers.wait_for(2)

    def finished() -> None:
        assert not command(shop, verb)
        assert state(shop)[1] == taker
        few_writers.wait_for(2)
        turned_round()

    with few_writers:
        assert not command(shop, "create")
        few_writers.sites = list(shop.dsn)
        if giver == "stock":
            assert not command(shop, "switch")
        assert at_each_point(shop, verb, turned_round) > 5
        turned_round()
        assert at_each_point(shop, verb, finished) > 5
        few_writers.wait_for(10)
    require_equal(shop, few_writers, taker)


def test_cancel(indexed: Shop, few_writers: Writers) -> None:
    before = catalogues(indexed)

    def begun_again() -> None:
        assert not command(indexed, "create")
        assert state(indexed) == ("ready", "monolith")
        few_writers.wait_for(2)

    def finished() -> None:
        assert not command(indexed, "cancel")
        assert catalogues(indexed) == before
        begun_again()

    with few_writers:
        assert not command(indexed, "create")
        assert at_each_point(indexed, "cancel", begun_again) > 15
        assert catalogues(indexed) == before
        begun_again()
        assert at_each_point(indexed, "cancel", finished) > 15
    assert catalogues(indexed) == before
    few_writers.check("monolith")


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
        few_writers = Writers(shop, 2)
        few_writers.sites = ["stock"]
        with few_writers:
            few_writers.wait_for(2)
            assert not command(shop, "complete", force=True)
            few_writers.wait_for(2)
        few_writers.check("stock")
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


def test_killed_at_any_moment_over_and_over(indexed: Shop, few_writers: Writers) -> None:
    """In the middle of statements too: what a dead controller was at may go on for a moment without it."""
    before = catalogues(indexed)
    with few_writers:
        for _ in range(12):
            verb = random.choice(["create", "create", "cancel"])
            process = begin(indexed, verb)
            time.sleep(random.uniform(0.02, 0.4))
            process.kill()
            process.join(10)
        assert not command(indexed, "create")
        few_writers.sites = list(indexed.dsn)
        for _ in range(12):
            verb = random.choice(["switch", "reverse"])
            process = begin(indexed, verb)
            time.sleep(random.uniform(0.02, 0.15))
            process.kill()
            process.join(10)
            few_writers.wait_for(1)
        assert not command(indexed, "reverse")
        few_writers.wait_for(5)
    require_equal(indexed, few_writers, "monolith")
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
