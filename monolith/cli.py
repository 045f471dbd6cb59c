"""The command `forum`: what an operator does to the monolith's database. DATABASE_URL says which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from forum import migrations, openapi, seed
from forum.archive import ArchiveError, jsonl, load
from forum.command import Refused, dsn, redis
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
        done = seed.seed(dsn(), **options, redis=redis())
    except seed.SeedError as error:
        raise Refused(str(error)) from None
    if not done.views:
        click.echo("Nobody has viewed a topic yet: views are counted in Redis, and REDIS_URL leads to none.", err=True)
    click.echo(f"{done.users} users, {done.topics} topics and {done.messages} messages in {done.seconds:.1f} s")


main.add_command(grant)


@main.group("import")
def import_() -> None:
    """Bring content in from files."""


@import_.command("mbox")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def import_mbox(files: tuple[Path, ...]) -> None:
    """Make users, topics and messages of the mails in FILES (mbox, also gzipped). A mail is imported only once."""
    try:
        done = load.load(dsn(), files)
    except ArchiveError as error:
        raise Refused(str(error)) from None
    click.echo(
        f"{done.messages} messages in {done.topics} new topics by {done.users} new users in {done.seconds:.1f} s"
        + (f"; {done.cut} of them cut to the length that the forum takes" if done.cut else "")
    )
    for reason, number in sorted(done.skipped.items()):
        click.echo(f"skipped {number}: {reason}")


@import_.command("jsonl")
@click.argument("file", type=click.Path(path_type=Path))
def import_jsonl(file: Path) -> None:
    """Read what `forum export` wrote into an empty forum."""
    try:
        done = jsonl.load(dsn(), file)
    except ArchiveError as error:
        raise Refused(str(error)) from None
    click.echo(", ".join(f"{number} {table}" for table, number in done.items()))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--public", is_flag=True, help="Leave out e-mail addresses, password hashes and what was read.")
def export(file: Path, public: bool) -> None:
    """Write the forum to FILE as lines of JSON ("-": to standard output)."""
    try:
        done = jsonl.export(dsn(), None if str(file) == "-" else file, personal=not public)
    except ArchiveError as error:
        raise Refused(str(error)) from None
    click.echo(", ".join(f"{number} {table}" for table, number in done.items()), err=True)
    if not public:
        click.echo("It holds e-mail addresses and password hashes: keep it as you keep the database.", err=True)


@main.command("openapi")
def contract() -> None:
    """Print the API's contract, an OpenAPI document. Asks no database."""
    click.echo(json.dumps(openapi.document(), indent=2))


if __name__ == "__main__":
    main()
