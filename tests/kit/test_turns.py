"""Turning round at the worst moment. The model of the protocol (docs/model) found these; each lost a write once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from strangler import handover
from strangler.errors import NotYetError, StranglerError
from strangler.fence import is_fenced
from strangler.replication import Stream
from strangler.sql import LOCK_CLASS
from tests.kit.conftest import Shop
from tests.servers import wait_for


def test_cancel_waits_for_the_last_writes_of_a_target_that_gave_ownership_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reverse whose row does not arrive: what the target took before it must not be thrown away with the target."""
    move = shop.move()
    move.create()
    move.switch()
    blocker = shop.connect("monolith")
    round_trip = Stream.round_trip

    def then_apply_stops(self: Stream, seconds: float) -> float:
        took = round_trip(self, seconds)
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE items IN EXCLUSIVE MODE")
        shop.run("stock", "INSERT INTO items (name) VALUES ('last write')")
        return took

    monkeypatch.setattr(Stream, "round_trip", then_apply_stops)
    monkeypatch.setattr(handover, "TRAVEL_SECONDS", 1.0)
    with pytest.raises(NotYetError, match="has not arrived"):
        move.reverse()
    with pytest.raises(NotYetError, match="has not arrived"):
        move.cancel()
    monkeypatch.undo()
    blocker.execute("COMMIT")
    move.cancel()
    assert shop.run("monolith", "SELECT count(*) FROM items WHERE name = 'last write'") == [(1,)]


def test_a_slot_that_a_killed_cancel_left_is_made_anew(shop: Shop) -> None:
    """After a crash it may stand before what the old subscription had applied; a new one would apply that again."""
    move = shop.move()
    move.create()
    move.switch()
    shop.run("stock", "UPDATE items SET note = 'old' WHERE id = 1")
    move.reverse()
    for step in ("DISABLE", "SET (slot_name = NONE)"):
        shop.run("monolith", f"ALTER SUBSCRIPTION strangler_stock_back {step}")
    shop.run("monolith", "DROP SUBSCRIPTION strangler_stock_back")
    position = shop.run("stock", "SELECT pg_current_wal_lsn()")[0][0]
    move.create()
    begins = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
    assert shop.run("stock", begins, (position, move.back.slot)) == [(True,)]


def test_cancel_waits_for_who_has_read_that_the_target_owns(shop: Shop) -> None:
    """Without a fence such a transaction would write where nobody looks any more."""
    move = shop.move()
    move.create()
    move.switch()
    # So that the target's schema stays: dropping it would wait by itself.
    shop.run("stock", "INSERT INTO strangler.ownership (module, owner, epoch) VALUES ('other', 'stock', 1)")
    writer = shop.connect("stock")
    writer.execute("BEGIN")
    assert writer.execute("SELECT owner FROM strangler.ownership WHERE module = 'stock'").fetchone() == ("stock",)
    move.reverse()
    with ThreadPoolExecutor(1) as pool:
        cancelled = pool.submit(move.cancel)
        waits = "SELECT count(*) FROM pg_locks WHERE relation = 'strangler.ownership'::regclass AND NOT granted"
        wait_for(lambda: shop.run("stock", waits) == [(1,)], "cancel to wait for the reader")
        with pytest.raises(psycopg.Error) as refused:
            writer.execute("INSERT INTO items (name) VALUES ('where nobody looks')")
        assert is_fenced(refused.value)
        writer.execute("ROLLBACK")
        cancelled.result(60)


def test_complete_does_not_run_into_a_reverse(shop: Shop) -> None:
    """A killed reverse may have its COMMIT still at work; if it lands after `complete`, nobody owns the module."""
    move = shop.move()
    move.create()
    move.switch()
    reverse = shop.connect("stock")
    reverse.execute("BEGIN")
    reverse.execute("SELECT pg_advisory_xact_lock(%s, hashtext('stock'))", (LOCK_CLASS,))
    with pytest.raises(NotYetError, match="a hand-over of stock is under way"):
        move.complete(force=True)
    reverse.execute("UPDATE strangler.ownership SET owner = 'monolith', epoch = epoch + 1 WHERE module = 'stock'")
    reverse.execute("COMMIT")
    with pytest.raises(StranglerError, match="is owned by monolith"):
        move.complete(force=True)
