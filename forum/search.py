"""Full text search: PostgreSQL's, in a generated column `search` of the module's own table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Computed, FromClause, func, literal_column, select
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Session, Unmapped, unmapped_column

from forum import paging
from forum.schemas import MAX_ID, SearchQuery

RECENT = 1000
"""Rows that are looked through one by one."""

_LANGUAGE: ColumnElement[Any] = literal_column("'english'::regconfig")


def search_column(text: str) -> Unmapped[Any]:
    """The column `search` of a table with the column `text`. No row has to bring it along, so it is not mapped."""
    return unmapped_column(TSVECTOR, Computed(f"to_tsvector('english'::regconfig, {text})", persisted=True))


def search(session: Session, table: FromClause, asked: SearchQuery) -> tuple[Sequence[int], str | None]:
    """The ids of a page of matches, the latest first, and the next page's cursor. Raises Problem (422).

    A word that many rows have fills the page from the most recent ones; any other is looked up in the GIN index. Left
    to itself the planner would guess, and walk through all of a large table for a word that it does not know.
    """
    before = paging.after_id("search", asked.cursor) or MAX_ID
    here = table.c.id < before
    recent = select(table.c.id, table.c.search).where(here).order_by(table.c.id.desc()).limit(RECENT).subquery()
    walk = select(recent.c.id).where(_match(recent, asked.q)).order_by(recent.c.id.desc())
    # "+ 0": in the order of no index.
    look_up = select(table.c.id).where(_match(table, asked.q), here).order_by((table.c.id + 0).desc())
    ids: Sequence[int] = ()
    for way in (walk, look_up):
        if len(ids) <= asked.limit:
            ids = session.scalars(way.limit(asked.limit + 1)).all()
    return paging.page(ids, asked.limit, "search", lambda id: (id,))


def _match(table: FromClause, words: str) -> ColumnElement[bool]:
    return table.c.search.bool_op("@@")(func.websearch_to_tsquery(_LANGUAGE, words))
