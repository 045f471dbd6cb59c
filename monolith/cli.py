"""The command `forum`: what an operator does to the monolith's database. DATABASE_URL says which."""

from __future__ import annotations

from typing import Any

import click
import psycopg

from forum import migrations, seed
from forum.settings import DatabaseSettings, SettingsError, read
from monolith.migrate import SCRIPTS
from strangler.fence import is_fenced


class Refused(click.ClickException):
    """One line that says what is wrong and how to mend it; nothing has changed."""

    exit_code = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The forum's database: DATABASE_URL (or DATABASE_URL_FILE) in the environment."""


@main.command()
def migrate() -> None:
    """Make the tables, or bring them up to date."""
    migrations.main(SCRIPTS)


@main.command("seed")
@click.option("--users", default=2000, show_default=True)
@click.option("--topics", default=4000, show_default=True)
@click.option("--messages", default=100_000, show_default=True)
@click.option("--seed", "rng_seed", default=1, show_default=True, help="The same number gives the same forum.")
@click.option("--password", help="Of every seeded account.  [default: $SEED_PASSWORD]")
@click.option("--replace", is_flag=True, help="Empty a forum that has content first.")
def fill(**options: Any) -> None:
    """Fill an empty forum with users, topics and messages."""
    try:
        done = seed.seed(_dsn(), **options)
    except seed.SeedError as error:
        raise Refused(str(error)) from None
    click.echo(f"{done.users} users, {done.topics} topics and {done.messages} messages in {done.seconds:.1f} s")


@main.command()
@click.argument("name")
@click.argument("role", type=click.Choice(["member", "moderator"]))
def grant(name: str, role: str) -> None:
    """Make the user NAME a member or moderator. It shows with their next log-in or refresh."""
    statement = "UPDATE users SET role = %s, updated_at = now() WHERE lower(username) = lower(%s)"
    try:
        with psycopg.connect(_dsn(), connect_timeout=5) as connection:
            changed = connection.execute(statement, (role, name)).rowcount
    except psycopg.Error as error:
        if is_fenced(error):
            raise Refused("users has moved; set DATABASE_URL to the database that owns it now") from None
        raise Refused(f"DATABASE_URL: {str(error).strip().splitlines()[0]}") from None
    if not changed:
        raise Refused(f"there is no user {name!r}")
    click.echo(f"{name} is a {role}")


def _dsn() -> str:
    try:
        return read(DatabaseSettings).database_url.get_secret_value()
    except SettingsError as error:
        raise Refused(str(error)) from None


if __name__ == "__main__":
    main()
