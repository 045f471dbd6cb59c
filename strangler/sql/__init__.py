"""The kit's SQL: named statements in .sql files beside this one, to be read as SQL by who must answer for a database.

`-- name: x` begins a statement (or several, run as one). `%(x)s` is a parameter; `{x}` is an identifier, a literal or a
piece of SQL, put in by psycopg.sql, quoted.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from psycopg import sql

from strangler.fence import SQLSTATE

LOCK_CLASS = 0x53545241
"""The first key of every advisory lock of the kit ("STRA")."""

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_CONSTANTS = {"lock_class": sql.Literal(LOCK_CLASS), "sqlstate": sql.Literal(SQLSTATE)}


@cache
def statements() -> dict[str, str]:
    """Every statement by its name."""
    found: dict[str, str] = {}
    for file in sorted(files(__name__).iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            _, *parts = _NAME.split(file.read_text())
            for name, text in zip(parts[::2], parts[1::2], strict=True):
                assert name not in found, f"{name} twice"
                found[name] = text.strip()
    return found


def statement(name: str, /, **pieces: sql.Composable) -> sql.Composed:
    """A statement, its pieces filled in."""
    return sql.SQL(statements()[name]).format(**_CONSTANTS, **pieces)  # type: ignore[arg-type, unused-ignore]


def table(name: str) -> sql.Identifier:
    """`schema.table` as a quoted identifier."""
    return sql.Identifier(*name.split(".", 1))


def quoted(name: str) -> str:
    """`schema.table` as the text that a cast to regclass takes."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))
