"""`diff` finds every difference, and none that is not there, while writes go on."""

from __future__ import annotations

import pytest

from strangler.diff import Diff
from tests.kit.conftest import Shop, Writers


@pytest.mark.parametrize(
    ("damage", "key", "kind"),
    [
        ("UPDATE items SET name = 'item 1700x' WHERE id = 1700", "1700", "different"),
        ("UPDATE items SET note = '' WHERE id = 3", "3", "different"),  # NULL against ''
        ("UPDATE items SET weight = 0.30000000000000004 WHERE id = 4", "4", "different"),  # against 0.3
        ("UPDATE items SET seen = seen + interval '1 microsecond' WHERE id = 5", "5", "different"),
        ("DELETE FROM items WHERE id = 2999", "2999", "missing"),
        ("INSERT INTO items (id, name) VALUES (999999, 'extra')", "999999", "extra"),
        ("UPDATE places SET item_id = item_id + 1 WHERE slot = 250", "a,250", "different"),
    ],
)
def test_every_kind_of_damage_is_found_and_named(shop: Shop, damage: str, key: str, kind: str) -> None:
    shop.run("monolith", "UPDATE items SET note = NULL WHERE id = 3")
    shop.run("monolith", "UPDATE items SET weight = 0.3 WHERE id = 4")
    move = shop.move()
    move.create()
    assert list(Diff(move, chunk_rows=100).run()) == []
    shop.damage("stock", damage)
    assert [(found.key, found.kind) for found in Diff(move, chunk_rows=100).run()] == [(key, kind)]


def test_values_swapped_between_two_rows_are_found(shop: Shop) -> None:
    move = shop.move()
    move.create()
    shop.damage("stock", "UPDATE items SET note = id::text WHERE id IN (10, 11)")
    shop.damage("monolith", "UPDATE items SET note = (21 - id)::text WHERE id IN (10, 11)")
    assert [found.key for found in Diff(move).run()] == ["10", "11"]


def test_no_false_alarm_while_the_same_rows_are_written_over_and_over(shop: Shop, writers: Writers) -> None:
    with writers:
        move = shop.move()
        move.create()
        writers.sites = list(shop.dsn)
        for _ in range(5):
            writers.wait_for(20)
            assert list(Diff(move, chunk_rows=500).run()) == []
        shop.damage("stock", "DELETE FROM items WHERE id = 77")
        assert [found.key for found in Diff(move, chunk_rows=500).run()] == ["77"]


def test_after_a_switch_the_target_is_what_is_compared_with(shop: Shop) -> None:
    move = shop.move()
    move.create()
    move.switch()
    shop.damage("monolith", "DELETE FROM items WHERE id = 5")
    assert [(found.key, found.kind) for found in Diff(move).run()] == [("5", "missing")]
