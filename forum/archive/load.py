"""`forum import mbox`: archives of mailing lists into the monolith's database, beside what is in it.

In transactions of a thousand messages, each with its topics, its counters and the keys of its mails. So whenever it
ends, what is there is whole, and the next run goes on behind it. Nobody waits for it: ids are reserved in advance, and
readers and writers go on meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import sql
from rich.console import Console

from forum import bulk
from forum.archive import ArchiveError, mbox
from forum.archive.mail import Mail, SkippedError, read
from forum.archive.threads import Person, Post, Threads
from forum.events import counting
from strangler.fence import is_fenced

LOOK_UP = 500
"""Mails, or people, that the database is asked about at once."""
BATCH = 1000
"""Messages in a transaction."""
NO_PASSWORD = "!"  # noqa: S105
"""A hash of no password: nobody can log in."""
WRITTEN = ("users", "topics", "messages", "messages_imports")
Row = TypeVar("Row")


@dataclass
class Imported:
    users: int = 0
    topics: int = 0
    messages: int = 0
    cut: int = 0
    """Messages that were longer than the forum takes."""
    seconds: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)
    """Mails by the reason why they became no message."""


def load(dsn: str, files: Sequence[Path], console: Console | None = None) -> Imported:
    """Import the mails of `files`. Raises ArchiveError."""
    started, done = monotonic(), Imported()
    for path in files:
        mbox.check(path)
    try:
        with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            require_owner(connection)
            threads = Threads()
            with bulk.bars(console) as progress:
                for path in files:
                    _read(connection, threads, path, bulk.bar(progress, "reading", path.stat().st_size, "bytes"), done)
                topics, messages = threads.join()
                done.users = _write_people(connection, threads)
                if messages:
                    _write(connection, threads, topics, messages, bulk.bar(progress, "writing", messages), done)
            if done.messages:
                for table in WRITTEN:
                    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
    except psycopg.Error as error:
        raise explained(error, "import into") from error
    done.seconds = monotonic() - started
    return done


def require_owner(connection: psycopg.Connection[Any]) -> None:
    """Raises psycopg.Error when one of the modules has moved: a statement meets the fence, also one without rows."""
    for table in WRITTEN:
        connection.execute(sql.SQL("DELETE FROM {} WHERE false").format(sql.Identifier(table)))


def explained(error: psycopg.Error, what: str) -> ArchiveError:
    """The one line that a command says of it."""
    if is_fenced(error):
        return ArchiveError(
            f"cannot {what} this forum: {error.diag.message_primary}; only while the monolith owns users, topics "
            "and messages (stages 0 and 1)"
        )
    if isinstance(error, psycopg.errors.UndefinedTable):
        return ArchiveError("the forum's tables are not there; make them first: forum migrate")
    return ArchiveError(f"cannot {what} this database: {str(error).strip().splitlines()[0]}")


# --- reading --------------------------------------------------------------------------------------------------------


def _read(
    connection: psycopg.Connection[Any], threads: Threads, path: Path, tell: bulk.Tell, done: Imported
) -> None:  # fmt: skip
    with mbox.opened(path) as (file, disk):
        mails = _mails(mbox.mails(file), datetime.fromtimestamp(path.stat().st_mtime, UTC), done)
        while batch := list(islice(mails, LOOK_UP)):
            _add(connection, threads, batch, done)
            tell(disk.tell())
    tell(path.stat().st_size)


def _mails(found: Iterator[tuple[bytes, bytes | None]], before: datetime, done: Imported) -> Iterator[Mail]:
    for mark, data in found:
        try:
            if data is None:
                raise SkippedError(f"larger than {mbox.MAX_MAIL // 1024**2} MiB")
            mail = read(mark, data, before)
        except SkippedError as reason:
            done.skipped[str(reason)] += 1
        else:
            before = mail.at
            yield mail


def _add(connection: psycopg.Connection[Any], threads: Threads, mails: Sequence[Mail], done: Imported) -> None:
    keys = list({key for mail in mails for key in (mail.key, *mail.parents)})
    known: dict[UUID, tuple[int | None, int | None]] = {
        key: (message, topic)
        for key, message, topic in connection.execute(
            "SELECT key, messages.id, topic_id FROM messages_imports LEFT JOIN messages ON messages.id = message_id"
            " WHERE key = ANY (%s)",
            (keys,),
        )
    }
    for mail in mails:
        if not threads.add(mail, mail.key in known):
            done.skipped["twice in these files"] += 1
        elif mail.key in known:
            done.skipped["imported before"] += 1
        else:
            done.cut += mail.cut
    for key, (message, topic) in known.items():
        if message is not None and topic is not None:
            threads.known(key, message, topic)


# --- writing --------------------------------------------------------------------------------------------------------


def _write_people(connection: psycopg.Connection[Any], threads: Threads) -> int:
    """Accounts for those who have none, which nobody can log in to. How many."""
    made = 0
    people = threads.people()
    while batch := list(islice(people, LOOK_UP)):
        found = connection.execute(
            "SELECT id, lower(email) FROM users WHERE lower(email) = ANY (%s)", ([each.address for each in batch],)
        ).fetchall()
        there = {address for _, address in found}
        new = [each for each in batch if each.address not in there]
        names = _usernames(connection, new)
        first = _reserve(connection, "users", len(new))
        rows = [
            (id, names[each.address], each.name, each.address, NO_PASSWORD, each.since, each.since)
            for id, each in enumerate(new, start=first)
        ]
        columns = ("id", "username", "display_name", "email", "password_hash", "created_at", "updated_at")
        with connection.cursor() as cursor:
            bulk.copy(cursor, "users", columns, rows)
        threads.identify([*found, *((row[0], row[3]) for row in rows)])
        made += len(rows)
    return made


def _usernames(connection: psycopg.Connection[Any], people: Sequence[Person]) -> dict[str, str]:
    """A free name for each, by address: from the address, and with a few digits of its hash when that is taken."""
    wanted = {each.address: list(_candidates(each.address)) for each in people}
    lower = [name.lower() for names in wanted.values() for name in names]
    rows = connection.execute("SELECT lower(username) FROM users WHERE lower(username) = ANY (%s)", (lower,))
    taken = {name for (name,) in rows}
    chosen = {}
    for address, names in wanted.items():
        chosen[address] = next(name for name in names if name.lower() not in taken)
        taken.add(chosen[address].lower())
    return chosen


def _candidates(address: str) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9_.-]+", "-", address.rpartition("@")[0]).strip("-.")[:32]
    digest = hashlib.sha256(address.encode()).hexdigest()
    if len(name) >= 3:
        yield name
    for length in (4, 8, 22):
        yield f"{name[: 31 - length] or 'user'}-{digest[:length]}"[:32]


def _reserve(connection: psycopg.Connection[Any], table: str, number: int) -> int:
    """The first of `number` ids that nobody else will get.

    With the table locked, for a moment: who inserts takes the lock before the id.
    """
    if not number:
        return 0
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '10s'")
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table)))
        [first] = connection.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", (table,)).fetchone() or [0]
        connection.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", (table, first + number - 1))
    return int(first)


# Now, and once more by the event: a count that began before, and is on its way, may be taken later.
_COUNT = """
    UPDATE topics SET message_count = counted.messages, last_activity_at = greatest(created_at, counted.latest)
    FROM (SELECT topics.id, messages, latest
          FROM topics
          JOIN (SELECT topic_id, count(*) AS messages, max(created_at) AS latest
                FROM messages WHERE topic_id = ANY (%s) GROUP BY topic_id) AS by_topic ON topic_id = topics.id
          ORDER BY topics.id FOR UPDATE OF topics) AS counted
    WHERE topics.id = counted.id
"""
_RECOUNT = """
    INSERT INTO outbox (event_id, type, payload)
    SELECT gen_random_uuid(), 'topics.recount', jsonb_build_object('topic_ids', %s::bigint[])
"""


def _write(
    connection: psycopg.Connection[Any], threads: Threads, topics: int, messages: int, tell: bulk.Tell, done: Imported
) -> None:  # fmt: skip
    posts = threads.posts(_reserve(connection, "topics", topics), _reserve(connection, "messages", messages))
    while batch := list(islice(posts, BATCH)):
        _write_batch(connection, batch, done)
        tell(done.messages)


def _write_batch(connection: psycopg.Connection[Any], posts: Sequence[Post], done: Imported) -> None:
    opened = [post.opens for post in posts if post.opens]
    with connection.transaction(), connection.cursor() as cursor:
        columns = ("id", "author_id", "title", "last_activity_at", "created_at", "updated_at")
        rows = ((topic.id, topic.author, topic.title, topic.at, topic.at, topic.at) for topic in opened)
        bulk.copy(cursor, "topics", columns, rows)
        messages = ((p.id, p.topic, p.author, p.answers, p.body, p.at, p.at) for p in posts)
        names = ("id", "topic_id", "author_id", "reply_to", "body", "created_at", "updated_at")
        bulk.copy(cursor, "messages", names, messages)
        bulk.copy(cursor, "messages_imports", ("key", "message_id"), ((post.key, post.id) for post in posts))
        topics = sorted({post.topic for post in posts})
        cursor.execute(_COUNT, (topics,))
        known = [topic for topic in topics if topic not in {each.id for each in opened}]
        for start in range(0, len(known), counting.BATCH):
            cursor.execute(_RECOUNT, (known[start : start + counting.BATCH],))
    done.topics += len(opened)
    done.messages += len(posts)
