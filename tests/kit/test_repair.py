"""`diff --repair` gives the other side the owner's rows, under writers too, and never writes at the owner."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import psycopg
import pytest

from strangler.diff import Diff
from strangler.errors import StranglerError
from strangler.move import Move
from strangler.repair import Repair, drop_origin
from tests.kit.conftest import QuickMove, Shop
from tests.kit.test_cli import strangler
from tests.kit.test_diff import ZOO_DAMAGES, differences
from tests.kit.zoo import NAME, make_zoo


@pytest.fixture
def move(shop: Shop) -> QuickMove:
    """A move that has been created."""
    one = shop.move()
    one.create()
    return one


def repair(move: Move) -> tuple[list[tuple[str, str]], list[str]]:
    """What was repaired (key and kind), and the keys of what is left."""
    done = list(Repair(move).run(Diff(move, chunk_rows=300).run()))
    repaired = sorted((one.difference.key, one.difference.kind) for one in done if one.repaired)
    return repaired, sorted(one.difference.key for one in done if not one.repaired)


def origins(shop: Shop) -> list[str]:
    found = shop.run("stock", "SELECT roname FROM pg_replication_origin WHERE roname LIKE 'strangler%'")
    found += shop.run("monolith", "SELECT roname FROM pg_replication_origin WHERE roname LIKE 'strangler%'")
    return [name for (name,) in found]


def versions(shop: Shop, site: str) -> list[object]:
    """Every row's version and place: any write at all would change them."""
    return shop.run(site, "SELECT id, xmin::text, ctid::text FROM items ORDER BY id")


def test_missing_different_extra_and_swapped_unique_rows_are_repaired(shop: Shop, move: QuickMove) -> None:
    before = versions(shop, "monolith")
    shop.damage("stock", "DELETE FROM items WHERE id = 1")
    shop.damage("stock", "UPDATE items SET note = NULL WHERE id = 2")
    shop.damage("stock", "INSERT INTO items (id, name) VALUES (9000, 'extra')")
    shop.damage("stock", "DELETE FROM places WHERE slot = 9")
    # A unique value of another row: within a batch, and between the first and the last.
    for one, other in ((10, 11), (12, 2999)):
        shop.damage("stock", f"UPDATE items SET name = 'swap' WHERE id = {one}")
        shop.damage("stock", f"UPDATE items SET name = 'item {one}' WHERE id = {other}")
        shop.damage("stock", f"UPDATE items SET name = 'item {other}' WHERE id = {one}")
    expected = {
        ("1", "missing"), ("2", "different"), ("9000", "extra"), ("a,9", "missing"),
        ("10", "different"), ("11", "different"), ("12", "different"), ("2999", "different"),
    }  # fmt: skip
    assert repair(move) == (sorted(expected), [])
    assert differences(move) == []
    assert shop.rows("monolith") == shop.rows("stock")
    move.back.catch_up(30)
    assert versions(shop, "monolith") == before
    assert origins(shop) == []


def test_unique_values_that_went_round_from_batch_to_batch_are_repaired(
    shop: Shop, move: QuickMove, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strangler.repair.BATCH_ROWS", 3)
    shop.damage("stock", "UPDATE items SET name = name || '?' WHERE id <= 8")
    shop.damage("stock", "UPDATE items SET name = 'item ' || 1 + id % 8 WHERE id <= 8")
    repaired, left = repair(move)
    assert (len(repaired), left) == (8, [])
    assert differences(move) == []


def test_rows_of_every_type_are_repaired_to_the_last_bit(shop: Shop) -> None:
    make_zoo(shop, 60)
    move = shop.move()
    move.create()
    for damage in ZOO_DAMAGES:
        shop.damage("stock", f"UPDATE {NAME} SET {damage}")
    shop.damage("stock", f"DELETE FROM {NAME} WHERE n > 50")
    shop.damage("stock", "DELETE FROM public.parted WHERE id = 7")
    shop.damage("stock", "UPDATE public.parted SET note = '' WHERE id = 8")
    repaired, left = repair(move)
    # 20 rows that differ (-0 against 0.3 too), one whose key did (twice), ten that were gone, and four parts' rows.
    assert (len(repaired), left) == (20 + 2 + 10 + 4, [])
    assert differences(move) == []


def test_after_a_switch_it_is_the_source_that_is_repaired(shop: Shop, move: QuickMove) -> None:
    move.switch()
    before = versions(shop, "stock")
    shop.damage("monolith", "DELETE FROM items WHERE id = 5")
    assert repair(move) == ([("5", "missing")], [])
    assert differences(move) == []
    move.forward.catch_up(30)
    assert versions(shop, "stock") == before


def test_a_row_that_somebody_has_locked_is_left_and_nothing_is_lost(
    shop: Shop, move: QuickMove, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strangler.repair.ROUNDS", 1)
    shop.damage("stock", "DELETE FROM items WHERE id IN (5, 6)")
    writer = shop.connect("monolith")
    with writer.transaction():
        writer.execute("UPDATE items SET note = 'written meanwhile' WHERE id = 5")
        assert repair(move) == ([("6", "missing")], ["5"])
    assert repair(move) == ([("5", "missing")], [])
    assert shop.run("stock", "SELECT note FROM items WHERE id = 5") == [("written meanwhile",)]


def test_repair_under_writers_of_the_very_same_rows_loses_no_write(shop: Shop, move: QuickMove) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()
    written: dict[int, str] = {}

    def write(offset: int) -> None:
        try:
            with psycopg.connect(shop.dsn["monolith"], autocommit=True) as connection:
                number = 0
                while not stop.is_set():
                    row = 1 + offset + 4 * (number % 8)
                    connection.execute("UPDATE items SET note = %s WHERE id = %s", (f"w{number}", row))
                    written[row] = f"w{number}"
                    number += 1
                    stop.wait(0.001)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            shop.damage("stock", "DELETE FROM items WHERE id <= 32 AND id % 2 = 0")
            shop.damage("stock", "UPDATE items SET weight = 7 WHERE id <= 32 AND id % 2 = 1")
            shop.damage("stock", "INSERT INTO items (id, name) SELECT g, g::text FROM generate_series(9001, 9005) g")
            _, left = repair(move)
            assert left == []
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert differences(move) == []
    assert shop.rows("monolith") == shop.rows("stock")
    assert dict(shop.run("stock", "SELECT id, note FROM items WHERE id <= 32")) == written
    for stream in (move.forward, move.back):
        found = stream.subscription()
        assert found is not None
        assert found["working"]
        assert found["apply_errors"] == 0


def test_a_killed_repair_leaves_nothing_once_the_next_or_cancel_has_been(shop: Shop, move: QuickMove) -> None:
    shop.damage("stock", "DELETE FROM items WHERE id <= 500")
    repairing = Repair(move)
    with repairing._sessions() as (here, there):
        assert len(origins(shop)) == 1
        for connection in (here, there):
            connection.close()  # as SIGKILL would
    assert len(origins(shop)) == 1
    drop_origin(move.target, "stock")
    drop_origin(move.target, "stock")
    drop_origin(move.source, "stock")
    assert origins(shop) == []
    with repairing._sessions() as (here, there):
        for connection in (here, there):
            connection.close()
    repaired, left = repair(move)
    assert (len(repaired), left) == (500, [])
    assert origins(shop) == []


def test_a_role_that_may_not_repair_is_told_what_it_lacks(shop: Shop, move: QuickMove) -> None:
    shop.damage("stock", "DELETE FROM items WHERE id = 1")
    shop.run("stock", "DO $$ BEGIN CREATE ROLE modest LOGIN PASSWORD 'secret'; EXCEPTION WHEN OTHERS THEN END $$")
    repairing = Repair(move)
    repairing._other.dsn = repairing._other.dsn.replace("postgres:secret", "modest:secret")
    with pytest.raises(StranglerError, match=r"stock: this role may not repair .*GRANT SET ON PARAMETER"):
        list(repairing.run([]))


def test_the_command_tells_what_it_repaired_and_prints_no_more_than_the_limit(shop: Shop, tmp_path: Path) -> None:
    shop.move().create()
    shop.damage("stock", "DELETE FROM items WHERE id <= 5")
    shop.close()
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    found = strangler(tmp_path, "move", "stock", "diff", "--json", "--limit", "2", **dsn)
    assert found.returncode == 1
    data = json.loads(found.stdout)
    assert (data["rows"], len(data["differences"]), data["differing"]) == (3500, 2, 5)
    repaired = strangler(tmp_path, "move", "stock", "diff", "--repair", "--jobs", "1", "--max-load", "50", **dsn)
    assert repaired.returncode == 0, repaired.stderr
    assert "public.items 5: missing, repaired" in repaired.stdout
    assert "3500 rows compared, 0 differ, 5 repaired" in repaired.stdout
    again = strangler(tmp_path, "move", "stock", "diff", "--json", **dsn)
    assert (again.returncode, json.loads(again.stdout)["differences"]) == (0, [])
