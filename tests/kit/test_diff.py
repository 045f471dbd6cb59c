"""`diff` finds every difference, and none that is not there, while writes go on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from strangler import diff as diffing
from strangler import preflight
from strangler.diff import Diff, TableProgress
from strangler.diff_run import Difference, DiffRun, last_diff
from strangler.errors import AwayError, NotYetError
from strangler.move import Move
from strangler.rows import Key, Row, Rows, session
from tests.kit.conftest import Shop, Writers
from tests.kit.zoo import NAME, make_zoo


def differences(move: Move, **options: Any) -> list[tuple[str, str]]:
    return sorted((found.key, found.kind) for found in Diff(move, **{"chunk_rows": 300} | options).run())


DAMAGES = {
    "a flipped byte": ("UPDATE items SET name = overlay(name PLACING 'I' FROM 1 FOR 1) WHERE id = {}", "different"),
    "NULL against ''": ("UPDATE items SET note = '' WHERE id = {}", "different"),
    "NULL against text": ("UPDATE items SET note = 'NULL' WHERE id = {}", "different"),
    "a float's last bit": ("UPDATE items SET weight = 0.1::float8 + 0.2::float8 WHERE id = {}", "different"),
    "a time zone": (
        "UPDATE items SET seen = seen AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo' WHERE id = {}",
        "different",
    ),
    "a microsecond": ("UPDATE items SET seen = seen + interval '1 microsecond' WHERE id = {}", "different"),
    "a missing row": ("DELETE FROM items WHERE id = {}", "missing"),
}


@pytest.mark.parametrize("first", [1, 1697, 2994])
def test_every_kind_of_damage_is_found_and_named_at_the_beginning_in_the_middle_and_at_the_end(
    shop: Shop, first: int
) -> None:
    """Each damage is in the first (middle, last) row once, when all take turns in seven rows there."""
    shop.run("monolith", "UPDATE items SET note = NULL, weight = 0.3")
    move = shop.move()
    move.create()
    assert differences(move) == []
    kinds = list(DAMAGES.values())
    damaged = {first + n: kinds[(n + first) % len(kinds)] for n in range(len(kinds))}
    for number, (damage, _) in damaged.items():
        shop.damage("stock", damage.format(number))
    assert differences(move) == sorted((str(number), kind) for number, (_, kind) in damaged.items())


def test_extra_rows_are_found_before_between_and_behind_the_owners(shop: Shop) -> None:
    shop.run("monolith", "DELETE FROM items WHERE id = 1500")
    move = shop.move()
    move.create()
    shop.damage("stock", "INSERT INTO items (id, name) VALUES (-7, 'a'), (1500, 'b'), (999999, 'c')")
    assert differences(move) == [("-7", "extra"), ("1500", "extra"), ("999999", "extra")]


def test_many_extra_rows_in_one_gap_and_an_empty_table_are_compared(shop: Shop) -> None:
    shop.run("monolith", "DELETE FROM places; DELETE FROM items")
    move = shop.move()
    move.create()
    shop.damage("stock", "INSERT INTO items (id, name) SELECT g, g::text FROM generate_series(1, 1234) g")
    assert len(differences(move)) == 1234


def test_values_swapped_between_rows_are_found(shop: Shop) -> None:
    move = shop.move()
    move.create()
    for site, values in (("stock", "id"), ("monolith", "21 - id")):
        shop.damage(site, f"UPDATE items SET note = ({values})::text WHERE id IN (10, 11)")
    assert differences(move) == [("10", "different"), ("11", "different")]


def test_values_swapped_between_columns_are_found(shop: Shop) -> None:
    move = shop.move()
    move.create()
    for site, values in (("stock", "'one', 'two'"), ("monolith", "'two', 'one'")):
        shop.damage(site, f"UPDATE items SET (name, note) = (SELECT {values}) WHERE id = 20")
    assert differences(move) == [("20", "different")]


ZOO_DAMAGES = [
    "note = '' WHERE n = 3",
    "note = NULL WHERE n = 4",
    "note = 'é' || E'\\n\\t' || '\\ 5' WHERE n = 5",
    "amount = 1.00 WHERE n = 6",
    "amount = 'NaN' WHERE n = 7",
    "tags = ARRAY['a', 'NULL', ''] WHERE n = 8",
    "doc = '{\"g\": \"9\"}' WHERE n = 9",
    "span = span + interval '1 microsecond' WHERE n = 10",
    "\"select\" = \"select\" + 0.01::money WHERE n = 11",
    "yes = NULL WHERE n = 12",
    "ip = '10.0.0.1/31' WHERE n = 13",
    "seen = seen + interval '1 microsecond' WHERE n = 14",
    "small = 0.1::real + 1e-8::real WHERE n = 15",
    "big = 0.1::float8 + 0.2::float8 WHERE n = 16",
    "big = '-0' WHERE n = 17",
    "big = 'NaN' WHERE n = 18",
    "days = int4range(n, n + 6) WHERE n = 19",
    "feeling = NULL WHERE n = 20",
    "two = NULL WHERE n = 21",
    "raw = set_byte(raw, 15, get_byte(raw, 15) # 1) WHERE n = 22",
    "k0 = '' WHERE n = 23",
]  # fmt: skip


def test_keys_and_columns_of_every_type_in_databases_with_other_settings(shop: Shop) -> None:
    make_zoo(shop, 700)
    shop.run("monolith", f"UPDATE {NAME} SET big = 0 WHERE n = 17")
    move = shop.move()
    move.create()
    assert differences(move, chunk_rows=100) == []
    for damage in ZOO_DAMAGES:
        shop.damage("stock", f"UPDATE {NAME} SET {damage}")
    shop.damage("stock", "UPDATE public.parted SET note = NULL WHERE (region, id) = ('s', 1)")
    shop.damage("stock", "DELETE FROM public.parted WHERE (region, id) = ('n', 300)")
    found = list(Diff(move, chunk_rows=100).run())
    owners = dict(shop.run("monolith", f'SELECT "Id"::text, n FROM {NAME}'))
    kinds = sorted((owners[one.values[0]], one.kind) for one in found if len(one.values) > 2)
    # The row whose key was damaged is lacking, and there is one in its place.
    expected = [(n, "different") for n in range(3, 24) if n != 22] + [(22, "extra"), (22, "missing")]
    assert kinds == sorted(expected)
    assert sorted((one.key, one.kind) for one in found if len(one.values) == 2) == [
        ("n,300", "missing"),
        ("s,1", "different"),
    ]


def test_sites_that_order_keys_differently_give_neither_alarm_nor_miss(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with other collations (which not every build of PostgreSQL brings): an enum's order is that of its making."""
    monkeypatch.setattr(preflight, "shapes", lambda *_: preflight.Report())  # it would refuse such enums
    labels = [f"{n:02}" for n in range(40)]
    for site, order in (("monolith", labels), ("stock", [*labels[20:], *reversed(labels[:20])])):
        shop.run(site, f"CREATE TYPE shelf AS ENUM ({', '.join(map(repr, order))})")
        shop.run(site, "ALTER TABLE places ALTER shelf TYPE shelf USING '00'")
    shop.run("monolith", "DELETE FROM places")
    shop.run(
        "monolith", "INSERT INTO places SELECT to_char(g % 40, 'FM00')::shelf, g, g FROM generate_series(1, 2000) g"
    )
    move = shop.move()
    move.create()
    assert differences(move) == []
    shop.damage("stock", "UPDATE places SET item_id = NULL WHERE slot = 1000")
    shop.damage("stock", "DELETE FROM places WHERE slot = 7")
    shop.damage("stock", "INSERT INTO places VALUES ('00', 0), ('39', 9000), ('20', -1)")
    assert set(differences(move)) == {
        ("00,0", "extra"), ("00,1000", "different"), ("07,7", "missing"), ("20,-1", "extra"), ("39,9000", "extra"),
    }  # fmt: skip


def test_keys_that_are_equal_in_another_spelling_are_compared_as_they_are_spelt(shop: Shop) -> None:
    """An extension's type, citext: 'ABC' = 'abc', yet a copy that has the other spelling is not a copy."""
    for site in shop.dsn:
        shop.run(site, "CREATE EXTENSION citext; ALTER TABLE places ALTER shelf TYPE citext")
    shop.run(
        "monolith",
        "INSERT INTO places SELECT CASE g % 2 WHEN 0 THEN 'b' ELSE 'B' END, g FROM generate_series(1, 999) g",
    )
    move = shop.move()
    move.create()
    assert differences(move) == []
    shop.damage("stock", "UPDATE places SET shelf = 'B' WHERE (shelf, slot) = ('b', 500)")
    shop.damage("stock", "DELETE FROM places WHERE (shelf, slot) = ('b', 501)")
    assert {kind for _, kind in differences(move)} == {"different", "missing"}
    shop.run(
        "monolith", "INSERT INTO places VALUES ('C', 1); UPDATE places SET shelf = 'c' WHERE (shelf, slot) = ('c', 1)"
    )
    move.switch()
    assert shop.run("stock", "SELECT shelf FROM places WHERE shelf = 'c'") == [("c",)]


def test_no_false_alarm_while_the_same_rows_are_written_over_and_over(shop: Shop, writers: Writers) -> None:
    with writers:
        move = shop.move()
        move.create()
        writers.sites = list(shop.dsn)
        for _ in range(5):
            writers.wait_for(20)
            assert differences(move, chunk_rows=500) == []
        shop.damage("stock", "DELETE FROM items WHERE id = 77")
        assert differences(move, chunk_rows=500) == [("77", "missing")]


def test_no_false_alarm_of_a_row_that_comes_and_goes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the owner lacks at both looks may have been there between them, and be at the other side still."""
    move = shop.move()
    move.create()
    diff = Diff(move)
    catch_up, lookup = Diff.catch_up, Rows.lookup
    looks: list[str] = []

    def come(self: Diff) -> None:
        if not looks:
            shop.run("monolith", "INSERT INTO items (id, name) VALUES (5001, 'comes and goes')")
        catch_up(self)

    def look_and_go(self: Rows, keys: list[Key]) -> dict[Key, Row]:
        found = lookup(self, keys)
        if self.site == "stock":
            looks.extend(row.hash for row in found.values())
            shop.run("monolith", "DELETE FROM items WHERE id = 5001")
        return found

    monkeypatch.setattr(Diff, "catch_up", come)
    monkeypatch.setattr(Rows, "lookup", look_and_go)
    with DiffRun(move, move.owner(), True) as run, session(diff.owner) as here, session(diff.other) as there:
        pair = (Rows(here, "monolith", "public.items"), Rows(there, "stock", "public.items"))
        with ThreadPoolExecutor(1) as pool:
            table = diffing._TableDiff(diff, run.state("public.items"), run, pair, pool)
            assert table._judge([("5001",)]) == []
    assert len(looks) == 1, "it was there when the other side was looked at"


def test_after_a_switch_the_target_is_what_is_compared_with(shop: Shop) -> None:
    move = shop.move()
    move.create()
    move.switch()
    shop.damage("monolith", "DELETE FROM items WHERE id = 5")
    assert differences(move) == [("5", "missing")]


def test_a_switch_in_the_middle_ends_the_diff(shop: Shop) -> None:
    move = shop.move()
    move.create()

    def switch(_: TableProgress) -> None:
        if move.owner().epoch == 1:
            move.switch()

    with pytest.raises(NotYetError, match="switched while it was compared"):
        list(Diff(move, chunk_rows=100).run(switch))


# --- a diff that is killed --------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def kill_after(move: Move, rows: int, **options: Any) -> list[Difference]:
    """What a diff found before it was killed, when it had compared so many rows of items."""

    def progress(at: TableProgress) -> None:
        if at.table == "public.items" and at.rows >= rows:
            raise Killed

    found: list[Difference] = []
    with pytest.raises(Killed):
        found.extend(Diff(move, chunk_rows=100, **options).run(progress))
    return found


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events reach who listens one by one, so that a kill comes at the chunk that it was meant for."""
    put = diffing._put

    def put_and_wait(events: Any, event: Any, stop: threading.Event) -> None:
        put(events, event, stop)
        while not events.empty() and not stop.is_set():
            stop.wait(0.001)
        stop.wait(0.01)

    monkeypatch.setattr(diffing, "_put", put_and_wait)


@pytest.mark.usefixtures("slowly")
def test_a_killed_diff_goes_on_where_it_was_and_keeps_what_it_had_found(shop: Shop) -> None:
    move = shop.move()
    move.create()
    shop.damage("stock", "DELETE FROM items WHERE id IN (50, 60)")
    kill_after(move, 1500)
    # Behind us: not seen by the one that goes on; healed: not told any more; ahead: seen.
    shop.damage("stock", "DELETE FROM items WHERE id IN (70, 2900)")
    with psycopg.connect(shop.dsn["monolith"]) as connection:
        row = connection.execute("SELECT id, name, note, weight, seen FROM items WHERE id = 60").fetchone()
    with psycopg.connect(shop.dsn["stock"]) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SELECT pg_replication_origin_session_setup('damage')")
        connection.execute("INSERT INTO items VALUES (%s, %s, %s, %s, %s)", row)
    move = shop.move_again()
    seen: list[TableProgress] = []
    found = sorted(one.key for one in Diff(move, chunk_rows=100).run(seen.append))
    assert found == ["2900", "50"]
    first = next(at for at in seen if at.table == "public.items")
    assert 1500 <= first.rows < 3000
    assert seen[-1].rows + next(at for at in reversed(seen) if at.table != seen[-1].table).rows == 3498 + 2
    # It has come to its end: the next is a new one, from the beginning.
    assert sorted(key for key, _ in differences(move)) == ["2900", "50", "70"]


@pytest.mark.usefixtures("slowly")
def test_fresh_begins_anew_and_so_does_a_diff_after_a_switch(shop: Shop) -> None:
    move = shop.move()
    move.create()
    kill_after(move, 1500)
    shop.damage("stock", "DELETE FROM items WHERE id = 70")
    assert differences(move, fresh=True) == [("70", "missing")]
    kill_after(move, 1500)
    move.switch()
    shop.damage("monolith", "DELETE FROM items WHERE id = 90")
    assert differences(move) == [("70", "extra"), ("90", "missing")]


def test_a_diff_killed_for_good_goes_on_from_its_last_checkpoint(shop: Shop) -> None:
    """SIGKILL, so that nothing is written at the end."""
    move = shop.move()
    move.create()
    code = (
        "import os, sys\nfrom strangler import diff\nfrom strangler.config import Config\n"
        "from strangler.move import Move\n"
        "diff.CHECKPOINT_SECONDS = 0\n"
        "config = Config.model_validate_json(sys.stdin.read())\n"
        "kill = lambda at: os.kill(os.getpid(), 9) if at.table == 'public.items' and at.rows > 1200 else None\n"
        "list(diff.Diff(Move(config, 'stock', exclusive=False), chunk_rows=50, jobs=1).run(kill))\n"
    )
    config = {
        "sites": {site: {"dsn": dsn, "url": "http://127.0.0.1:9"} for site, dsn in shop.dsn.items()},
        "modules": {"stock": shop.config.modules["stock"].model_dump(exclude={"name"})},
    }
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(config), text=True, timeout=60, check=False)
    assert done.returncode == -9
    assert last_diff(move) is None
    seen: list[TableProgress] = []
    assert list(Diff(move, chunk_rows=50).run(seen.append)) == []
    assert max(at.rows for at in seen if at.table == "public.items") == 3000
    assert min(at.rows for at in seen if at.table == "public.items") > 1000


@pytest.mark.usefixtures("slowly")
def test_more_differences_than_are_kept_make_a_table_begin_anew(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strangler.diff_run.KEPT_ROWS", 10)
    move = shop.move()
    move.create()
    shop.damage("stock", "UPDATE items SET note = 'x' WHERE id <= 20")
    kill_after(move, 1500)
    assert len(differences(move)) == 20


def test_the_last_diff_is_told(shop: Shop) -> None:
    move = shop.move()
    move.create()
    assert last_diff(move) is None
    shop.damage("stock", "DELETE FROM items WHERE id = 7")
    differences(move)
    told = last_diff(move)
    assert told is not None
    assert (told.owner, told.epoch, told.rows, told.differences) == ("monolith", 1, 3500, 1)
    assert told.finished > told.started
    move.cancel()
    move.create()
    assert last_diff(move) is None, "of a move that was cancelled"


def test_one_diff_of_a_module_at_a_time(shop: Shop) -> None:
    move = shop.move()
    move.create()
    first = Diff(move, chunk_rows=100).run(lambda _: None)
    shop.damage("stock", "DELETE FROM items WHERE id = 1")
    next(first)
    with pytest.raises(AwayError, match="another diff of stock is at work"):
        differences(move)
    first.close()
    assert differences(move) == [("1", "missing")]


# --- load and memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["monolith", "stock"])
def test_max_load_pauses_while_more_sessions_than_that_are_active(
    shop: Shop, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffing, "LOAD_SECONDS", 0.05)
    move = shop.move()
    move.create()
    holder, worker = shop.connect(site), shop.connect(site)
    holder.execute("SELECT pg_advisory_lock(1)")
    busy = threading.Thread(target=lambda: worker.execute("SELECT pg_advisory_lock(1)"))
    busy.start()
    while not shop.run(site, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        pass
    paused: list[TableProgress] = []

    def progress(at: TableProgress) -> None:
        if at.waits:
            assert at.rows == 0
            paused.append(at)
            holder.execute("SELECT pg_advisory_unlock_all()")

    waited: list[str] = []
    assert list(Diff(move, max_load=1).run(lambda at: waited.append(at.waits))) == []
    assert not any(waited), "one session is not more than one"
    assert list(Diff(move, max_load=0).run(progress)) == []
    assert f"{site}: 1 active sessions" in paused[0].waits
    busy.join()


def test_memory_does_not_grow_with_the_number_of_rows_that_differ(shop: Shop) -> None:
    peaks = []
    move = shop.move()
    move.create()
    for rows in (4_000, 40_000):
        shop.damage("stock", f"INSERT INTO places SELECT 'b', g, NULL FROM generate_series({rows // 2}, {rows}) g")
        tracemalloc.start()
        assert sum(1 for _ in Diff(move, fresh=True).run()) > rows // 2
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5, peaks
