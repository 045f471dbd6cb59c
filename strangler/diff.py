"""Comparing a module's tables at both sites while writes go on: no false alarm, no miss.

Tables are compared by checksums of chunks in key order. A chunk that differs is looked at again in smaller ones, and
rows that differ are judged by three looks: at the owner, then, once the other side has replayed past that moment, at
the other side, and at the owner again. If the owner's row has stayed what it was (same content, same xmin), the other
side had every chance to show the same; then, and only then, it is a difference.

Both sites order keys their own way. Should their collations differ, a chunk's bounds enclose other rows there than
here: such chunks cost more, but every row is in a chunk of its site, and rows are always matched by equality of keys.
(A row that only the other side has may then be in several chunks, and is told for each.)
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strangler.diff_run import Difference, DiffRun, TableState, last_diff
from strangler.errors import NotYetError
from strangler.replication import CATCH_UP_SECONDS
from strangler.rows import Key, Row, Rows, hash_of, session

if TYPE_CHECKING:
    from strangler.move import Move

CHUNK_ROWS = 10_000
FINE_ROWS = 500
"""The size of the chunks in a chunk that differs, and of the lists of keys that are held in memory."""
SLOW_SECONDS, QUICK_SECONDS = 1.0, 0.25
"""A chunk that takes longer, or less, makes the next one smaller, or larger again."""
JOBS = 2
LOOKS = 50
"""How often a row that changes between two looks is looked at again before it is called undecided."""
CHECKPOINT_SECONDS = 1.0
LOAD_SECONDS = 1.0
"""How often the databases are asked for their load, at most."""


@dataclass(frozen=True)
class TableProgress:
    """rows: compared so far, with what a killed diff had compared before. waits: for what load to go down, if any."""

    table: str
    rows: int
    of: int
    differences: int
    waits: str = ""


class Diff:
    """Compares the owner's tables with the other side's, several at a time. Constant memory: FINE_ROWS keys a table.

    chunk_rows: the most rows of one checksum. jobs: tables at a time, each with a connection to either site. max_load:
    more than so many active sessions of others in either database make it pause. fresh: do not go on with a diff that
    was killed. Raises StranglerError when there is no move, NotYetError when its stream does not work.
    """

    def __init__(
        self, move: Move, chunk_rows: int = CHUNK_ROWS, jobs: int = JOBS, max_load: int | None = None,
        fresh: bool = False,
    ) -> None:  # fmt: skip
        self._move, self._fresh, self._jobs = move, fresh, jobs
        self.chunk_rows, self.max_load = chunk_rows, max_load
        self._own = move.owner()
        self.owner = move.database(self._own.owner)
        self._stream = move.stream_from(self.owner.site)
        self._stream.require_healthy()
        self.other = self._stream.subscriber

    def run(self, progress: Callable[[TableProgress], None] | None = None) -> Iterator[Difference]:
        """Every difference, as it is found. A diff that was killed goes on, and judges again what it had found.

        Raises NotYetError when the other side does not catch up or the owner changes, AwayError when another diff of
        the module is at work.
        """
        events: queue.Queue[Difference | TableProgress | BaseException | None] = queue.Queue(1000)
        stop = threading.Event()

        def work(name: str, run: DiffRun, pool: Executor) -> None:
            ended: BaseException | None = None
            try:
                with session(self.owner) as here, session(self.other) as there:
                    pair = (Rows(here, self.owner.site, name), Rows(there, self.other.site, name))
                    with closing(_TableDiff(self, run.state(name), run, pair, pool).run()) as found:
                        for event in found:
                            _put(events, event, stop)
            except BaseException as error:
                ended = error
            _put(events, ended, stop)

        with (
            DiffRun(self._move, self._own, self._fresh) as run,
            ThreadPoolExecutor(self._jobs) as pool,
            ThreadPoolExecutor(self._jobs) as tables,
        ):
            try:
                for name in self._move.module.tables:
                    tables.submit(work, name, run, pool)
                left = len(self._move.module.tables)
                while left:
                    event = events.get()
                    if isinstance(event, Difference):
                        yield event
                    elif isinstance(event, TableProgress):
                        if progress:
                            progress(event)
                    elif event is None:
                        left -= 1
                    else:
                        raise event
                self.require_same_owner()
                run.finish()
                self._record()
            finally:
                stop.set()
                tables.shutdown(cancel_futures=True)

    def _record(self) -> None:
        if found := last_diff(self._move):
            self._move.events.add("diff", found.epoch, rows=found.rows, differences=found.differences)

    def catch_up(self) -> None:
        self._stream.catch_up(CATCH_UP_SECONDS)

    def require_same_owner(self) -> None:
        """Raises NotYetError when the module was switched: then it was compared with the wrong side."""
        if self._move.ownership(self.owner) != self._own:
            raise NotYetError(f"{self._move.module.name} was switched while it was compared; run `diff` again")


class _StoppedError(Exception):
    """Nobody wants to know any more."""


def _put(
    events: queue.Queue[Difference | TableProgress | BaseException | None],
    event: Difference | TableProgress | BaseException | None, stop: threading.Event,
) -> None:  # fmt: skip
    while not stop.is_set():
        try:
            return events.put(event, timeout=0.2)
        except queue.Full:
            continue
    raise _StoppedError


class _TableDiff:
    def __init__(
        self, diff: Diff, state: TableState, run: DiffRun, pair: tuple[Rows, Rows], pool: Executor
    ) -> None:  # fmt: skip
        self._diff, self._state, self._run, self._pool = diff, state, run, pool
        self._here, self._there = pair
        self._estimate = self._here.estimate()
        self._size = diff.chunk_rows
        self._asked = 0.0

    def run(self) -> Generator[Difference | TableProgress, None, None]:
        state, kept_at = self._state, time.monotonic()
        yield from self._judge_again()
        try:
            while not state.done:
                yield from self._wait_for_load()
                end = self._here.boundary(state.position, None, self._size)
                rows, same = self._timed(state.position, end)
                found: list[Difference] = []
                differences = 0
                for one in () if same else self._examine(state.position, end):
                    differences += 1
                    if len(found) < state.room():
                        found.append(one)
                    yield one
                # Only now, so that a chunk is either behind us with all that it had, or looked at anew.
                state.position, state.done = end or state.position, end is None
                state.rows, state.differences = state.rows + rows, state.differences + differences
                state.new += found
                if time.monotonic() - kept_at > CHECKPOINT_SECONDS:
                    self._run.checkpoint(state)
                    kept_at = time.monotonic()
                yield self._progress()
        finally:
            self._run.checkpoint(state)

    def _progress(self, waits: str = "") -> TableProgress:
        state = self._state
        of = state.rows if state.done else max(state.rows, self._estimate)
        return TableProgress(state.table, state.rows, of, state.differences, waits)

    def _judge_again(self) -> Iterator[Difference | TableProgress]:
        """What was found before this process began may have healed since."""
        state = self._state
        if state.kept:
            state.new = [
                one for n in range(0, len(state.kept), FINE_ROWS) for one in self._judge(state.kept[n : n + FINE_ROWS])
            ]
            state.kept, state.differences = [], len(state.new)
            yield from state.new
            self._run.checkpoint(state, anew=True)
        yield self._progress()

    def _wait_for_load(self) -> Iterator[TableProgress]:
        limit = self._diff.max_load
        if limit is None or time.monotonic() - self._asked < LOAD_SECONDS:
            return
        sites = (self._here, self._there)
        while busy := [f"{site.site}: {load} active sessions" for site in sites if (load := site.load()) > limit]:
            yield self._progress(waits=", ".join(busy))
            time.sleep(LOAD_SECONDS)
        self._asked = time.monotonic()

    def _timed(self, after: Key | None, upto: Key | None) -> tuple[int, bool]:
        began = time.monotonic()
        compared = self._same(after, upto)
        took = time.monotonic() - began
        if took > SLOW_SECONDS:
            self._size = max(1, self._size // 2)
        elif took < QUICK_SECONDS:
            self._size = min(self._size * 2, self._diff.chunk_rows)
        return compared

    def _same(self, after: Key | None, upto: Key | None) -> tuple[int, bool]:
        """The owner's rows of a range, and whether the checksums are equal. Both sites compute at the same time."""
        future = self._pool.submit(self._there.checksum, after, upto)
        here = self._here.checksum(after, upto)
        return here[0], here == future.result()

    def _examine(self, after: Key | None, upto: Key | None) -> Iterator[Difference]:
        """The differences in a chunk whose checksums differ."""
        self._diff.catch_up()
        while True:
            end = self._here.boundary(after, upto, FINE_ROWS)
            if not self._same(after, end or upto)[1]:
                yield from self._examine_rows(after, end or upto)
            if end is None:
                return
            after = end

    def _examine_rows(self, after: Key | None, upto: Key | None) -> Iterator[Difference]:
        for page in self._here.pages(after, upto, FINE_ROWS):
            yield from self._judge(page)
        for page in self._there.pages(after, upto, FINE_ROWS):
            known = self._here.lookup(page)
            yield from self._judge([key for key in page if key not in known])

    def _judge(self, keys: list[Key]) -> list[Difference]:
        """The three looks, at many rows at once."""
        found: list[Difference] = []
        absent: dict[Key, Row] = {}
        for look in range(LOOKS):
            before = self._here.lookup(keys)
            self._diff.catch_up()
            other = self._there.lookup(keys)
            keys = [key for key in keys if hash_of(before, key) != hash_of(other, key)]
            if not keys:
                break
            after = self._here.lookup(keys)
            again: list[Key] = []
            extra: dict[Key, Row] = {}
            for key in keys:
                if before.get(key) != after.get(key):
                    again.append(key)
                elif key in before:
                    found.append(Difference(self._state.table, key, "different" if key in other else "missing"))
                elif absent.get(key) == other[key]:
                    found.append(Difference(self._state.table, key, "extra"))
                else:
                    # What is not there has no xmin: the owner may have inserted and deleted it between the looks. In
                    # that case this version of it will be gone when the other side has caught up once more.
                    extra[key] = other[key]
                    again.append(key)
            keys, absent = again, extra
            if not keys:
                break
            time.sleep(0.001 * look)
        found += [Difference(self._state.table, key, "undecided") for key in keys]
        if found:
            self._diff.require_same_owner()
        return found
