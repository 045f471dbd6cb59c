"""Full text search: PostgreSQL's, in a generated column `search` of the module's own table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Computed,
    FromClause,
    Index,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.orm import Unmapped, unmapped_column

from forum import paging
from forum.database import AnyConnection, Statement
from forum.schemas import MAX_ID, SearchQuery

_BITS = 13
"""Blocks of 8,192 ids: of a word that one row in 300 has, any has more than a page."""

_LANGUAGE: ColumnElement[Any] = literal_column("'english'::regconfig")
_INDEXED = f"(search || array_to_tsvector(ARRAY[' '::text || ((id >> {_BITS})::text)]))"
"""The words, and as one more the block that the row's id is in. No word of a text has a space.

Written as PostgreSQL shows it, so that models and migrations can be compared.
"""


def search_column(source: str) -> Unmapped[Any]:
    """The column `search` of a table with the column `source`. No row has to bring it along, so it is not mapped."""
    return unmapped_column(TSVECTOR, Computed(f"to_tsvector('english'::regconfig, {source})", persisted=True))


def search_index(table: str) -> Index:
    """What `Search` looks into."""
    return Index(f"{table}_search_idx", text(_INDEXED), postgresql_using="gin")


class Search:
    """What is asked of `table` (with an id, `search_column` and `search_index`), put together once."""

    def __init__(self, table: FromClause) -> None:
        id = table.c.id
        here = id < bindparam("before")
        # "+ 0": in the order of no index.
        every = select(id).where(_match(func.websearch_to_tsquery(_LANGUAGE, bindparam("words"))), here)
        every = every.order_by((id + 0).desc()).limit(bindparam("rows", type_=BigInteger))
        self._latest = Statement(select(func.max(id)).where(here))
        self._every = Statement(every)
        self._among = Statement(every.where(_match(cast(bindparam("blocks"), TSQUERY))))

    def found(self, connection: AnyConnection, asked: SearchQuery) -> tuple[Sequence[int], str | None]:
        """The ids of a page of matches, the latest first, and the next page's cursor. Raises Problem (422).

        A GIN index has no order: of a word that many rows have all would be fetched and sorted for the latest. So first
        only those are asked for whose ids are in the latest two blocks, which is one more word to the index; a word
        that is too rare to fill a page from these is looked up without.
        """
        before = paging.after_id("search", asked.cursor) or MAX_ID
        values: dict[str, object] = {"words": asked.q, "before": before, "rows": asked.limit + 1}
        [(latest,)] = self._latest.rows(connection, before=before)
        block = (latest or 0) >> _BITS
        rows = self._among.rows(connection, blocks=f"' {block}' | ' {block - 1}'", **values)
        if len(rows) <= asked.limit and block > 1:
            rows = self._every.rows(connection, **values)
        return paging.page([id for (id,) in rows], asked.limit, "search", lambda id: (id,))


def _match(query: ColumnElement[Any]) -> ColumnElement[bool]:
    return literal_column(_INDEXED, TSVECTOR).bool_op("@@")(query)
