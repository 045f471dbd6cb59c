"""The ground that every way starts from: the forum at stage 1, the new service idle, its database empty, a load."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import psycopg
from psycopg import sql

from loadtest.ledger import read_ledger
from local import probe
from local.cli import take_down
from local.errors import LocalError
from local.gateway import Gateway
from local.layout import Layout, Program
from local.loadtest import LoadTest
from local.stack import Stack
from local.stages import Stages
from local.state import CHECKOUT, State, locate

SERVICE = {"messages-1", "messages-2"}
WORKER = "messages-worker"
MONOLITH = "monolith.app:create_app()"
FIGURES = ("requests", "failed", "lost", "doubled", "stale")
PATIENCE = 120.0  # seconds until the load must have got on
BEFORE, AFTER = 80, 150  # requests


class NaiveLayout(Layout):
    """The local stack, whose messages service takes itself for the owner without being told: no fence, no facade."""

    naive = True
    moved = False
    monolith = MONOLITH

    def programs(self) -> dict[str, Program]:
        config = self.state.root / "naive.toml"
        ours = (CHECKOUT / "strangler.toml").read_text()
        ours = ours.replace('source = "monolith"\ntarget = "messages"', 'source = "messages"\ntarget = "monolith"')
        self.state.replace(config, ours)
        naive = {"STRANGLER_CONFIG": str(config), "SECOND_DATABASE_URL": self.database_url("messages")}
        programs = super().programs()
        for name, program in programs.items():
            if (self.naive and (name in {*SERVICE, WORKER})) or (self.moved and name == "monolith-worker"):
                programs[name] = replace(program, environment={**program.environment, **naive})
            elif name in self.instances("monolith"):
                second = {"SECOND_DATABASE_URL": naive["SECOND_DATABASE_URL"]}
                command = [*program.command[:-1], self.monolith]
                programs[name] = replace(program, command=command, environment={**program.environment, **second})
        return programs


class Ground:
    """A forum at stage 1 with a load on it."""

    def __init__(self, state: State) -> None:
        self.stack = Stack(state, self.say)
        self.layout = self.stack.layout = NaiveLayout(state)
        self.load: LoadTest
        self.tables = tomllib.loads((CHECKOUT / "strangler.toml").read_text())["modules"]["messages"]["tables"]
        self.began = 0.0

    def say(self, line: str) -> None:
        click.echo(f"  {line}")

    def prepare(self, messages: int) -> None:
        stages = Stages(self.stack)
        stages.up()
        sizes = {"users": max(10, messages // 50), "topics": max(1, messages // 25), "messages": messages}
        words = [word for name, number in sizes.items() for word in (f"--{name}", str(number))]
        done = self.stack.module("monolith", "cli", "seed", *words, "--password", self.layout.seed_password)
        if done.returncode:
            raise LocalError(f"cannot fill the forum: {done.stdout.strip()}", 1)
        stages.go(1)

    def begin(self, out: Path, users: int, naive: bool) -> None:
        """Start the idle service, on an empty database, and the load."""
        self.layout.naive = naive
        self.stack.supervisor.apply(self.layout.programs())
        self.stack.start({"postgres-messages", *SERVICE, *(set() if naive else {WORKER})})
        with self.connect("messages") as target:
            names = sql.SQL(", ").join(map(sql.SQL, self.tables))
            target.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(names))
        out.mkdir(parents=True, exist_ok=True)
        self.load = LoadTest(self.layout, out)
        self.load.live.unlink(missing_ok=True)  # an earlier run's
        self.load.start(users, "--settle", "1" if naive else "30")  # counters are not judged where rows are missing
        self.more(BEFORE)
        self.began = time.time()

    # --- what a way is made of ---

    def connect(self, site: str) -> psycopg.Connection[tuple[int]]:
        return psycopg.connect(self.layout.cluster(site).dsn(site), autocommit=True)

    def copy(self) -> None:
        """Every table of messages as it is now, and the sequence of ids behind it: pg_dump | psql, in short."""
        with self.connect("monolith") as source, self.connect("messages") as target:
            for table in self.tables:
                names = {"table": sql.SQL(table), "columns": self._columns(source, table)}
                target.execute(sql.SQL("CREATE TEMP TABLE arriving (LIKE {table} INCLUDING DEFAULTS)").format(**names))
                with (
                    source.cursor().copy(sql.SQL("COPY {table} ({columns}) TO STDOUT").format(**names)) as rows,
                    target.cursor().copy(sql.SQL("COPY arriving ({columns}) FROM STDIN").format(**names)) as into,
                ):
                    for row in rows:
                        into.write(row)
                target.execute(
                    sql.SQL(
                        "INSERT INTO {table} ({columns}) SELECT {columns} FROM arriving ON CONFLICT DO NOTHING"
                    ).format(**names)
                )
                target.execute("DROP TABLE arriving")
        self.set_sequence()

    @staticmethod
    def _columns(source: psycopg.Connection[tuple[int]], table: str) -> sql.Composed:
        names = source.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = ''", (table,)
        ).fetchall()  # fmt: skip
        return sql.SQL(", ").join(sql.Identifier(str(name)) for (name,) in names)

    def set_sequence(self) -> None:
        with self.connect("messages") as target:
            target.execute("SELECT setval(pg_get_serial_sequence('messages', 'id'), max(id)) FROM messages")

    def route(self) -> None:
        """/api/messages goes to the service, and events of messages are its worker's."""
        table = self.stack.kit.run("route", "messages=messages", "--default", "monolith", "--json")
        gateway = Gateway(self.layout.url("gateway-admin"))
        if not probe.wait_for(lambda: gateway.routes() == table, PATIENCE):
            raise LocalError("the gateway does not take its routes", 1)
        if self.layout.naive:
            self.layout.moved = True
            self.restart("monolith-worker")
        self.stack.start({WORKER})

    def undo(self) -> None:
        """Everything is the monolith's again, which never stopped taking itself for the owner."""
        self.stack.kit.run("route", "--default", "monolith", "--json")
        self.stack.stop([WORKER, *SERVICE])
        self.layout.moved, self.layout.monolith = False, MONOLITH
        self.restart("monolith-worker", *self.layout.instances("monolith"))

    def restart(self, *names: str) -> None:
        for name in names:
            self.stack.stop([name])
            self.stack.supervisor.apply(self.layout.programs())
            self.stack.start({name})

    # --- what is waited for ---

    def posted(self, number: int, site: str = "monolith") -> None:
        """Until so many more messages were posted at `site`: the forum is in use."""
        with self.connect(site) as connection:
            ask = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('messages', 'id')), 0)"

            def last() -> int:
                row = connection.execute(ask).fetchone()
                assert row is not None
                return row[0]

            wanted = last() + number
            if not probe.wait_for(lambda: last() >= wanted, PATIENCE):
                raise LocalError(f"nobody posts; see {self.load.log}", 1)

    def more(self, requests: int) -> None:
        wanted = self._requests() + requests
        if not probe.wait_for(lambda: self._requests() >= wanted, PATIENCE):
            raise LocalError(f"the load does not get on; see {self.load.log}", 1)

    def _requests(self) -> int:
        self.load.require_alive()
        return int(json.loads(self.load.live.read_text())["requests"])

    # --- what came of it ---

    def finish(self) -> dict[str, float]:
        """Stop the load, have everything read back; the figures, and the longest time (ms) between two writes."""
        self.more(AFTER)
        self.posted(1, "messages")
        self.load.finish()
        report = json.loads((self.load.out / "report.json").read_text())
        history = read_ledger(self.load.out / "ledger.jsonl")
        ends = sorted(write.ended for write in history.writes.values()
                      if write.kind == "message" and write.fate == "acknowledged" and write.ended)  # fmt: skip
        ends = [self.began, *(end for end in ends if end > self.began)]
        gap = max((after - before for before, after in pairwise(ends)), default=0.0)
        return {name: report[name] for name in FIGURES} | {"write gap": round(gap * 1000)}


@contextmanager
def ground(folder: Path, messages: int) -> Iterator[Ground]:
    """A ground of its own in `folder`; nothing of it runs afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    state = locate(folder / "state")
    with state.lock():
        take_down(state, purge=True)
    with state.lock():
        one = Ground(state)
        try:
            one.prepare(messages)
            yield one
        finally:
            if hasattr(one, "load"):
                one.load.kill()
            take_down(state, purge=True)
