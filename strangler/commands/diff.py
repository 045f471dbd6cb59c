"""`strangler move MODULE diff`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from strangler.commands.terminal import as_json, bars, begin, say
from strangler.diff import Diff


@click.command()
@as_json
@click.option("--chunk", default=10_000, show_default=True, type=click.IntRange(1), help="Rows compared at a time.")
@click.pass_context
def diff(context: click.Context, json_: bool, chunk: int) -> None:
    """Compare both copies while writes go on. Exit 1 when they differ."""
    with begin(context, exclusive=False) as one, bars(json_) as shown:
        tasks = {name: shown.add_task(name, total=None) for name in one.module.tables}
        rows: dict[str, int] = {}

        def show(at: Any) -> None:
            rows[at.table] = at.rows
            shown.update(tasks[at.table], completed=at.rows, total=max(1, at.of))

        found = [asdict(one) for one in Diff(one, chunk).run(show)]
    compared = sum(rows.values())
    if not json_:
        for row in found:
            click.echo(f"{row['table']} {row['key']}: {row['kind']}")
    say(json_, {"rows": compared, "differences": found}, f"{compared} rows compared, {len(found)} differ")
    if found:
        sys.exit(1)
