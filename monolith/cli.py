"""The command `forum`: what an operator does to the monolith's database. DATABASE_URL says which."""

from __future__ import annotations

from typing import Any

import click

from forum import migrations, seed
from forum.command import Refused, dsn
from forum.grant import grant
from monolith.migrate import SCRIPTS


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
        done = seed.seed(dsn(), **options)
    except seed.SeedError as error:
        raise Refused(str(error)) from None
    click.echo(f"{done.users} users, {done.topics} topics and {done.messages} messages in {done.seconds:.1f} s")


main.add_command(grant)

if __name__ == "__main__":
    main()
