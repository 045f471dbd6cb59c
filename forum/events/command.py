"""The command line of a site's events: the worker itself, and what an operator asks and tells it.

python -m services.topics.worker            run
python -m services.topics.worker lag        and so on: --help
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

import click
import psycopg
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from forum import logs, tracing
from forum.database import Database
from forum.events import counting, lag, parking
from forum.events.cleaning import Expiry
from forum.events.consumer import Handler
from forum.events.outbox import drained
from forum.events.worker import Worker, first_line
from forum.redis_client import connect
from forum.settings import BOOT_FAILED, SettingsError, StoreSettings, read
from strangler.config import Config, load
from strangler.errors import StranglerError
from strangler.fence import is_fenced

REDIS_SECONDS = 5.0  # time-out of a worker's Redis calls; longer than a consumer's read waits for an event

Handlers = Callable[[Redis], Mapping[str, Mapping[str, Handler]]]
Expiries = Callable[[timedelta], Sequence[Expiry]]


class Refused(click.ClickException):
    """One line that says what is wrong; nothing has changed."""

    exit_code = 2


@dataclass
class Site:
    """What the commands work with. Reads the environment (`StoreSettings`) when first asked."""

    name: str
    handlers: Handlers
    expiries: Expiries

    @cached_property
    def settings(self) -> StoreSettings:
        return read(StoreSettings)

    @cached_property
    def keep(self) -> timedelta:
        return timedelta(days=self.settings.keep_days)

    @cached_property
    def engine(self) -> Engine:
        return Database.of(self.settings, f"{self.name} worker").engine

    @cached_property
    def redis(self) -> Redis:
        return connect(self.settings.redis_url, timeout=REDIS_SECONDS)

    @cached_property
    def config(self) -> Config:
        return load()

    def owned(self) -> list[str]:
        """The modules with an inbox that this site owns now."""
        return lag.owned(self.engine, self.name, self.config.modules)


def main(site: str, handlers: Handlers, expiries: Expiries, argv: Sequence[str] | None = None) -> int:
    """The command line of a worker module; answers the exit code.

    `handlers` is given the worker's Redis and answers each module's handlers by event type; `expiries` is told how long
    to keep rows.
    """
    try:
        return int(cli.main(argv, obj=Site(site, handlers, expiries), standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (SettingsError, StranglerError) as error:
        print(error, file=sys.stderr)
        return BOOT_FAILED
    except (OperationalError, psycopg.OperationalError, RedisError) as error:
        print(f"cannot tell: {first_line(error)}", file=sys.stderr)
        return 2
    except (DBAPIError, psycopg.Error) as error:
        print(f"refused: {first_line(error)}", file=sys.stderr)
        return 2


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--drained", "only_ask", is_flag=True, help="Exit 0 when every event has been published, else 1.")
@click.pass_context
def cli(context: click.Context, only_ask: bool) -> int:
    """Relay and handle the events of a site, or see to them. Configured by the environment."""
    site: Site = context.obj
    if only_ask:
        context.exit(0 if drained(site.engine) else 1)
    if context.invoked_subcommand is None:
        _run(site)
    return 0


def _run(site: Site) -> None:
    logs.configure(site.settings.log_level, f"{site.name}-worker")
    tracing.start(f"{site.name}-worker")
    worker = Worker(
        site.name,
        engine=site.engine,
        redis=site.redis,
        config=site.config,
        handlers=site.handlers(site.redis),
        expiries=site.expiries(site.keep),
        keep=site.keep,
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: worker.stop())
    worker.run()


_as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@cli.command("lag")
@_as_json
@click.pass_obj
def show_lag(site: Site, as_json: bool) -> None:
    """What waits: in this database's outbox, and in Redis for each module that this site owns."""
    outbox, groups = lag.of_outbox(site.engine), lag.of_groups(site.engine, site.redis, site.owned())
    if as_json:
        click.echo(json.dumps({"outbox": asdict(outbox), "groups": [asdict(group) for group in groups]}))
        return
    click.echo(f"outbox: {outbox.waiting} not published, the oldest {outbox.seconds:.0f} s old")
    for group in groups:
        click.echo(
            f"{group.module}: {group.undelivered} not delivered, {group.pending} not acknowledged,"
            f" the oldest {group.seconds:.0f} s old; {group.parked} parked"
        )


@cli.command("parked")
@_as_json
@click.pass_obj
def show_parked(site: Site, as_json: bool) -> None:
    """The events that were put aside because their handler failed again and again, and why."""
    found = parking.parked(site.engine, site.owned())
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], default=str))
        return
    for each in found:
        click.echo(f"{each.event_id} {each.module} {each.type} of {each.at:%Y-%m-%d %H:%M:%S%z}: {each.payload}")
        click.echo(f"  {each.deliveries} deliveries, parked {each.parked_at:%Y-%m-%d %H:%M:%S%z}: {each.error}")
    if not found:
        click.echo("nothing is parked")


def _chosen(verb: Callable[..., Any]) -> Callable[..., Any]:
    verb = click.argument("event_ids", nargs=-1, type=click.UUID, metavar="EVENT_ID...")(verb)
    return click.option("--all", "all_", is_flag=True, help="Whatever is parked.")(click.pass_obj(verb))


@cli.command()
@_chosen
def retry(site: Site, event_ids: Sequence[UUID], all_: bool) -> None:
    """Publish parked events again: their module handles them once more, the others have them in their inbox."""
    _change(site, parking.retry, event_ids, all_, "will be tried again")


@cli.command()
@_chosen
def drop(site: Site, event_ids: Sequence[UUID], all_: bool) -> None:
    """Forget parked events: nobody will ever handle them."""
    _change(site, parking.drop, event_ids, all_, "dropped")


def _change(site: Site, verb: Callable[..., int], event_ids: Sequence[UUID], all_: bool, done: str) -> None:
    if bool(event_ids) == all_:
        raise Refused("say which: one or more of the ids that `parked` shows, or --all")
    changed = _fenced(lambda: verb(site.engine, site.owned(), None if all_ else event_ids))
    if changed < len(set(event_ids)):
        raise Refused(
            f"{changed} {done}; the others are not parked here: `parked` shows what is, at each module's owner"
        )
    click.echo(f"{changed} {done}")


def _moment(_: object, __: object, given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise click.BadParameter("must be a time such as 2026-11-21T10:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@cli.command()
@click.option("--since", required=True, callback=_moment, metavar="TIME", help="2026-11-21T10:00:00Z, or a part of it.")
@click.pass_obj
def replay(site: Site, since: datetime) -> None:
    """Publish again what this database's outbox keeps. Modules that have handled an event do not do so again."""
    click.echo(f"{parking.replay(site.engine, since, site.keep)} events will be published again")


@cli.command()
@click.pass_obj
def recount(site: Site) -> None:
    """Have the messages of all topics counted anew, at the owner of topics. The workers do it; `lag` says how far."""
    if "topics" not in site.owned():
        raise Refused("topics has another owner; ask its worker")
    click.echo(f"{counting.recount(site.engine)} topics will be counted")


def _fenced(action: Callable[[], int]) -> int:
    try:
        return action()
    except DBAPIError as error:
        if is_fenced(error):
            raise Refused("a module has just moved; ask its owner's worker") from None
        raise
