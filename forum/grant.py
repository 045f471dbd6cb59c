"""`forum grant`, and `python -m forum.grant` where there is no monolith: DATABASE_URL is that of who owns users."""

from __future__ import annotations

import click
import psycopg

from forum.command import Refused, dsn
from strangler.fence import is_fenced


@click.command()
@click.argument("name")
@click.argument("role", type=click.Choice(["member", "moderator"]))
def grant(name: str, role: str) -> None:
    """Make the user NAME a member or moderator. It shows with their next log-in or refresh."""
    statement = "UPDATE users SET role = %s, updated_at = now() WHERE lower(username) = lower(%s)"
    try:
        with psycopg.connect(dsn(), connect_timeout=5) as connection:
            changed = connection.execute(statement, (role, name)).rowcount
    except psycopg.Error as error:
        if is_fenced(error):
            raise Refused("users has moved; set DATABASE_URL to the database that owns it now") from None
        raise Refused(f"DATABASE_URL: {str(error).strip().splitlines()[0]}") from None
    if not changed:
        raise Refused(f"there is no user {name!r}")
    click.echo(f"{name} is a {role}")


if __name__ == "__main__":
    grant()
