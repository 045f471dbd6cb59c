"""The kit's SQL: named statements in .sql files beside this one, to be read as SQL by who must answer for a database.

`-- name: x` begins a statement (or several, run as one), `-- name: x!` one that changes something or takes a lock.
`%(x)s` is a parameter; `{x}` is an identifier, a literal or a piece of SQL, put in by psycopg.sql, quoted.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from psycopg import sql

from strangler.fence import SQLSTATE

LOCK_CLASS = 0x53545241
"""The first key of every advisory lock of the kit ("STRA")."""

_NAME = re.compile(r"^-- name: (\w+!?)$", re.MULTILINE)
_CONSTANTS = {"lock_class": sql.Literal(LOCK_CLASS), "sqlstate": sql.Literal(SQLSTATE)}


@cache
def _read() -> tuple[dict[str, str], frozenset[str]]:
    """Every statement by its name, and the names of those that change something."""
    found: dict[str, str] = {}
    changing = set()
    for file in sorted(files(__name__).iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            _, *parts = _NAME.split(file.read_text())
            for mark, text in zip(parts[::2], parts[1::2], strict=True):
                name = mark.removesuffix("!")
                assert name not in found, f"{name} twice"
                found[name] = text.strip()
                if name != mark:
                    changing.add(name)
    return found, frozenset(changing)


def changes(name: str) -> bool:
    """Whether a statement changes something, or takes a lock; all others only look."""
    return name in _read()[1]


def statement(name: str, /, **pieces: sql.Composable) -> sql.Composed:
    """A statement, its pieces filled in."""
    return sql.SQL(_read()[0][name]).format(**_CONSTANTS, **pieces)  # type: ignore[arg-type, unused-ignore]


def table(name: str) -> sql.Identifier:
    """`schema.table` as a quoted identifier."""
    return sql.Identifier(*name.split(".", 1))


def quoted(name: str) -> str:
    """`schema.table` as the text that a cast to regclass takes."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))
