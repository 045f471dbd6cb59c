"""Reading messages: of a topic, by search, one. The same wherever the table is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import inf
from typing import Any

from sqlalchemy import BigInteger, FromClause, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from forum import authors, paging, schemas
from forum.database import AnyConnection, Statement, once
from forum.problems import not_found
from forum.search import Search

Row = tuple[Any, ...]
"""Id, topic, body, created, updated, reply to, an excerpt of that; both authors' ids, and the names of a join."""
OWN = 7
Parts = tuple[Row, authors.Named | None, authors.Named | None]
"""What a message is made of: a row's own, and who wrote it and what it answers."""
KEPT, KEPT_PAGES, SHORT = 4096, 256, 2000
"""Messages and pages that are kept as the contract has them, and how long a body, in characters, may be for that."""


class Messages:
    """What is asked of the table `messages`, put together once. Columns and no entities, as in `forum.topics`."""

    def __init__(self, messages: FromClause, users: authors.Authors) -> None:
        self._search = Search(messages)
        m, quoted = messages.c, messages.alias()
        source = messages.outerjoin(quoted, quoted.c.id == m.reply_to)
        names: list[Any] = []
        self._ask = None if isinstance(users, FromClause) else users
        self.seconds = inf if self._ask is None else authors.SECONDS
        if isinstance(users, FromClause):
            quoted_users = users.alias()
            source = source.outerjoin(users, users.c.id == m.author_id)
            source = source.outerjoin(quoted_users, quoted_users.c.id == quoted.c.author_id)
            names = [who.c[name] for who in (users, quoted_users) for name in authors.NAMES]
        excerpt = func.left(quoted.c.body, schemas.EXCERPT)
        own = [m.id, m.topic_id, m.body, m.created_at, m.updated_at, m.reply_to, excerpt]
        all_messages = select(*own, m.author_id, quoted.c.author_id, *names).select_from(source)
        of_topic = all_messages.where(m.topic_id == bindparam("topic_id"), m.id > bindparam("after"))
        rows = bindparam("rows", type_=BigInteger)
        self._of_topic = Statement(of_topic.order_by(m.id).limit(rows))
        self._last_of_topic = Statement(of_topic.order_by(m.id.desc()).limit(rows))
        self._one = Statement(all_messages.where(m.id == bindparam("id")))
        these = all_messages.where(m.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))))
        self._these = Statement(these.order_by(m.id.desc()))

    def listed(self, connection: AnyConnection, asked: schemas.MessagesQuery) -> schemas.Page[schemas.Message]:
        """Oldest first. A topic that does not exist has no messages. Raises Problem."""
        return once(connection, lambda: self._listed(connection, asked), self, asked, seconds=self.seconds, keep=_keep)

    def _listed(self, connection: AnyConnection, asked: schemas.MessagesQuery) -> schemas.Page[schemas.Message]:
        after = paging.after_id("oldest", asked.cursor)
        rows: Sequence[Row] = ()
        if schemas.possible(asked.topic_id):
            here = {"topic_id": asked.topic_id, "after": after or 0}
            if asked.last and after is None:
                return self._page(self._last_of_topic.rows(connection, rows=asked.limit, **here)[::-1], None)
            rows = self._of_topic.rows(connection, rows=asked.limit + 1, **here)
        return self._page(*paging.page(rows, asked.limit, "oldest", lambda row: (row[0],)))

    def found(self, connection: AnyConnection, asked: schemas.SearchQuery) -> schemas.Page[schemas.Message]:
        """In all topics, the latest first. Raises Problem."""
        ids, cursor = self._search.found(connection, asked)
        return self._page(self._these.rows(connection, ids=ids), cursor)

    def one(self, connection: AnyConnection, message_id: int, known: authors.Known | None = None) -> schemas.Message:
        """known: who the authors are, when they have been asked for; without, they are now. Raises Problem (404)."""
        for row in self._one.rows(connection, id=message_id):
            return _page_made(tuple(self._parts([row], known)), None).items[0]
        raise not_found("message")

    def _page(self, rows: Sequence[Row], cursor: str | None) -> schemas.Page[schemas.Message]:
        made = _page_kept if all(map(_is_short, rows)) else _page_made
        return made(tuple(self._parts(rows, None)), cursor)

    def _parts(self, rows: Sequence[Row], known: authors.Known | None) -> Iterator[Parts]:
        if self._ask is not None and known is None:
            known = self._ask(id for row in rows for id in row[OWN:])
        for row in rows:
            author_id, quoted_id, *names = row[OWN:]
            if known is not None:
                yield row[:OWN], authors.of_known(known, author_id), authors.of_known(known, quoted_id)
            else:
                yield row[:OWN], authors.of_join(author_id, *names[:2]), authors.of_join(quoted_id, *names[2:])


def _is_short(row: Row) -> bool:
    return len(row[2]) <= SHORT


def _keep(page: schemas.Page[schemas.Message]) -> bool:
    return page.complete and all(len(message.body) <= SHORT for message in page.items)


def _page_made(messages: tuple[Parts, ...], cursor: str | None) -> schemas.Page[schemas.Message]:
    """Of the same rows it may be the same page, of the same row the same message: nobody may change them."""
    items = [(_kept if _is_short(parts[0]) else _made)(*parts) for parts in messages]
    return schemas.Page[schemas.Message](items=items, next=cursor)


_page_kept = lru_cache(KEPT_PAGES)(_page_made)


def _made(row: Row, named: authors.Named | None, quoted: authors.Named | None) -> schemas.Message:
    id, topic_id, body, created_at, updated_at, reply_to, excerpt = row
    return schemas.Message(
        id=id,
        topic_id=topic_id,
        author=authors.shown(named),
        reply_to=reply_to,
        quote=None if excerpt is None else schemas.Quote(author=authors.shown(quoted), excerpt=excerpt),
        body=body,
        created_at=created_at,
        updated_at=updated_at,
    )


_kept = lru_cache(KEPT)(_made)
