"""`strangler move MODULE events`."""

from __future__ import annotations

import json

import click

from strangler.commands.terminal import as_json, begin


@click.command()
@as_json
@click.pass_context
def events(context: click.Context, json_: bool) -> None:
    """What happened to the move: who did what, when, at which epoch.

    A switch and its line are one transaction. STRANGLER_EVENTS=FILE keeps the same lines in a file, where they
    outlive a cancel.
    """
    with begin(context, exclusive=False) as one:
        found = one.events.all()
    if json_:
        click.echo(json.dumps({"events": found}, default=str))
        return
    for event in found:
        detail = ", ".join(f"{name} {_text(value)}" for name, value in event["detail"].items() if value)
        click.echo(
            f"{event['at']:%Y-%m-%d %H:%M:%S}.{event['at'].microsecond // 1000:03d}Z  epoch {event['epoch']:<3} "
            f"{event['action']:12} at {event['site']:10} by {event['actor']}  {detail}".rstrip()
        )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
