"""What the commands share: options, and how they speak."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from strangler.config import load
from strangler.database import Planned
from strangler.move import Move

console = Console(stderr=True)

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
dry = click.option("--dry-run", is_flag=True, help="Print every statement that would run, in order; change nothing.")


def pass_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Read the configuration for a command; not before it runs, since its --help needs none."""

    @click.pass_context
    def run(context: click.Context, /, *args: Any, **options: Any) -> Any:
        return context.invoke(command, load(context.obj), *args, **options)

    return update_wrapper(run, command)


def begin(context: click.Context, exclusive: bool = True, dry_run: bool = False) -> Move:
    """The move that the command line names."""
    file, module = context.obj
    return Move(load(file), module, exclusive=exclusive, plan=[] if dry_run else None)


def say(json_: bool, data: dict[str, Any], text: str) -> None:
    """One JSON object, or a text."""
    click.echo(json.dumps(data, default=str) if json_ else text)


def warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)


def show_plan(json_: bool, plan: list[Planned]) -> None:
    """What a dry run would have run, by site."""
    if json_:
        click.echo(json.dumps({"statements": [{"site": one.site, "sql": one.text} for one in plan]}))
        return
    site = ""
    for one in plan:
        if one.site != site:
            site = one.site
            click.echo(f"\n-- at {site}")
        click.echo(one.text)
    click.echo(f"\n-- {len(plan)} statements; nothing was changed")


def bars(json_: bool) -> Progress:
    """Progress in rows, on the terminal only."""
    return Progress(
        TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=json_ or not console.is_terminal, transient=True,
    )  # fmt: skip
