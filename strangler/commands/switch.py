"""`strangler move MODULE switch` and `reverse`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from strangler.commands.terminal import as_json, begin, dry, say, show_plan
from strangler.guards import LAW, NAMES
from strangler.handover import Limits

DEFAULT = Limits()


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--tries", default=DEFAULT.tries, show_default=True, type=click.IntRange(1),
                         help="How often to ask for the lock."),
            click.option("--max-pause", default=DEFAULT.max_pause_ms, show_default=True, type=click.IntRange(20),
                         metavar="MS", help="How long one try may hold up writes."),
            click.option("--max-lag", default=DEFAULT.max_lag, show_default=True, type=click.IntRange(0),
                         metavar="BYTES", help="How far the other site may be behind."),
            click.option("--max-diff-age", default=DEFAULT.max_diff_age_seconds / 3600, show_default=True,
                         type=click.FloatRange(0), metavar="HOURS", help="How old the last clean diff may be."),
            click.option("--override", multiple=True, metavar="GUARD",
                         help=f"Pass this guard all the same (repeatable): {', '.join(NAMES)} (but {LAW})."),
            dry,
            as_json,
            click.pass_context,
        )
    ):  # fmt: skip
        command = option(command)
    return command


def _hand_over(
    context: click.Context, direction: str, tries: int, max_pause: int, max_lag: int, max_diff_age: float,
    override: tuple[str, ...], dry_run: bool, json_: bool,
) -> None:  # fmt: skip
    limits = Limits(tries, max_pause, max_lag, max_diff_age * 3600, frozenset(override))
    with begin(context, dry_run=dry_run) as one:
        done = one.switch(limits) if direction == "switch" else one.reverse(limits)
    if dry_run:
        show_plan(json_, one.plan or [])
    elif done.pause_ms is None:
        say(json_, asdict(done), f"{done.module} is owned by {done.owner} already (epoch {done.epoch})")
    else:
        say(
            json_, asdict(done),
            f"{done.module} is owned by {done.owner} now (epoch {done.epoch}); writes paused for {done.pause_ms} ms",
        )  # fmt: skip
    if done.fences_up and not dry_run and not json_:
        click.echo(f"{', '.join(done.fences_up)}: in use, so the fence is still up; `create` lowers it, to save time")


@click.command()
@_options
def switch(context: click.Context, **options: Any) -> None:
    """Make the target the owner.

    Writes wait for some milliseconds and then go to the target. When a guard does not hold, or writers hold the lock
    through all tries, nothing has changed.
    """
    _hand_over(context, "switch", **options)


@click.command()
@_options
def reverse(context: click.Context, **options: Any) -> None:
    """Make the source the owner again, however long after the switch. Works as `switch` does."""
    _hand_over(context, "reverse", **options)
