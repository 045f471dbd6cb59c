"""What a move promises (DESIGN, invariants I1 to I5), on real clusters, while writers write."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from strangler.config import Config
from strangler.diff import Diff
from strangler.errors import NotYetError, StranglerError
from strangler.fence import is_fenced
from strangler.handover import Limits
from strangler.status import status
from tests.kit.conftest import QuickMove, Shop, Writers, passing


def test_to_and_fro_under_load_loses_nothing_and_leaves_both_sides_equal(shop: Shop, writers: Writers) -> None:
    with writers:
        move = shop.move()
        move.create()
        writers.sites = list(shop.dsn)
        for _ in range(3):
            writers.wait_for(40)
            assert move.switch().owner == "stock"
            writers.wait_for(40)
            assert move.reverse().owner == "monolith"
        move.switch()
        writers.wait_for(40)
    move.forward.catch_up(30)
    move.back.catch_up(30)
    writers.check("stock")
    assert writers.hops >= 7
    assert shop.rows("monolith") == shop.rows("stock")
    assert list(Diff(move).run()) == []
    actions = [(event["action"], event["epoch"]) for event in move.events.all()]
    turns = zip(["switch", "reverse"] * 3 + ["switch"], range(2, 9), strict=True)
    assert actions == [
        ("create", 1), ("ready", 1), *((action, epoch) for turn, epoch in turns for action in (turn, "arrived")),
        ("diff", 8),
    ]  # fmt: skip


def test_fence_switched_off_is_noticed(shop: Shop, writers: Writers) -> None:
    """Negative control of the test above: two owners hand out the same ids."""
    with writers:
        move = shop.move()
        move.create()
        writers.sites = list(shop.dsn)
        for name in ("items", "places"):
            shop.run("monolith", f"DROP TRIGGER strangler_fence ON {name}")
        with pytest.raises(NotYetError, match=r"\[fence\] monolith: no fence on public.items, public.places"):
            move.switch()
        move.switch(passing("fence"))
        writers.wait_for(100)
    with pytest.raises(AssertionError):
        writers.check("stock")


def test_sequences_not_moved_is_noticed(shop: Shop, writers: Writers) -> None:
    """Negative control: the new owner begins to count at 1."""
    with writers:
        move = shop.move()
        move.create()
        writers.sites = list(shop.dsn)
        shop.run("stock", "ALTER TABLE strangler.ownership DISABLE TRIGGER arrive")
        with pytest.raises(NotYetError, match=r"\[fence\] stock: sequences would not go on"):
            move.switch()
        move.switch(passing("fence"))
        writers.wait_for(50)
    with pytest.raises(AssertionError):
        writers.check("stock")


def test_only_the_owner_accepts_writes_whoever_writes(shop: Shop) -> None:
    move = shop.move()
    move.create()
    for owner, other in (("monolith", "stock"), ("stock", "monolith")):
        shop.run(owner, "UPDATE items SET note = 'mine' WHERE id = 1")
        for statement in (
            "INSERT INTO items (name) VALUES ('theirs')",
            "UPDATE items SET note = 'theirs' WHERE id = 1",
            "UPDATE places SET item_id = NULL WHERE false",
            "DELETE FROM places",
            "TRUNCATE items CASCADE",
        ):
            with pytest.raises(psycopg.Error) as refused:
                shop.run(other, statement)
            assert is_fenced(refused.value), refused.value
        if owner == "monolith":
            move.switch()


def test_a_snapshot_older_than_the_switch_cannot_write(shop: Shop) -> None:
    move = shop.move()
    move.create()
    old = shop.connect("monolith")
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    old.execute("SELECT count(*) FROM items")
    move.switch()
    with pytest.raises(psycopg.errors.SerializationFailure):
        old.execute("INSERT INTO items (name) VALUES ('too late')")


def test_sequences_go_on_where_they_stood_even_after_a_deleted_last_row(shop: Shop) -> None:
    move = shop.move()
    move.create()
    last = shop.run("monolith", "INSERT INTO items (name) VALUES ('last') RETURNING id")[0][0]
    shop.run("monolith", "DELETE FROM items WHERE id = %s", (last,))
    move.switch()
    assert shop.run("stock", "INSERT INTO items (name) VALUES ('next') RETURNING id") == [(last + 1,)]
    move.reverse()
    assert shop.run("monolith", "INSERT INTO items (name) VALUES ('third') RETURNING id") == [(last + 2,)]


def test_sequences_set_from_the_rows_would_hand_out_an_id_twice(shop: Shop) -> None:
    """Negative control: the way DESIGN forbids."""
    move = shop.move()
    move.create()
    shop.run("stock", "ALTER TABLE strangler.ownership DISABLE TRIGGER arrive")
    last = shop.run("monolith", "INSERT INTO items (name) VALUES ('last') RETURNING id")[0][0]
    shop.run("monolith", "DELETE FROM items WHERE id = %s", (last,))
    move.switch(passing("fence"))
    shop.run("stock", "SELECT setval('items_id_seq', (SELECT max(id) FROM items))")
    assert shop.run("stock", "INSERT INTO items (name) VALUES ('next') RETURNING id") == [(last,)]


def test_a_switch_that_finds_a_long_writer_changes_nothing_and_succeeds_later(shop: Shop) -> None:
    move = shop.move()
    move.create()
    writer = shop.connect("monolith")
    writer.execute("BEGIN")
    writer.execute("UPDATE items SET note = 'long' WHERE id = 7")
    with pytest.raises(NotYetError, match=r"nothing has changed: pid .* has written in a transaction"):
        move.switch(Limits(tries=2, override=frozenset({"diff"})))
    shop.run("monolith", "UPDATE items SET note = 'others go on' WHERE id = 8")
    assert move.owner().owner == "monolith"
    writer.execute("COMMIT")
    assert move.switch().owner == "stock"
    assert shop.run("stock", "SELECT note FROM items WHERE id = 7") == [("long",)]


def test_create_waits_for_who_has_written_elsewhere_and_stops_nobody(shop: Shop) -> None:
    """A slot begins only after every open transaction has ended, however long that takes."""
    writer = shop.connect("monolith")
    writer.execute("CREATE TEMP TABLE other (id int)")
    writer.execute("BEGIN")
    writer.execute("INSERT INTO other VALUES (1)")
    with ThreadPoolExecutor(1) as pool:
        created = pool.submit(shop.move().create)
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_create_log%' AND wait_event = 'transactionid'"
        )
        began = time.monotonic()
        while time.monotonic() < began + 1.0 or shop.run("monolith", waits) == [(0,)]:
            shop.run("monolith", "UPDATE items SET note = 'not held up' WHERE id = 1")
            assert time.monotonic() < began + 60
        writer.execute("COMMIT")
        created.result(60)


def test_every_verb_can_be_repeated(shop: Shop) -> None:
    for verb in ("create", "create", "switch", "switch", "create", "reverse", "reverse", "cancel", "cancel", "create"):
        getattr(shop.move_again(), verb)()
    assert status(shop.move_again())["state"] == "ready"


def test_cancel_leaves_both_catalogues_as_they_were(shop: Shop) -> None:
    before = {site: shop.catalogue(site) for site in shop.dsn}
    rows = shop.rows("monolith")
    move = shop.move()
    move.create()
    assert {site: shop.catalogue(site) for site in shop.dsn} != before
    assert ("orders_item",) not in shop.run("monolith", "SELECT conname FROM pg_constraint")
    assert move.cancel() == []
    assert {site: shop.catalogue(site) for site in shop.dsn} == before
    assert (shop.rows("monolith"), shop.rows("stock")) == (rows, [])


def test_cancel_after_reverse_keeps_what_was_written_at_the_target(shop: Shop) -> None:
    move = shop.move()
    move.create()
    move.switch()
    shop.run("stock", "INSERT INTO items (name) VALUES ('there')")
    with pytest.raises(StranglerError, match="run `reverse` first"):
        move.cancel()
    move.reverse()
    move.cancel()
    assert shop.run("monolith", "SELECT count(*) FROM items WHERE name = 'there'") == [(1,)]


def test_a_foreign_key_that_no_longer_holds_is_put_back_for_new_rows_and_named(shop: Shop) -> None:
    move = shop.move()
    move.create()
    shop.run("monolith", "INSERT INTO orders (item_id) VALUES (999999)")
    (warning,) = move.cancel()
    assert "orders_item" in warning
    assert "999999" in warning
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shop.run("monolith", "INSERT INTO orders (item_id) VALUES (999998)")


def test_a_second_controller_is_turned_away(shop: Shop) -> None:
    with shop.move(), pytest.raises(StranglerError, match="another strangler process"):
        shop.move()


def test_a_conflict_shows_in_status(shop: Shop) -> None:
    move = shop.move()
    move.create()
    shop.damage("stock", "INSERT INTO items (id, name) VALUES (90001, 'clash')")
    shop.run("monolith", "INSERT INTO items (id, name) VALUES (90001, 'mine')")
    for _ in range(3000):
        if alarms := status(move)["alarms"]:
            break
        shop.run("monolith", "SELECT pg_sleep(0.01)")
    assert any("PostgreSQL log of stock" in alarm for alarm in alarms)
    with pytest.raises(NotYetError):
        move.forward.catch_up(1)
    shop.damage("stock", "DELETE FROM items WHERE id = 90001")
    move.forward.catch_up(60)
    assert list(Diff(move).run()) == []


def test_two_moves_share_a_foreign_key_and_the_last_to_be_cancelled_puts_it_back(shop: Shop) -> None:
    shop.run("stock", "CREATE TABLE orders (id serial PRIMARY KEY, item_id bigint NOT NULL)")
    data = shop.config.model_dump(by_alias=True)
    data["modules"]["orders"] = {
        "source": "monolith", "target": "stock", "tables": ["public.orders"], "routes": ["/orders"],
    }  # fmt: skip
    before = {site: shop.catalogue(site) for site in shop.dsn}
    config = Config.model_validate(data)
    with QuickMove(config, "stock") as stock, QuickMove(config, "orders") as orders:
        stock.create()
        orders.create()
        for move in (stock, orders):
            move.switch()
        shop.run("stock", "INSERT INTO orders (item_id) VALUES (1)")
        for move in (stock, orders):
            move.reverse()
        stock.cancel()
        assert ("orders_item",) not in shop.run("monolith", "SELECT conname FROM pg_constraint")
        assert list(Diff(orders).run()) == []
        orders.cancel()
    assert {site: shop.catalogue(site) for site in shop.dsn} == before
