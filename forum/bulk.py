"""Many rows at once: COPY, with a bar that says how far, how fast and how long still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

STEP = 500
"""Rows between two looks at the bar."""

Row = TypeVar("Row")
Tell = Callable[[int], None]
"""Told how many are done, now and then."""


def bars(console: Console | None = None) -> Progress:
    """What shows the bars of `bar`; on standard error unless told otherwise."""
    columns = (
        TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=console or Console(stderr=True))


def bar(progress: Progress, name: str, total: int, unit: str = "rows") -> Tell:
    """A new bar; answers what moves it."""
    task = progress.add_task(name, total=total, rate="")
    begun = monotonic()

    def tell(done: int) -> None:
        rate = done / max(monotonic() - begun, 1e-6)
        progress.update(task, completed=done, rate=f"{rate:,.0f} {unit}/s")

    return tell


def counted(rows: Iterable[Row], tell: Tell) -> Iterator[Row]:
    """`rows`, telling how many have been taken."""
    done = 0
    for done, row in enumerate(rows, start=1):
        yield row
        if done % STEP == 0:
            tell(done)
    tell(done)


def copy(
    cursor: psycopg.Cursor[Any], table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]],
    tell: Tell = lambda _: None,
) -> int:  # fmt: skip
    """COPY `rows` into `table`. How many there were."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    done = 0
    with cursor.copy(statement) as into:
        for done, row in enumerate(counted(rows, tell), start=1):  # noqa: B007
            into.write_row(row)
    return done
