"""`strangler init`."""

from __future__ import annotations

from pathlib import Path

import click

from strangler.errors import StranglerError


@click.command()
@click.option("--dsn", envvar="MONOLITH_DSN", required=True, show_envvar=True,
              help="The monolith's database. It is only read, and does not go into the file.")  # fmt: skip
@click.option("--app", "app", required=True, metavar="MODULE:APP",
              help="The Flask application, or its factory, named as for `flask --app`.")  # fmt: skip
@click.option("--output", default="strangler.toml", show_default=True, type=click.Path(path_type=Path), metavar="FILE",
              help="What to write. An existing file is left alone.")  # fmt: skip
def init(dsn: str, app: str, output: Path) -> None:
    """Write a first strangler.toml, from the tables of a database and the routes of a Flask application.

    \b
        strangler init --app shop:create_app

    Routes make a module by their blueprint, or by the first segment of their path that says something. Tables go to
    the module that they are called like, or else to the only one that they refer to. What cannot be told is listed in
    comments, for you to decide.
    """
    try:  # the other commands do without Flask
        from strangler.init import write
    except ImportError as error:
        raise StranglerError(
            f"`init` needs {error.name}; run it where the application runs, with pip install 'strangler[flask]'"
        ) from None
    proposal = write(dsn, app, output)
    for group in proposal.modules:
        click.echo(f"{group.name}: {', '.join(group.tables)}; {', '.join(group.prefixes)}")
    if proposal.tables_left:
        click.echo(f"of no module: {', '.join(proposal.tables_left)}")
    click.echo(f"{output} is a proposal: read it and mend it. Next: strangler analyze")
