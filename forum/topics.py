"""Reading topics: lists, search, one, and how far somebody has read them. The same wherever the tables are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import BigInteger, FromClause, Table, bindparam, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.orm import Session

from forum import authors, paging, schemas
from forum.application import part
from forum.database import AnyConnection, Statement, once
from forum.problems import not_found
from forum.search import Search
from forum.viewcounts import SHOWN_SECONDS, ViewCounts

Row = tuple[Any, ...]
"""Id, pinned, last activity, title, locked, messages, created, updated; the author's id, and the names of a join."""
OWN = 8
KEPT, KEPT_PAGES = 4096, 256


class Topics:
    """What is asked of the tables `topics` and `topics_reads`, put together once.

    Columns and no entities: to make an entity of a row costs several times what the row does.
    """

    seconds = SHOWN_SECONDS
    """For how long an answer is good if nothing is written: it says how often topics were opened."""

    def __init__(
        self,
        topics: FromClause,
        reads: FromClause,
        users: authors.Authors,
        show_edited: Callable[[], bool] = lambda: False,
    ) -> None:
        self._topics, self._reads, self._show_edited = topics, reads, show_edited
        self._search = Search(topics)
        t, r = topics.c, reads.c
        source: FromClause = topics
        names: list[Any] = []
        self._ask = None if isinstance(users, FromClause) else users
        if isinstance(users, FromClause):
            source = topics.outerjoin(users, users.c.id == t.author_id)
            names = [users.c[name] for name in authors.NAMES]
        own = [t.id, t.pinned, t.last_activity_at, t.title, t.locked, t.message_count, t.created_at, t.updated_at]
        all_topics = select(*own, t.author_id, *names).select_from(source)
        ids, rows = bindparam("ids", type_=ARRAY(BigInteger)), bindparam("rows", type_=BigInteger)
        newest = all_topics.order_by(t.id.desc()).limit(rows)
        active = all_topics.order_by(t.pinned.desc(), t.last_activity_at.desc(), t.id.desc()).limit(rows)
        # Not one comparison of three columns: the planner would guess from `pinned` alone how many rows that leaves.
        earlier = tuple_(t.last_activity_at, t.id) < tuple_(bindparam("time"), bindparam("id"))
        self._first_newest, self._first_active = Statement(newest), Statement(active)
        self._after_newest = Statement(newest.where(t.id < bindparam("id")))
        self._after_pinned = Statement(active.where(~t.pinned | earlier))
        self._after_active = Statement(active.where(~t.pinned, earlier))
        self._one = Statement(all_topics.where(t.id == bindparam("id")))
        self._these = Statement(all_topics.where(t.id == func.any(ids)))
        theirs = (r.user_id == bindparam("reader")) & (r.topic_id == func.any(ids))
        self._read = Statement(select(r.topic_id, r.message_id, r.until).where(theirs))

    def listed(
        self, connection: AnyConnection, asked: schemas.TopicsQuery, user_id: int | None
    ) -> schemas.Page[schemas.Topic]:
        """user_id: who asks, None for a guest. Raises Problem."""
        return once(
            connection, lambda: self._listed(connection, asked, user_id), self, asked, user_id,
            seconds=self.seconds, keep=_is_complete,
        )  # fmt: skip

    def _listed(
        self, connection: AnyConnection, asked: schemas.TopicsQuery, user_id: int | None
    ) -> schemas.Page[schemas.Topic]:
        if asked.ids is not None:
            return self._page(connection, user_id, self.these(connection, asked.ids))
        if asked.sort == "views":
            return self._most_viewed(connection, asked, user_id)
        key = _newest if asked.sort == "newest" else _activity
        rows = self._after(connection, asked)
        return self._page(connection, user_id, *paging.page(rows, asked.limit, asked.sort, key))

    def found(
        self, connection: AnyConnection, asked: schemas.SearchQuery, user_id: int | None
    ) -> schemas.Page[schemas.Topic]:
        """By words of their titles, the latest first. Raises Problem."""
        ids, cursor = self._search.found(connection, asked)
        return self._page(connection, user_id, self.these(connection, ids), cursor)

    def one(self, connection: AnyConnection, topic_id: int, user_id: int | None, readers: int = 0) -> schemas.Topic:
        """As `listed`; counted as opened by so many readers. Raises Problem."""
        found = once(
            connection, lambda: self._one_shown(connection, topic_id, user_id), self, topic_id, user_id,
            seconds=self.seconds, keep=_is_complete,
        )  # fmt: skip
        if readers:
            part(ViewCounts).add(topic_id, readers)
        return found

    def _one_shown(self, connection: AnyConnection, topic_id: int, user_id: int | None) -> schemas.Topic:
        row = self.find(connection, topic_id)
        read = self._read_by(connection, [topic_id], user_id).get(topic_id)
        return self.shown(row, part(ViewCounts).read([topic_id])[topic_id], read)

    def find(self, connection: AnyConnection, topic_id: int) -> Row:
        """Raises Problem (404)."""
        for row in self._one.rows(connection, id=topic_id):
            return row
        raise not_found("topic")

    def these(self, connection: AnyConnection, ids: Sequence[int]) -> list[Row]:
        """Those of `ids` that exist, in that order."""
        rows = self._these.rows(connection, ids=[id for id in set(ids) if schemas.possible(id)])
        topics = {row[0]: row for row in rows}
        return [topics[id] for id in dict.fromkeys(ids) if id in topics]

    def mark_read(self, session: Session, user_id: int, topic_id: int, reading: schemas.Reading) -> None:
        """The reader got this far; never back. Raises Problem (404)."""
        t = self._topics.c
        here = select(t.id).where(t.id == topic_id).with_for_update(read=True, key_share=True)
        if session.scalar(here) is None:
            raise not_found("topic")
        new = insert(cast(Table, self._reads)).values(user_id=user_id, topic_id=topic_id, **reading.model_dump())
        self._never_back(session, new)

    def mark_all_read(self, session: Session, user_id: int, asked: schemas.AllRead) -> None:
        """Those that were active last, and not after that."""
        t = self._topics.c
        these = (
            select(literal(user_id), t.id, literal(0), literal(asked.until))
            .where(t.last_activity_at <= asked.until)
            .order_by(t.pinned.desc(), t.last_activity_at.desc(), t.id.desc())
            .limit(schemas.ALL)
            .with_for_update(read=True, key_share=True)
        )
        new = insert(cast(Table, self._reads)).from_select(["user_id", "topic_id", "message_id", "until"], these)
        self._never_back(session, new)

    def _never_back(self, session: Session, new: Insert) -> None:
        later = {
            name: func.greatest(self._reads.c[name], new.excluded[name]) for name in ("message_id", "until")
        }  # fmt: skip
        session.execute(new.on_conflict_do_update(index_elements=["user_id", "topic_id"], set_=later))

    def shown(
        self, row: Row, views: int | None, read: tuple[int, datetime] | None = None, known: authors.Known | None = None
    ) -> schemas.Topic:
        """A row as the contract has it. Of the same row it is the same object, as a page is: nobody may change it.

        known: who the authors are, when they have been asked for; without, they are now.
        """
        [named] = self._named([row], known)
        return _made(row[:OWN], named, views, read, self._show_edited())

    def _after(self, connection: AnyConnection, asked: schemas.TopicsQuery) -> Sequence[Row]:
        """Each order has its index (models.py), and the cursor is a place in it."""
        rows = asked.limit + 1
        if asked.sort == "newest":
            id = paging.after_id(asked.sort, asked.cursor)
            if id is None:
                return self._first_newest.rows(connection, rows=rows)
            return self._after_newest.rows(connection, rows=rows, id=id)
        place = paging.after_time(asked.sort, asked.cursor)
        if place is None:
            return self._first_active.rows(connection, rows=rows)
        pinned, time, id = place
        return (self._after_pinned if pinned else self._after_active).rows(connection, rows=rows, time=time, id=id)

    def _most_viewed(
        self, connection: AnyConnection, asked: schemas.TopicsQuery, user_id: int | None
    ) -> schemas.Page[schemas.Topic]:
        """Redis has the order. It moves while it is read, so the cursor is a place in it: a topic may come twice."""
        start = paging.after_id("views", asked.cursor) or 0
        views = part(ViewCounts).most_viewed(start, asked.limit + 1)
        ids, cursor = paging.page(list(views), asked.limit, "views", lambda _: (start + asked.limit,))
        return self._page(connection, user_id, self.these(connection, ids), cursor, views)

    def _page(
        self, connection: AnyConnection, user_id: int | None, rows: Sequence[Row], cursor: str | None = None,
        views: Mapping[int, int | None] | None = None,
    ) -> schemas.Page[schemas.Topic]:  # fmt: skip
        """views: when they are known; without, they are asked for."""
        ids = [row[0] for row in rows]
        read = self._read_by(connection, ids, user_id)
        if views is None:
            views = part(ViewCounts).read(ids)
        edited = self._show_edited()
        made_of = tuple(
            (row[:OWN], named, views[row[0]], read.get(row[0]), edited)
            for row, named in zip(rows, self._named(rows), strict=True)
        )
        return _page_made(made_of, cursor)

    def _named(self, rows: Sequence[Row], known: authors.Known | None = None) -> list[authors.Named | None]:
        if self._ask is None:
            return [authors.of_join(*row[OWN:]) for row in rows]
        if known is None:
            known = self._ask(row[OWN] for row in rows)
        return [authors.of_known(known, row[OWN]) for row in rows]

    def _read_by(
        self, connection: AnyConnection, ids: Sequence[int], user_id: int | None
    ) -> Mapping[int, tuple[int, datetime]]:
        """How far the one who asks has read these topics."""
        if user_id is None:
            return {}
        rows = self._read.rows(connection, reader=user_id, ids=ids)
        return {id: (message_id, until) for id, message_id, until in rows}


def _is_complete(found: schemas.Output) -> bool:
    return found.complete


def _newest(row: Row) -> paging.Key:
    return (row[0],)


def _activity(row: Row) -> paging.Key:
    id, pinned, last_activity_at, *_ = row
    return pinned, last_activity_at, id


@lru_cache(KEPT)
def _made(
    row: Row, named: authors.Named | None, views: int | None, read: tuple[int, datetime] | None, show_edited: bool
) -> schemas.Topic:
    id, pinned, last_activity_at, title, locked, message_count, created_at, updated_at = row
    return schemas.Topic(
        id=id,
        title=title,
        locked=locked,
        pinned=pinned,
        author=authors.shown(named),
        message_count=message_count,
        last_activity_at=last_activity_at,
        created_at=created_at,
        updated_at=updated_at,
        views=views,
        read=schemas.Read(message_id=read[0], until=read[1]) if read else None,
        edited=updated_at > created_at if show_edited else None,
    )


@lru_cache(KEPT_PAGES)
def _page_made(topics: tuple[tuple[Any, ...], ...], cursor: str | None) -> schemas.Page[schemas.Topic]:
    return schemas.Page[schemas.Topic](items=[_made(*each) for each in topics], next=cursor)
