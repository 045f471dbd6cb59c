"""The fence as applications see it: the SQLSTATE by which the database refuses a write at a site that is not owner."""

from __future__ import annotations

SQLSTATE = "STR01"
"""Raised by the trigger in sql/site.sql. Class ST is not used by PostgreSQL or the SQL standard."""

SERIALIZATION_FAILURE = "40001"


def sqlstate(error: BaseException | None) -> str | None:
    """The SQLSTATE of a psycopg error, of the one that SQLAlchemy wrapped, or that was met when `error` was raised."""
    while error is not None:
        own = getattr(error, "orig", error)
        if state := getattr(own, "sqlstate", None) or getattr(own, "pgcode", None):  # psycopg 3, psycopg 2
            return str(state)
        error = error.__cause__ or error.__context__
    return None


def is_fenced(error: BaseException) -> bool:
    """Whether `error` says that this site does not own the module (roll back, then ask the owner)."""
    return sqlstate(error) == SQLSTATE
