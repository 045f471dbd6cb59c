"""Pause: how long a switch keeps writers waiting, by the kit's own account and by theirs; and what is in its way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import psycopg

from strangler.errors import NotYetError
from strangler.fence import SERIALIZATION_FAILURE, is_fenced
from strangler.handover import Limits
from strangler.move import Move
from tests.bench.result import Options, Result
from tests.bench.shop import ANYHOW, clusters, shop
from tests.kit.conftest import Shop, Writers

MEDIAN_MS, WORST_MS = 40.0, 150.0
SWITCHES = 20
RATE = 200
WRITERS = 8
HELD_SECONDS = 5.0


class PacedWriters(Writers):
    """RATE writes a second together, each at its time whatever the one before took. They stay with the owner until the
    fence sends them on. Each transaction is an INSERT and an UPDATE."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop, WRITERS)
        self.times: list[float] = []
        """When each was acknowledged, of time.perf_counter()."""

    def _work(self, number: int) -> None:
        level = "repeatable read" if number % 2 else "read committed"
        connections: dict[str, psycopg.Connection[Any]] = {}
        made, site, due = 0, "monolith", time.perf_counter() + number / RATE
        try:
            for name in ("monolith", "stock"):
                connections[name] = psycopg.connect(self.shop.dsn[name], autocommit=True)
                connections[name].execute(f"SET default_transaction_isolation = '{level}'")
            while not self._stop.wait(max(0.0, due - time.perf_counter())):
                due += WRITERS / RATE
                name = f"w{number}-{made}"
                made += 1
                while True:
                    try:
                        row = self._write(connections[site], name)
                        break
                    except psycopg.Error as error:
                        if error.sqlstate == SERIALIZATION_FAILURE:
                            continue
                        if not is_fenced(error):
                            raise
                        site = "stock" if site == "monolith" else "monolith"
                        time.sleep(0.001)
                with self._lock:
                    self.times.append(time.perf_counter())
                    self.acknowledged[name] = row
        except BaseException as error:
            self.failures.append(error)
        finally:
            for connection in connections.values():
                connection.close()

    def _write(self, connection: psycopg.Connection[Any], name: str) -> int:
        with connection.transaction():
            row = connection.execute("INSERT INTO items (name) VALUES (%s) RETURNING id", (name,)).fetchone()
            connection.execute("UPDATE items SET note = %s WHERE name = %s", (name, name))
        assert row is not None
        return int(row[0])

    def gap_ms(self, since: float) -> float:
        """The longest time since then in which no write was acknowledged, in ms."""
        with self._lock:
            times = [one for one in self.times if one >= since]
        return max(b - a for a, b in pairwise([since, *times, time.perf_counter()])) * 1000


@dataclass(frozen=True)
class Pauses:
    kit: list[float]
    writers: list[float]
    tries: int

    @property
    def figure(self) -> str:
        return (
            f"median {median(self.kit):.0f} ms, worst {max(self.kit):.0f} ms; as writers saw it "
            f"{median(self.writers):.0f} and {max(self.writers):.0f} ({len(self.kit)} switches, {self.tries} tries)"
        )

    @property
    def values(self) -> dict[str, object]:
        return {"pauses_ms": self.kit, "writers_ms": self.writers, "tries": self.tries}

    @property
    def hold(self) -> bool:
        return median(self.kit) < MEDIAN_MS and max(self.kit) < WORST_MS


def measure(options: Options) -> list[Result]:
    with clusters() as pair, shop(pair) as one, one.move() as move:
        move.create()
        writers = PacedWriters(one)
        with writers:
            writers.wait_for(RATE)
            options.say(f"{SWITCHES} switches")
            calm = _switch_to_and_fro(move, writers)
            options.say(f"a transaction held open for {HELD_SECONDS:.0f} s")
            held = _held_open(one, move, writers)
            options.say(f"{SWITCHES} switches, both cores busy")
            with _busy():
                busy = _switch_to_and_fro(move, writers)
            writers.wait_for(RATE)
        wrong = _wrong(writers, move.owner().owner)
    name = f"pause of a switch under {RATE} writes/s"
    return [
        Result(name, calm.figure, f"median < {MEDIAN_MS:.0f} ms, worst < {WORST_MS:.0f} ms", calm.hold, calm.values),
        held,
        Result(f"{name}, both cores busy", busy.figure, values=busy.values),
        Result(
            "pause: writes lost, doubled or changed", wrong or f"0 of {len(writers.acknowledged):,}", "0", not wrong,
            {"writes": len(writers.acknowledged)},
        ),
    ]  # fmt: skip


def _wrong(writers: PacedWriters, owner: str) -> str:
    ids = writers.acknowledged.values()
    try:
        writers.check(owner)
        assert len(ids) == len(set(ids)), "ids handed out twice"
    except AssertionError as error:
        return str(error)
    return ""


def _switch_to_and_fro(move: Move, writers: PacedWriters) -> Pauses:
    kit, seen, tries = [], [], 0
    for number in range(SWITCHES):
        time.sleep(0.3)
        began = time.perf_counter()
        done = move.reverse(ANYHOW) if number % 2 else move.switch(ANYHOW)
        writers.wait_for(RATE // 10)
        assert done.pause_ms is not None
        kit.append(done.pause_ms)
        seen.append(writers.gap_ms(began))
        tries += done.tries
    return Pauses(kit, seen, tries)


def _held_open(one: Shop, move: Move, writers: PacedWriters) -> Result:
    before = move.owner()
    released = threading.Event()

    def hold() -> None:
        with psycopg.connect(one.dsn["monolith"]) as connection:
            connection.execute("INSERT INTO items (name) VALUES ('held')")
            holding.set()
            time.sleep(HELD_SECONDS)
        released.set()

    holding = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(10)
    began = time.perf_counter()
    try:
        move.switch(Limits(tries=3, override=ANYHOW.override))
        refused = False
    except NotYetError:
        refused = True
    took, gap = time.perf_counter() - began, writers.gap_ms(began)
    unchanged = move.owner() == before and not released.is_set()
    thread.join()
    done = move.switch(ANYHOW)
    later = done.owner == "stock" and done.epoch == before.epoch + 1
    move.reverse(ANYHOW)
    return Result(
        f"pause: a transaction of {HELD_SECONDS:.0f} s has written",
        f"{'given up' if refused else 'NOT given up'} after {took:.1f} s, {'nothing' if unchanged else 'SOMETHING'} "
        f"changed, writers waited {gap:.0f} ms at most; later {'done' if later else 'NOT done'} in {done.pause_ms} ms",
        "refused, then done", refused and unchanged and later,
        {"writers_ms": gap, "later_ms": done.pause_ms},
    )  # fmt: skip


@contextmanager
def _busy() -> Iterator[None]:
    """Two processes that never rest."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
