"""The end of a move: `complete` goes only when nobody uses the source's tables any more, and says who does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from strangler.errors import NotYetError, StranglerError
from strangler.status import status
from tests.kit.conftest import QuickMove, Shop
from tests.servers import wait_for

QUIET = 4.0
"""Seconds; a session that goes on reads many times in them, and reports at least each second."""


@contextmanager
def reading(shop: Shop, query: str) -> Iterator[list[psycopg.Error]]:
    """A forgotten job that asks the source over and over, until it fails."""
    stop = threading.Event()
    failed: list[psycopg.Error] = []

    def work() -> None:
        with psycopg.connect(shop.dsn["monolith"], autocommit=True, application_name="old cron job") as connection:
            while not stop.wait(0.05) and not failed:
                try:
                    connection.execute(query)
                except psycopg.Error as error:
                    failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield failed
    stop.set()
    thread.join()


@pytest.fixture
def switched(shop: Shop) -> QuickMove:
    move = shop.move()
    move.create()
    move.switch()
    return move


def test_before_a_switch_there_is_nothing_to_complete(shop: Shop) -> None:
    move = shop.move()
    move.create()
    with pytest.raises(StranglerError, match="run `switch` first"):
        move.complete()


def test_it_retires_the_sources_tables(shop: Shop, switched: QuickMove) -> None:
    """Whoever is connected but leaves the tables alone is in nobody's way."""
    shop.connect("monolith", application_name="monolith").execute("SELECT count(*) FROM orders")
    switched.complete(quiet_seconds=1)
    assert status(switched)["state"] == "complete"
    assert shop.run("monolith", "SELECT to_regclass('public.items'), count(*) FROM strangler_retired.items") == [
        (None, 3000)
    ]
    shop.run("stock", "INSERT INTO items (name) VALUES ('free')")
    assert [event["action"] for event in switched.events.all()][-1] == "complete"
    switched.complete()
    with pytest.raises(StranglerError, match="complete"):
        switched.create()


def test_it_drops_them_when_told_to(shop: Shop, switched: QuickMove) -> None:
    switched.complete(quiet_seconds=1, drop=True)
    assert shop.run("monolith", "SELECT to_regclass('public.items'), to_regclass('public.places')") == [(None, None)]
    assert shop.run("monolith", "SELECT count(*) FROM orders") == [(20,)]


def test_a_reader_is_named_and_everything_stays_as_it_was(shop: Shop, switched: QuickMove) -> None:
    with reading(shop, "SELECT count(*) FROM items WHERE name = 'x'"):
        with pytest.raises(NotYetError, match=r"items.*old cron job"):
            switched.complete(quiet_seconds=60)
        assert switched.reverse().owner == "monolith"
        shop.run("monolith", "INSERT INTO items (name) VALUES ('back again')")
        switched.switch()
    switched.complete(quiet_seconds=1)


def test_a_reader_in_a_long_transaction_is_named(shop: Shop, switched: QuickMove) -> None:
    reader = shop.connect("monolith", application_name="report")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM places")
    with pytest.raises(NotYetError, match=r"report \(pid \d+, idle in transaction\)"):
        switched.complete(quiet_seconds=60)


def test_writes_at_the_new_owner_are_no_use_of_the_old_tables(shop: Shop, switched: QuickMove) -> None:
    """The stream back writes to the source's tables; that is us, not a user."""
    for number in range(20):
        shop.run("stock", "INSERT INTO items (name) VALUES (%s)", (f"late {number}",))
    switched.complete(quiet_seconds=QUIET)
    assert shop.run("monolith", "SELECT count(*) FROM strangler_retired.items WHERE name LIKE 'late%'") == [(20,)]


def test_without_the_watch_a_reader_loses_its_tables(shop: Shop, switched: QuickMove) -> None:
    """Negative control: --force."""
    with reading(shop, "SELECT count(*) FROM items WHERE name = 'x'") as failed:
        switched.complete(force=True)
        wait_for(lambda: failed, "the reader to fail")
    assert isinstance(failed[0], psycopg.errors.UndefinedTable)


def test_a_view_stands_in_the_way(shop: Shop, switched: QuickMove) -> None:
    shop.run("monolith", "CREATE VIEW stocked AS SELECT name FROM items")
    with pytest.raises(StranglerError, match=r"public\.stocked shows tables of stock; drop it"):
        switched.complete()
    assert switched.reverse().owner == "monolith"
