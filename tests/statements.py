"""What an application asks of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg

from forum.database import Reading


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that this process sends meanwhile, with its parameters; pings left out.

    Nothing is shown again that was read before.
    """
    seen: list[tuple[str, Any]] = []
    execute = psycopg.Cursor.execute

    def note(self: psycopg.Cursor[Any], query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[Any]:
        if query != ";":
            seen.append((query, params))
        return execute(self, query, params, **options)

    with mock.patch.object(psycopg.Cursor, "execute", note), mock.patch.object(Reading, "kept", return_value=None):
        yield seen
