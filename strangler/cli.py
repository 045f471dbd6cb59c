"""The command `strangler`. Exit codes: 0 done, 1 a check failed or not yet (try again), 2 bad input or state."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from typing import Any, NoReturn

import click
import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from strangler import routes, stages
from strangler.analyze.command import analyze
from strangler.commands.init import init
from strangler.config import Config, load
from strangler.diff import Diff
from strangler.errors import NotYetError, StranglerError
from strangler.move import Handover, Move
from strangler.sql import quoted
from strangler.status import status as read_status

console = Console(stderr=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", envvar="STRANGLER_CONFIG", default="strangler.toml", show_default=True, help="The configuration."
)
@click.pass_context
def cli(context: click.Context, config: str) -> None:
    """Move a module out of a monolith into a service with its own PostgreSQL, without an outage.

    \b
    strangler init                  a first strangler.toml, from a database and a Flask application
    strangler analyze               what ties the modules together, and which to move first
    strangler move users create     copy the tables and keep both copies equal
    strangler move users status     where it stands
    strangler move users diff       compare both copies while writes go on
    strangler move users switch     the target owns the module
    strangler move users reverse    the source owns it again
    strangler move users complete   no way back any more; the source's tables are retired
    strangler move users cancel     before a switch: undo create

    Every command can be killed and run again.
    """
    context.obj = load(config) if context.invoked_subcommand not in (None, "init") else None


@cli.group()
@click.argument("module")
@click.pass_context
def move(context: click.Context, module: str) -> None:
    """One verb of the move of MODULE (see `strangler --help`)."""
    config: Config = context.obj
    config.module(module)
    context.obj = (config, module)


def as_json(command: Any) -> Any:
    return click.option("--json", "json_", is_flag=True, help="Print one JSON object.")(command)


def _begin(context: click.Context, exclusive: bool = True) -> Move:
    config, module = context.obj
    return Move(config, module, exclusive=exclusive)


def _say(json_: bool, data: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(data, default=str) if json_ else text)


@move.command()
@as_json
@click.pass_context
def create(context: click.Context, json_: bool) -> None:
    """Copy the tables to the target and keep both copies equal. Waits for the copy."""
    with _begin(context) as one, _bars(json_) as bars:
        total = {name: max(0, one.source.value("rows", {"table": quoted(name)}) or 0) for name in one.module.tables}
        tasks = {name: bars.add_task(name, total=max(1, rows)) for name, rows in total.items()}

        def show(tables: list[dict[str, Any]]) -> None:
            for row in tables:
                done = total[row["table"]] if row["state"] in "fsr" else row["copied"] or 0
                bars.update(tasks[row["table"]], completed=done or (row["state"] in "fsr"))

        one.create(show)
        found = read_status(one)
    _say(
        json_,
        found,
        f"{one.module.name}: both copies are equal and kept so; {found['owner']} owns it. Next: diff, switch",
    )


@move.command()
@as_json
@click.pass_context
def status(context: click.Context, json_: bool) -> None:
    """Where the move stands."""
    with _begin(context, exclusive=False) as one:
        found = read_status(one)
    if json_:
        _say(True, found, "")
        return
    click.echo(f"{found['module']}: {found['state']}; owner {found['owner']}, epoch {found['epoch']}")
    for stream in filter(None, found["streams"].values()):
        ready = sum(row["state"] == "r" for row in stream["tables"])
        click.echo(
            f"  {stream['from']} -> {stream['to']}: {ready} of {len(stream['tables'])} tables ready, "
            f"{stream['behind_bytes']} bytes behind, {stream['kept_bytes']} bytes of log kept"
        )
    for alarm in found["alarms"]:
        click.secho(f"  ! {alarm}", fg="red")


@move.command()
@as_json
@click.option("--chunk", default=10_000, show_default=True, type=click.IntRange(1), help="Rows compared at a time.")
@click.pass_context
def diff(context: click.Context, json_: bool, chunk: int) -> None:
    """Compare both copies while writes go on. Exit 1 when they differ."""
    with _begin(context, exclusive=False) as one, _bars(json_) as bars:
        tasks = {name: bars.add_task(name, total=None) for name in one.module.tables}
        rows: dict[str, int] = {}

        def show(at: Any) -> None:
            rows[at.table] = at.rows
            bars.update(tasks[at.table], completed=at.rows, total=max(1, at.of))

        found = [asdict(one) for one in Diff(one, chunk).run(show)]
    compared = sum(rows.values())
    if not json_:
        for row in found:
            click.echo(f"{row['table']} {row['key']}: {row['kind']}")
    _say(json_, {"rows": compared, "differences": found}, f"{compared} rows compared, {len(found)} differ")
    if found:
        sys.exit(1)


def _report(json_: bool, done: Handover) -> None:
    if done.pause_ms is None:
        _say(json_, asdict(done), f"{done.module} is owned by {done.owner} already (epoch {done.epoch})")
    else:
        _say(
            json_, asdict(done),
            f"{done.module} is owned by {done.owner} now (epoch {done.epoch}); writes paused for {done.pause_ms} ms",
        )  # fmt: skip


@move.command()
@as_json
@click.option("--tries", default=20, show_default=True, type=click.IntRange(1), help="How often to ask for the lock.")
@click.pass_context
def switch(context: click.Context, json_: bool, tries: int) -> None:
    """Make the target the owner."""
    with _begin(context) as one:
        _report(json_, one.switch(tries))


@move.command()
@as_json
@click.option("--tries", default=20, show_default=True, type=click.IntRange(1), help="How often to ask for the lock.")
@click.pass_context
def reverse(context: click.Context, json_: bool, tries: int) -> None:
    """Make the source the owner again."""
    with _begin(context) as one:
        _report(json_, one.reverse(tries))


@move.command()
@as_json
@click.option("--force", is_flag=True, help="Although applications are connected to the source's database.")
@click.pass_context
def complete(context: click.Context, json_: bool, force: bool) -> None:
    """End the move: no way back. The source's tables go to the schema strangler_retired."""
    with _begin(context) as one:
        one.complete(force)
        _say(json_, read_status(one), f"{one.module.name}: complete; {one.target.site} owns it for good")


@move.command()
@as_json
@click.pass_context
def cancel(context: click.Context, json_: bool) -> None:
    """Undo create, while the source is the owner."""
    with _begin(context) as one:
        warnings = one.cancel()
        for warning in warnings:
            click.secho(f"warning: {warning}", fg="yellow", err=True)
        _say(
            json_,
            {**read_status(one), "warnings": warnings},
            f"{one.module.name}: cancelled; both databases are as they were",
        )


@cli.command()
@click.argument("to", nargs=-1, metavar="[MODULE=SITE]...")
@click.option("--default", "default", required=True, metavar="SITE", help="Where every other path goes.")
@as_json
@click.pass_context
def route(context: click.Context, to: tuple[str, ...], default: str, json_: bool) -> None:
    """Tell the gateway all its routes, e.g. `strangler route users=users --default monolith`.

    A module that is not named goes to the default. Early or late, twice or never: any path leads to the owner.
    """
    config: Config = context.obj
    wanted: dict[str, str] = {}
    for word in to:
        module, _, site = word.partition("=")
        if site not in (config.module(module).source, config.module(module).target):
            raise StranglerError(
                f"{word}: {module} can go to {config.module(module).source} or {config.module(module).target}"
            )
        wanted[module] = site
    if default not in config.sites:
        raise StranglerError(f"--default {default}: there is no [sites.{default}]")
    table = routes.table(config, wanted, default)
    root = routes.root(config)
    routes.publish(routes.connect(config), routes.keys(config, table, root), root)
    _say(json_, table, "\n".join(f"{prefix:40} {site}" for prefix, site in table.items()))


@cli.command()
@click.argument("name")
@click.option("--check", is_flag=True, help="Only look: exit 0 when the stage is reached, 1 when not.")
@click.option("--stay", is_flag=True, help="Then stay and keep the gateway's routes there, until SIGTERM.")
@click.option(
    "--wait", "seconds", default=300.0, show_default=True, help="How long to wait for what is not up yet, in s."
)
@click.pass_context
def stage(context: click.Context, name: str, check: bool, stay: bool, seconds: float) -> None:
    """Go to a stage of strangler.toml, forward or back, from wherever the databases are: `strangler stage 2-users`.

    Does what is left to do: creates, compares and switches what the stage has moved, reverses what it has not, and
    tells the gateway. Run it twice, or kill it and run it again.
    """
    config: Config = context.obj
    wanted = config.stage(name)
    journey = stages.Journey(config, wanted, say=lambda line: click.echo(f"{wanted.name}: {line}"), seconds=seconds)
    if check:
        if missing := journey.missing():
            raise NotYetError(f"{wanted.name} is not reached: {missing[0]}")
        return
    if stay:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    journey.go()
    if stay:
        journey.stay()


cli.add_command(analyze)
cli.add_command(init)


def _bars(json_: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=json_ or not console.is_terminal, transient=True,
    )  # fmt: skip


def main() -> NoReturn:
    try:
        cli(standalone_mode=False)
    except NotYetError as error:
        _fail(str(error), 1)
    except StranglerError as error:
        _fail(str(error), 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; run the same command again to go on", 130)
    except psycopg.errors.LockNotAvailable as error:
        _fail(f"{error.diag.message_primary}; nothing was half done, run the same command again", 1)
    except psycopg.OperationalError as error:
        _fail(f"a database went away: {str(error).strip().splitlines()[0]}; run the same command again", 1)
    except psycopg.errors.InsufficientPrivilege as error:
        _fail(
            f"{error.diag.message_primary}; use a role that may (superuser, or owner of the tables with REPLICATION)", 2
        )
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"strangler: {' '.join(message.split())}", err=True)
    sys.exit(code)
