"""Keyset pagination: a cursor says after which row to go on, so a page costs the same wherever it is.

The cursor is opaque to clients: the sort order's name and the sort key of the last row, base64url of JSON. It carries
no secret and grants nothing, so it is not signed; one that was tampered with is refused or shows other public rows.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from forum.problems import invalid
from forum.schemas import MAX_ID

Row = TypeVar("Row")
Key = tuple[int] | tuple[bool, datetime, int]
"""Sort key of a row: (id,), or (pinned, time, id) where times may be equal; or (place,) in an order kept elsewhere."""


def encode(sort: str, key: Key) -> str:
    values = [value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for value in key]
    return base64.urlsafe_b64encode(json.dumps([sort, *values], separators=(",", ":")).encode()).decode().rstrip("=")


def _decode(sort: str, cursor: str) -> list[object]:
    try:
        document = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise invalid("cursor", "is not one of ours") from None
    if not isinstance(document, list) or not document or document[0] != sort:
        raise invalid("cursor", f"does not belong to the order {sort!r}")
    return document[1:]


def _id(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise invalid("cursor", "is not one of ours")
    return value


def after_id(sort: str, cursor: str | None) -> int | None:
    """The id that a cursor of (id,) stands at; None for the first page. Raises Problem (422)."""
    if cursor is None:
        return None
    values = _decode(sort, cursor)
    return _id(values[0] if len(values) == 1 else None)


def after_time(sort: str, cursor: str | None) -> tuple[bool, datetime, int] | None:
    """The (pinned, time, id) that a cursor stands at; None for the first page. Raises Problem (422)."""
    if cursor is None:
        return None
    values = _decode(sort, cursor)
    try:
        pinned, time, id = values
        return bool(pinned), datetime.fromisoformat(str(time)).astimezone(UTC), _id(id)
    except (ValueError, OverflowError):
        raise invalid("cursor", "is not one of ours") from None


def page(rows: Sequence[Row], limit: int, sort: str, key: Callable[[Row], Key]) -> tuple[Sequence[Row], str | None]:
    """Of limit + 1 rows asked for: the page's rows, and the next page's cursor if there was one row more."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode(sort, key(rows[limit - 1]))
