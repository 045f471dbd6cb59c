"""kill -9 of Redis, of the gateway, of any gunicorn, at each phase of a move, under load. The supervisor starts again
what was killed.

What such a kill does to a request under way is that there is no answer to it: a broken connection, the gateway's word
that it reaches nobody or has no route yet, or a site's that the other one has not answered. The client repeats it, a
write with the same Idempotency-Key. Any other answer than the right one is a failure, and so is whatever the ledger
finds: a write that was acknowledged and is not there once, with its content, or a read of less than had been seen.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psutil
import psycopg
import pytest
import requests

from loadtest.check import Result
from loadtest.expectation import expect
from loadtest.ledger import read_ledger
from loadtest.plan import Folder
from local.cli import take_down
from local.layout import cluster_name
from local.stack import Stack, instance_names
from local.stages import Stages
from local.state import CHECKOUT, locate
from strangler import config
from strangler.database import Database
from strangler.diff import Diff
from strangler.move import Move
from tests.load import Load, load
from tests.servers import wait_for

SOURCE, TARGET = "monolith", "messages"
NO_ANSWER = {0, 502, 503, 504}

Point = tuple[str, str, Callable[[], object]]


class Forum:
    """A stack at stage 1, the service of messages beside it, and clients who use it."""

    def __init__(self, stack: Stack, clients: Load) -> None:
        self.stack, self.clients = stack, clients
        self.config = config.load(CHECKOUT / "strangler.toml")
        self._killed: dict[str, int] = {}

    def kill(self, *names: str) -> None:
        """kill -9 of programs of the supervisor's, or (`NAME worker`) of a gunicorn's worker; each once it is back."""
        for name, _, worker in (one.partition(" ") for one in names):
            self.wait_until_back(name)
            process = psutil.Process(self.stack.supervisor.info(name)["pid"])
            if worker:
                process = wait_for(process.children, f"a worker of {name}")[0]
            self._killed[name] = process.pid
            process.kill()

    def kill_each(self, giver: str = SOURCE, taker: str = TARGET) -> None:
        """The clients get on with what is left: a process of each application, then without Redis and gateway."""
        for names in by_turns(giver, taker):
            self.kill(*names)
            self.clients.acknowledged()

    def wait_until_back(self, *names: str) -> None:
        """Until who was killed answers again; without names, all of them."""

        def back(name: str) -> bool:
            info = self.stack.supervisor.info(name)
            another = info["statename"] == "RUNNING" and info["pid"] != self._killed.get(name)
            return bool(another and self.stack.is_ready(name))

        for name in names or self._killed:
            wait_for(lambda name=name: back(name), f"{name} to be back")  # type: ignore[misc]

    @contextmanager
    def without_redis(self) -> Iterator[None]:
        """Killed, and away until the end of the block."""
        self.wait_until_back()
        self.kill("redis")
        self.stack.stop({"redis"})
        try:
            yield
        finally:
            self.stack.start({"redis"})

    def failures(self) -> list[dict[str, Any]]:
        return self.clients.failures()

    def connect(self, site: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.config.sites[site].dsn, autocommit=True)


def by_turns(giver: str, taker: str) -> list[list[str]]:
    """All who are killed at a phase; never both processes of the giver at once."""
    return [[f"{giver}-1 worker", f"{taker}-1"], ["redis", "gateway"], [f"{giver}-2"]]


def require_equal(move: Move) -> None:
    assert list(Diff(move).run()) == []


@contextmanager
def stopped_at(*points: Point) -> Iterator[None]:
    """(statement, site, action): when the kit comes to each of these statements, in this order, it does that first."""
    left = list(points)
    run = Database.run

    def stopping(self: Database, name: str, /, *words: Any, **pieces: Any) -> list[dict[str, Any]]:
        if left and left[0][:2] == (name, self.site):
            left.pop(0)[2]()
        return run(self, name, *words, **pieces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "run", stopping)
        yield
    assert not left, f"never came to {left[0][:2]}"


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def forum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forum]:
    folder = tmp_path_factory.mktemp("kills")
    state = locate(folder / "state")
    try:
        with state.lock(), pytest.MonkeyPatch.context() as environment:
            stack = Stack(state, print)
            stages = Stages(stack)
            stages.up()
            stages.go(1)
            stack.start({cluster_name(TARGET), *instance_names(stack.layout, TARGET)})
            with load(folder, stack.layout.url("gateway"), rate=40) as clients:
                for name, value in stack.layout.environment().items():
                    environment.setenv(name, value)
                yield Forum(stack, clients)
    finally:
        take_down(state, purge=True)


@pytest.mark.timeout(600)
def test_whoever_is_killed_at_whatever_phase_nothing_is_lost_doubled_or_stale(forum: Forum) -> None:
    held: list[psycopg.Connection[tuple[object, ...]]] = []

    def hold(site: str, statement: LiteralString) -> None:
        """In a transaction, until `let_go`."""
        held.append(forum.connect(site))
        held[0].execute("BEGIN")
        held[0].execute(statement)

    def let_go() -> None:
        held.pop().close()

    def while_rows_are_copied() -> None:
        copying = "SELECT FROM pg_subscription_rel WHERE srsubstate = 'd'"
        with forum.connect(TARGET) as target:
            wait_for(lambda: target.execute(copying).fetchall(), "the copy")
        forum.kill_each()
        let_go()

    def before_the_lock(taker: str) -> None:
        forum.wait_until_back()
        hold(taker, "LOCK TABLE strangler.ownership IN SHARE ROW EXCLUSIVE MODE")  # so that the row does not arrive

    def until_it_arrives(*names: str) -> None:
        forum.kill(*names)
        let_go()

    with Move(forum.config, "messages") as move:
        move.create()
        move.cancel()
        forum.kill_each()
        with stopped_at(
            # Who copies makes a slot first, which waits for the transactions that have written.
            ("create_subscription", TARGET, lambda: hold(SOURCE, "SELECT pg_current_xact_id()")),
            ("subscription", TARGET, while_rows_are_copied),
        ):
            move.create()
        forum.kill_each()
        require_equal(move)
        # Before the commit all writers wait; behind it, until the row is there, nobody accepts writes.
        one, two, three = by_turns(SOURCE, TARGET)
        with stopped_at(
            ("lock_exclusive", SOURCE, lambda: before_the_lock(TARGET)),
            ("hand_over", SOURCE, lambda: forum.kill(*one)),
            ("ownership", TARGET, lambda: until_it_arrives(*two, *three)),
        ):
            move.switch()
        forum.wait_until_back()
        forum.stack.kit.run("route", "messages=messages", "--default", "monolith", "--json")
        forum.kill_each(TARGET, SOURCE)
        require_equal(move)
        one, two, three = by_turns(TARGET, SOURCE)
        with stopped_at(
            ("lock_exclusive", TARGET, lambda: before_the_lock(SOURCE)),
            ("hand_over", TARGET, lambda: forum.kill(*two, *three)),
            ("ownership", SOURCE, lambda: until_it_arrives(*one)),
        ):
            move.reverse()
        require_equal(move)
        with forum.without_redis():
            failed = len(forum.failures())
            forum.clients.acknowledged(10)
            move.switch()
            forum.clients.acknowledged(10)
            assert forum.failures()[failed:] == []
        require_equal(move)
        move.complete(force=True)
        forum.clients.acknowledged()
    forum.clients.require_kept(but=("failed",))
    answered = [one for one in forum.failures() if one["status"] not in NO_ANSWER and "served_by" in one]
    assert answered == []
    assert forum.failures(), "nobody noticed"


def test_control_an_acknowledged_row_that_is_gone_would_be_noticed(forum: Forum) -> None:
    """The same forum, the same ledger, and one row deleted at the owner."""
    folder = Folder(forum.clients.out)
    there = [one.id for one in expect(read_ledger(folder.ledger)).of("message") if one.gone == "no"]
    with forum.connect(TARGET) as target:
        assert target.execute("DELETE FROM messages WHERE id = %s", [there[-1]]).rowcount == 1
    words = [sys.executable, "-m", "loadtest", "check", "--out", str(folder.path), "--settle", "1"]
    assert subprocess.run(words, cwd=CHECKOUT, check=False, stdout=subprocess.DEVNULL).returncode == 1
    assert Result.load(folder).lost == 1


def test_a_gateway_that_has_no_routes_says_so_until_it_has(forum: Forum) -> None:
    """Started while Redis is away. A 404 would be a lie about what is there."""

    def answer() -> tuple[int, str | None]:
        try:
            found = requests.get(f"{forum.stack.layout.url('gateway')}/api/topics", timeout=30)
        except requests.ConnectionError:
            return 0, None
        return found.status_code, found.headers.get("Retry-After")

    with forum.without_redis():
        forum.kill("gateway")
        wait_for(lambda: answer() == (503, "1"), "a 503 with a time to come back")
    wait_for(lambda: answer() == (200, None), "the routes")
