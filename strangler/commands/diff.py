"""`strangler move MODULE diff`."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.progress import ProgressColumn, Task
from rich.text import Text

from strangler.commands.terminal import as_json, bars, begin, say
from strangler.diff import CHUNK_ROWS, JOBS, Diff, TableProgress
from strangler.diff_run import Difference
from strangler.repair import Repair


@click.command()
@click.option("--chunk", default=CHUNK_ROWS, show_default=True, type=click.IntRange(1), help="Rows of one checksum.")
@click.option("--jobs", default=JOBS, show_default=True, type=click.IntRange(1), help="Tables at a time.")
@click.option("--max-load", type=click.IntRange(0), help="Pause while more sessions are active in a database.")
@click.option("--fresh", is_flag=True, help="Begin anew, although a diff that was killed could go on.")
@click.option("--repair", is_flag=True, help="Give the side that does not own the module the owner's rows.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Print so many rows at most.")
@as_json
@click.pass_context
def diff(
    context: click.Context, chunk: int, jobs: int, max_load: int | None, fresh: bool, repair: bool, limit: int,
    json_: bool,
) -> None:  # fmt: skip
    """Compare both copies while writes go on. Exit 1 when they differ (with --repair: when they still do).

    Killed, it goes on where it was when it is run again.
    """
    progress = {}
    found: list[dict[str, str]] = []
    repaired: list[dict[str, str]] = []
    counts = {"differ": 0, "repaired": 0}

    def note(kind: str, rows: list[dict[str, str]], one: Difference) -> None:
        counts[kind] += 1
        if len(rows) < limit:
            rows.append(one.as_dict())

    with begin(context, exclusive=repair) as one, bars(json_, _Speed()) as shown:
        tasks = {name: shown.add_task(name, total=None, waits="") for name in one.module.tables}

        def show(at: TableProgress) -> None:
            progress[at.table] = at
            shown.update(tasks[at.table], completed=at.rows, total=max(1, at.of), waits=at.waits)

        differences = Diff(one, chunk, jobs, max_load, fresh).run(show)
        if repair:
            for outcome in Repair(one).run(differences):
                if outcome.repaired:
                    note("repaired", repaired, outcome.difference)
                else:
                    note("differ", found, outcome.difference)
            one.events.add("repair", one.owner().epoch, rows=counts["repaired"], left=counts["differ"])
        else:
            for difference in differences:
                note("differ", found, difference)
    if not json_:
        for row in repaired:
            click.echo(f"{row['table']} {row['key']}: {row['kind']}, repaired")
        for row in found:
            click.echo(f"{row['table']} {row['key']}: {row['kind']}")
    compared = sum(at.rows for at in progress.values())
    text = f"{compared} rows compared, {counts['differ']} differ"
    if repair:
        text += f", {counts['repaired']} repaired"
    if hidden := counts["differ"] + counts["repaired"] - len(found) - len(repaired):
        text += f" ({hidden} of these not shown; see --limit)"
    data: dict[str, Any] = {"rows": compared, "differences": found, "differing": counts["differ"]}
    if repair:
        data |= {"repaired": repaired, "repaired_rows": counts["repaired"]}
    say(json_, data, text)
    if counts["differ"]:
        sys.exit(1)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.fields["waits"]:
            return Text(f"waits: {task.fields['waits']}", style="yellow")
        return Text(f"{task.speed or 0:,.0f} rows/s")
