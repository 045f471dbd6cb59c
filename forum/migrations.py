"""Alembic, run by the application itself: `python -m monolith.migrate` before (or while) its processes start.

Repeatable, and safe when several start at once: one migrates, the others wait for it.
A folder of migrations needs only `versions/` and an `env.py` of two lines:

    from forum.migrations import run
    run()
"""

from __future__ import annotations

import sys

from alembic import command, context
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from forum.database import psycopg_url
from forum.settings import DatabaseSettings, SettingsError, read

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('forum.migrations', 0))")


def upgrade(url: str, scripts: str) -> None:
    """Bring the database at `url` to the newest revision of `scripts` ("package:folder"), in one transaction."""
    config = Config()
    config.set_main_option("script_location", scripts)
    config.set_main_option("path_separator", "os")
    engine = create_engine(psycopg_url(url), poolclass=NullPool, connect_args={"connect_timeout": 5})
    with engine.begin() as connection:
        connection.execute(_LOCK)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def run() -> None:
    """What an env.py does."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


def main(scripts: str) -> None:
    """`python -m PACKAGE.migrate`: exit 2, with one line, when the database cannot be migrated."""
    try:
        upgrade(read(DatabaseSettings).database_url.get_secret_value(), scripts)
    except SettingsError as error:
        sys.exit(_complain(str(error)))
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", error)).strip().splitlines()[0]
        sys.exit(_complain(f"DATABASE_URL: cannot migrate the database: {cause}"))


def _complain(line: str) -> int:
    print(line, file=sys.stderr)
    return 2
