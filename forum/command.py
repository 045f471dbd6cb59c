"""What the forum's commands share: their database, and how they refuse."""

from __future__ import annotations

import click
from redis import Redis

from forum import redis_client
from forum.settings import DatabaseSettings, SettingsError, ViewsSettings, read


class Refused(click.ClickException):
    """One line that says what is wrong and how to mend it; nothing has changed."""

    exit_code = 2


def dsn() -> str:
    """DATABASE_URL. Raises Refused."""
    try:
        return read(DatabaseSettings).database_url.get_secret_value()
    except SettingsError as error:
        raise Refused(str(error)) from None


def redis() -> Redis | None:
    """That of REDIS_URL; None when there is none. Raises Refused."""
    try:
        url = read(ViewsSettings).redis_url
    except SettingsError as error:
        raise Refused(str(error)) from None
    return redis_client.connect(url, timeout=5) if url else None
