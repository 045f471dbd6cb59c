"""The command `strangler`. Exit codes: 0 done, 1 a check failed or not yet (try again), 2 bad input or state."""

from __future__ import annotations

import sys
from typing import NoReturn

import click
import psycopg

from strangler.analyze.command import analyze
from strangler.commands.init import init
from strangler.commands.metrics import metrics
from strangler.commands.move import move
from strangler.commands.picture import picture
from strangler.commands.route import route
from strangler.commands.stage import stage
from strangler.errors import NotYetError, StranglerError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", envvar="STRANGLER_CONFIG", default="strangler.toml", show_default=True, help="The configuration."
)
@click.version_option(package_name="strangler")
@click.pass_context
def cli(context: click.Context, config: str) -> None:
    """Move a module out of a monolith into a service with its own PostgreSQL, without an outage.

    \b
    strangler init                  a first strangler.toml, from a database and a Flask application
    strangler analyze               what ties the modules together, and which to move first
    strangler move users create     copy the tables and keep both copies equal
    strangler move users status     where it stands, and what comes next (--watch)
    strangler move users diff       compare both copies while writes go on (--repair)
    strangler move users switch     the target owns the module
    strangler move users reverse    the source owns it again
    strangler move users complete   no way back any more; the source's tables are retired
    strangler move users cancel     before a switch: undo create
    strangler move users events     who did what, and when
    strangler stage 2-users         all of that for a stage of strangler.toml, and the gateway's routes
    strangler picture               watch it on a page

    create, switch, reverse, complete and cancel take --dry-run; every command has --help. Every command can be killed
    and run again.
    """
    context.obj = config


for command in (init, analyze, move, stage, route, metrics, picture):
    cli.add_command(command)


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
