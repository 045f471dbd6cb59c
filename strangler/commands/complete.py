"""`strangler move MODULE complete`."""

from __future__ import annotations

import click

from strangler.commands.terminal import as_json, begin, console, dry, say, show_plan
from strangler.complete import QUIET_SECONDS
from strangler.status import status


@click.command()
@click.option("--drop", is_flag=True, help="Drop the source's tables instead of archiving them.")
@click.option("--quiet", default=QUIET_SECONDS, show_default=True, type=click.FloatRange(1), metavar="SECONDS",
              help="How long nobody may have read or written them.")  # fmt: skip
@click.option("--force", is_flag=True, help="Although somebody reads or writes them.")
@dry
@as_json
@click.pass_context
def complete(context: click.Context, drop: bool, quiet: float, force: bool, dry_run: bool, json_: bool) -> None:
    """End the move: no way back any more. The source's tables go to the schema strangler_retired.

    Refuses while anything still reads or writes the tables in the source's database, and says who.
    """
    with begin(context, dry_run=dry_run) as one, console.status("") as line:

        def watching(left: float) -> None:
            line.update(f"watching whether anybody uses the tables of {one.module.name}: {left:.0f} s more")

        one.complete(drop=drop, quiet_seconds=quiet, force=force, watching=watching)
        line.stop()
        if dry_run:
            show_plan(json_, one.plan or [])
            return
        say(json_, status(one), f"{one.module.name}: complete; {one.target.site} owns it for good")
