"""`strangler move MODULE create`."""

from __future__ import annotations

from typing import Any

import click

from strangler import preflight
from strangler.commands.terminal import as_json, bars, begin, dry, say, show_plan, warn
from strangler.sql import quoted
from strangler.status import status


@click.command()
@dry
@as_json
@click.pass_context
def create(context: click.Context, dry_run: bool, json_: bool) -> None:
    """Copy the tables to the target and keep both copies equal. Waits for the copy.

    First everything is looked at that could go wrong: versions, settings, privileges, and whether the tables, columns,
    types, keys and sequences of both sites fit. What must be mended is told before anything is changed. Foreign keys
    that cross the line between the module and others are dropped, and put back by `cancel`.
    """
    with begin(context, dry_run=dry_run) as one:
        begun = one.forward.subscription() is not None
        notices = []
        if not begun and not preflight.missing_tables(one.module, one.source):
            notices = [] if preflight.missing_tables(one.module, one.target) else _notices(one)
        if not json_:
            for line in notices:
                warn(line)
        if dry_run:
            one.create()
            show_plan(json_, one.plan or [])
            return
        with bars(json_) as shown:
            one.create(_show(one, shown))
        found = status(one)
    say(
        json_,
        {**found, "notices": notices},
        f"{one.module.name}: both copies are equal and kept so; {found['owner']} owns it. Next: diff, switch",
    )


def _notices(move: Any) -> list[str]:
    return preflight.check(move.module, move.source, move.target).notices


def _show(move: Any, shown: Any) -> Any:
    total = {name: max(0, move.source.value("rows", {"table": quoted(name)}) or 0) for name in move.module.tables}
    tasks = {name: shown.add_task(name, total=max(1, rows)) for name, rows in total.items()}

    def show(tables: list[dict[str, Any]]) -> None:
        for row in tables:
            done = total[row["table"]] if row["state"] in "fsr" else row["copied"] or 0
            shown.update(tasks[row["table"]], completed=done or (row["state"] in "fsr"))

    return show
