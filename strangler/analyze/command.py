"""`strangler analyze`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from strangler.analyze import catalogue, page, recording, seams, text
from strangler.analyze.report import Report
from strangler.commands.terminal import pass_config
from strangler.config import Config
from strangler.database import Database
from strangler.errors import StranglerError


@click.command()
@click.option("--recording", "recordings", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="What the application did, as STRANGLER_RECORD named it. May be given more than once.")  # fmt: skip
@click.option(
    "--rolled-back", is_flag=True, help="Count transactions that were rolled back: for tests that never commit."
)
@click.option("--site", help="The source database, when modules have several.")
@click.option("--html", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with the picture.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
@pass_config
def analyze(
    config: Config, recordings: tuple[Path, ...], rolled_back: bool, site: str | None, file: Path | None, json_: bool
) -> None:
    """Show where the seams are: what ties the modules together, and which to move first.

    The catalogue of the source database tells of foreign keys, triggers, views, functions, sequences and tables without
    a module. What the application really does, it must tell itself. Put this where it starts,

    \b
        from strangler.recorder import record
        record()

    run its tests, or some load, and look at the picture:

    \b
        STRANGLER_RECORD=/tmp/forum.jsonl pytest
        strangler analyze --recording /tmp/forum.jsonl --html seams.html

    Changes nothing in the database.
    """
    recorded = recording.read(list(recordings)) if recordings else None
    database = Database(*_source(config, site), options="")
    try:
        found = catalogue.read(database, config)
    finally:
        database.close()
    report = Report(database.site, found, recorded, seams.find(found, recorded, rolled_back))
    if file is not None:
        try:
            file.write_text(page.page(report), encoding="utf-8")
        except OSError as error:
            raise StranglerError(f"cannot write {file}: {error.strerror}; name another file with --html") from None
    if json_:
        click.echo(json.dumps(report.data(), default=str))
    else:
        console = Console(highlight=False)
        with console.capture() as shown:
            text.show(report, console)
        click.echo("\n".join(line.rstrip() for line in shown.get().splitlines()))


def _source(config: Config, site: str | None) -> tuple[str, str]:
    """Name and dsn of the source. Raises StranglerError when it is not clear which."""
    sources = sorted({module.source for module in config.modules.values()})
    if site is None and len(sources) != 1:
        raise StranglerError(f"modules have several sources ({', '.join(sources)}); say which with --site")
    name = site or sources[0]
    if name not in sources:
        raise StranglerError(f"--site {name}: no module has it as its source; there is: {', '.join(sources)}")
    return name, config.sites[name].dsn
