"""Whatever crashes, and whenever: I1 to I5 hold, and the move can be finished. kill -9, while writers write."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, LiteralString

import psutil
import psycopg
import pytest

from local.postgres import Cluster
from strangler.diff import Diff
from strangler.errors import StranglerError
from strangler.move import Move
from strangler.replication import Stream
from strangler.status import status
from tests.kit.conftest import ROOM, QuickMove, Shop, Writers
from tests.kit.test_kills import require_equal
from tests.servers import wait_for


def crash(cluster: Cluster) -> None:
    """kill -9 of everything that is PostgreSQL there; then it is started again, as a supervisor would."""
    postmaster = psutil.Process(int((cluster.data / "postmaster.pid").read_text().split()[0]))
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, 30)
    cluster.start(cluster.data.parent / "log", fsync="off", **ROOM)


def worker(shop: Shop, site: str, stream: str) -> int:
    """The process that applies a stream at a site."""
    query = "SELECT pid FROM pg_stat_subscription WHERE subname = %s AND relid IS NULL AND pid IS NOT NULL"
    name = f"strangler_stock_{stream}"
    return int(wait_for(lambda: shop.run(site, query, (name,)), f"a worker of {name}", 60)[0][0])


def patiently(shop: Shop, verb: str) -> QuickMove:
    """As a person would: run it again until it works."""

    def attempt() -> QuickMove | None:
        try:
            move = shop.move_again()
            getattr(move, verb)()
        except (StranglerError, psycopg.OperationalError):
            return None
        return move

    return wait_for(attempt, f"{verb} to work again", 120)  # type: ignore[return-value]


def both_kept_equal(shop: Shop, writers: Writers, owner: str = "monolith") -> QuickMove:
    """A move that has been created, and switched when the target is to be `owner`, with writes at either site."""
    move = shop.move()
    move.create()
    writers.sites = list(shop.dsn)
    if owner == "stock":
        move.switch()
    writers.wait_for(20)
    return move


@pytest.fixture
def writers(shop: Shop) -> Writers:
    return Writers(shop, 4, pause=0.01)


@pytest.mark.parametrize("victim", ["monolith", "stock"])
def test_postgresql_dies_while_rows_are_copied(
    shop: Shop, writers: Writers, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = shop.connect("stock")
    subscribe = Stream.subscribe

    def first_lock(self: Stream, copy: bool) -> None:
        """So that the copy of one table waits, and is under way when the server dies."""
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE places IN SHARE MODE")
        subscribe(self, copy)

    with writers, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Stream, "subscribe", first_lock)
        created = pool.submit(shop.move().create)
        copying = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'd' AND srrelid = 'places'::regclass"
        wait_for(lambda: shop.run("stock", copying) == [(1,)], "the copy to begin")
        monkeypatch.undo()
        crash(shop.clusters[victim])
        blocker.close()
        with pytest.raises((StranglerError, psycopg.Error)):
            created.result(120)
        move = patiently(shop, "create")
        writers.sites = list(shop.dsn)
        writers.wait_for(10)
        move.switch()
        writers.wait_for(10)
    require_equal(shop, writers, "stock")


@pytest.mark.parametrize("victim", ["monolith", "stock"])
@pytest.mark.parametrize("owner", ["monolith", "stock"])
def test_postgresql_dies_while_both_are_kept_equal(shop: Shop, writers: Writers, victim: str, owner: str) -> None:
    with writers:
        both_kept_equal(shop, writers, owner)
        crash(shop.clusters[victim])
        if victim == owner:
            writers.wait_for(20)
        patiently(shop, "switch" if owner == "monolith" else "reverse")
        writers.wait_for(20)
    require_equal(shop, writers, "stock" if owner == "monolith" else "monolith")


@pytest.mark.parametrize("victim", ["monolith", "stock"])
def test_postgresql_dies_while_ownership_is_on_its_way(shop: Shop, writers: Writers, victim: str) -> None:
    """Committed at the source, not yet applied at the target: nobody accepts writes, until the row arrives."""
    with writers, ThreadPoolExecutor(1) as pool:
        move = both_kept_equal(shop, writers)
        blocker = shop.connect("stock")
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE strangler.ownership IN SHARE ROW EXCLUSIVE MODE")
        switched = pool.submit(move.switch)
        gone = "SELECT owner FROM strangler.ownership WHERE module = 'stock'"
        wait_for(lambda: shop.run("monolith", gone) == [("stock",)], "the switch to be committed")
        assert shop.run("stock", gone) == [("monolith",)]
        crash(shop.clusters[victim])
        if not blocker.broken:
            blocker.close()
        # A source that dies may not be missed: what it had sent is applied.
        with suppress(StranglerError, psycopg.Error):
            switched.result(120)
        patiently(shop, "switch")
        writers.wait_for(20)
    require_equal(shop, writers, "stock")


@pytest.mark.parametrize(("site", "stream"), [("stock", "forward"), ("monolith", "back")])
def test_an_apply_worker_is_killed(shop: Shop, writers: Writers, site: str, stream: str) -> None:
    """To PostgreSQL that is a crash: it ends every session and recovers by itself."""
    with writers:
        both_kept_equal(shop, writers, owner="monolith" if stream == "forward" else "stock")
        os.kill(worker(shop, site, stream), signal.SIGKILL)
        patiently(shop, "switch" if stream == "forward" else "reverse")
        writers.wait_for(20)
    require_equal(shop, writers, "stock" if stream == "forward" else "monolith")


def test_a_copied_table_whose_slot_is_gone_is_told_from_one_that_catches_up(shop: Shop) -> None:
    """Gone as after a crash of the target that took back the commit by which the table was done."""
    held: list[psycopg.Connection[Any]] = []
    subscribe = Stream.subscribe

    def hold(table: LiteralString) -> None:
        held.append(shop.connect("stock"))
        held[-1].execute("BEGIN")
        held[-1].execute(f"LOCK TABLE {table} IN SHARE MODE")

    def first_lock(self: Stream, copy: bool) -> None:
        if copy:
            hold("places")
        subscribe(self, copy)

    def states() -> dict[str, str]:
        return {row["table"]: row["state"] for row in move.forward.progress()} if move.forward.subscription() else {}

    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "subscribe", first_lock)
        created = pool.submit(shop.move().create)
        with Move(shop.config, "stock", exclusive=False) as move:
            wait_for(lambda: states() == {"public.items": "r", "public.places": "d"}, "items to be ready")
            # The worker that applies is kept from telling the one that copies how far to go.
            hold("items")
            shop.run("monolith", "UPDATE items SET note = 'one' WHERE id = 1")
            held[0].close()
            wait_for(lambda: states()["public.places"] == "f", "places to be copied")
            assert move.forward.stranded() == []
            (slot,) = (row["slot"] for row in move.target.run("copied", {"name": move.forward.name}))
            shop.run("monolith", "SELECT pg_drop_replication_slot(%s)", (slot,))
            assert move.forward.stranded() == [], "its worker may be about to commit"
            held[1].close()
            wait_for(lambda: move.forward.stranded() == ["public.places"], "it to ask for the slot in vain")
            assert any("public.places will never be ready" in alarm for alarm in status(move)["alarms"])
            move.forward.drop()
        with pytest.raises(StranglerError):
            created.result(60)
    again = shop.move_again()
    again.cancel()
    again.create()
    assert again.forward.stranded() == []
    assert list(Diff(again).run()) == []
