"""`strangler move MODULE cancel`."""

from __future__ import annotations

import click

from strangler.cancel import GRACE_SECONDS
from strangler.commands.terminal import as_json, begin, dry, say, show_plan, warn
from strangler.status import status


@click.command()
@click.option("--grace", default=GRACE_SECONDS, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
              help="How long after a reverse: the longest request that the target may still be at.")  # fmt: skip
@dry
@as_json
@click.pass_context
def cancel(context: click.Context, grace: float, dry_run: bool, json_: bool) -> None:
    """Undo create, while the source is the owner: both databases are as they were.

    The event record goes too; look at `events` before, or name a file in STRANGLER_EVENTS.
    """
    with begin(context, dry_run=dry_run) as one:
        warnings = one.cancel(grace)
        if dry_run:
            show_plan(json_, one.plan or [])
            return
        for warning in warnings:
            warn(warning)
        say(
            json_,
            {**status(one), "warnings": warnings},
            f"{one.module.name}: cancelled; both databases are as they were",
        )
