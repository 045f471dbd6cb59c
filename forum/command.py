"""What the forum's commands share: their database, and how they refuse."""

from __future__ import annotations

from typing import TypeVar

import click
from redis import Redis

from forum import redis_client
from forum.settings import DatabaseSettings, Environment, SettingsError, ViewsSettings, read

Wanted = TypeVar("Wanted", bound=Environment)


class Refused(click.ClickException):
    """One line that says what is wrong and how to mend it; nothing has changed."""

    exit_code = 2


def dsn() -> str:
    """DATABASE_URL. Raises Refused."""
    return _read(DatabaseSettings).database_url.get_secret_value()


def redis() -> Redis | None:
    """That of REDIS_URL; None when there is none. Raises Refused."""
    url = _read(ViewsSettings).redis_url
    return redis_client.connect(url, timeout=5) if url else None


def _read(settings: type[Wanted]) -> Wanted:
    try:
        return read(settings)
    except SettingsError as error:
        raise Refused(str(error)) from None
