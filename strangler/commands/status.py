"""`strangler move MODULE status`."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from strangler import status as statuses
from strangler.commands.terminal import as_json, begin, say


@click.command()
@click.option("--watch", is_flag=False, flag_value=1.0, default=None, type=click.FloatRange(0.1), metavar="[SECONDS]",
              help="Look again every so many seconds (1 when not said), until interrupted.")  # fmt: skip
@as_json
@click.pass_context
def status(context: click.Context, watch: float | None, json_: bool) -> None:
    """Where the move stands: who owns the module, how far the copy is, lag, alarms, and what comes next.

    With --json and --watch a line each time.
    """
    with begin(context, exclusive=False) as one:
        if watch is None or json_:
            _show(json_, statuses.status(one))
            while watch is not None:
                time.sleep(watch)
                _show(json_, statuses.status(one))
            return
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            while True:
                live.update(_text(statuses.status(one)), refresh=True)
                time.sleep(watch)


def _show(json_: bool, found: dict[str, Any]) -> None:
    if json_:
        say(True, found, "")
        return
    click.echo("\n".join(statuses.lines(found)))
    for alarm in found["alarms"]:
        click.secho(f"  ! {alarm}", fg="red")


def _text(found: dict[str, Any]) -> Text:
    text = Text("\n".join(statuses.lines(found)))
    for alarm in found["alarms"]:
        text.append(f"\n  ! {alarm}", style="red")
    return text
