"""Which mails belong together: by References and In-Reply-To, whatever order they come in, and then by subject.

Everything is in a database of SQLite's without a name: it stays in memory while it is small, is a file that nobody
else sees when it grows, and is gone with the process, however that ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from forum.archive.mail import Mail

_SCHEMA = """
PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA cache_size = -4000;
CREATE TABLE mail (
    seq INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, parents BLOB NOT NULL, title TEXT NOT NULL,
    subject TEXT NOT NULL, reply INTEGER NOT NULL, address TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL
);
CREATE TABLE person (
    address TEXT PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, id INTEGER
) WITHOUT ROWID;
-- Every mail that is known of, if only because another answers it. message, topic: what the forum has of it.
CREATE TABLE node (
    key BLOB PRIMARY KEY, thread INTEGER NOT NULL, message INTEGER, topic INTEGER
) WITHOUT ROWID;
CREATE INDEX node_thread ON node (thread);
CREATE TABLE thread (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, title TEXT NOT NULL, subject TEXT NOT NULL, reply INTEGER NOT NULL,
    topic INTEGER, joins INTEGER
);
"""


@dataclass(frozen=True)
class Person:
    address: str
    name: str
    since: datetime


@dataclass(frozen=True)
class NewTopic:
    id: int
    title: str
    author: int
    at: datetime


@dataclass(frozen=True)
class Post:
    """A message to insert; `opens`: the topic to insert before it."""

    id: int
    key: UUID
    topic: int
    opens: NewTopic | None
    author: int
    answers: int | None
    body: str
    at: datetime


class Threads:
    """First `add` every mail, then `join` once; then `people` are given ids, and `posts` come by time."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")
        self._threads = 0
        self._mails = 0

    def add(self, mail: Mail, imported: bool) -> bool:
        """False when the mail was there already. One that the forum has is remembered for those that answer it."""
        if not imported:
            at = max([mail.at.timestamp(), *self._when(mail.parents[:1])])  # no answer before its question
            row = (
                mail.key.bytes, b"".join(parent.bytes for parent in mail.parents), mail.title, mail.thread, mail.reply,
                mail.address, at, mail.body,
            )  # fmt: skip
            done = self._db.execute(
                "INSERT OR IGNORE INTO mail (key, parents, title, subject, reply, address, at, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row,
            )  # fmt: skip
            if not done.rowcount:
                return False
            self._mails += 1
            self._db.execute(
                "INSERT INTO person (address, name, at) VALUES (?, ?, ?)"
                " ON CONFLICT (address) DO UPDATE SET at = min(at, excluded.at)", (mail.address, mail.name, at),
            )  # fmt: skip
        self._link([mail.key.bytes, *(parent.bytes for parent in mail.parents)])
        return True

    def _when(self, keys: Sequence[UUID]) -> list[float]:
        return [at for key in keys for (at,) in self._db.execute("SELECT at FROM mail WHERE key = ?", (key.bytes,))]

    def _link(self, keys: list[bytes]) -> None:
        """Have these mails in one thread, with all that they were together with."""
        marks = ", ".join("?" * len(keys))
        found = dict(self._db.execute(f"SELECT key, thread FROM node WHERE key IN ({marks})", keys))  # noqa: S608
        others = set(found.values())
        if others:
            thread = min(others)
            for other in others - {thread}:
                self._db.execute("UPDATE node SET thread = ? WHERE thread = ?", (thread, other))
        else:
            self._threads += 1
            thread = self._threads
        new = [(key, thread) for key in keys if key not in found]
        self._db.executemany("INSERT OR IGNORE INTO node (key, thread) VALUES (?, ?)", new)

    def known(self, key: UUID, message: int, topic: int) -> None:
        """The forum has that mail as `message` of `topic`. Say so after it, or one that answers it, was added."""
        self._db.execute("UPDATE node SET message = ?, topic = ? WHERE key = ?", (message, topic, key.bytes))

    def join(self) -> tuple[int, int]:
        """Find the threads, and let those that begin with an answer join an earlier one of the same subject.

        How many topics and messages there are to insert.
        """
        self._db.executescript("""
            INSERT INTO thread (id, at, title, subject, reply)
            SELECT thread, min(at), title, subject, reply FROM mail JOIN node USING (key) GROUP BY thread;
            UPDATE thread SET topic = (SELECT min(topic) FROM node WHERE thread = thread.id);
            CREATE INDEX thread_subject ON thread (subject, at);
            CREATE INDEX mail_at ON mail (at, seq);
        """)
        orphans = "SELECT id, at, subject FROM thread WHERE reply AND topic IS NULL AND subject <> '' ORDER BY at, id"
        for id, at, subject in self._db.execute(orphans):
            self._db.execute(
                "UPDATE thread SET joins = (SELECT coalesce(joins, id) FROM thread"
                " WHERE subject = ? AND at <= ? AND id <> ? ORDER BY at DESC LIMIT 1) WHERE id = ?",
                (subject, at, id, id),
            )
        new = "SELECT count(*) FROM thread WHERE topic IS NULL AND joins IS NULL"
        return self._db.execute(new).fetchone()[0], self._mails

    def people(self) -> Iterator[Person]:
        """Who wrote, from the first to the last to begin."""
        rows = self._db.execute("SELECT address, name, at FROM person ORDER BY at, address")
        return (Person(address, name, _time(at)) for address, name, at in rows)

    def identify(self, ids: Iterable[tuple[int, str]]) -> None:
        """(user id, address)"""
        self._db.executemany("UPDATE person SET id = ? WHERE address = ?", ids)

    def posts(self, first_topic: int, first_message: int) -> Iterator[Post]:
        """The messages, by time, with ids from `first_message` on; new topics have them from `first_topic` on."""
        # By seq alone, so that what is read is not what is written meanwhile.
        mails = self._db.execute("SELECT seq FROM mail ORDER BY at, seq")
        for id, (seq,) in enumerate(mails, start=first_message):
            key, parents, at, body, author, thread, topic, title = self._db.execute(
                "SELECT key, parents, mail.at, body, person.id, root.id, root.topic, root.title FROM mail"
                " JOIN person USING (address) JOIN node USING (key) JOIN thread ON thread.id = node.thread"
                " JOIN thread AS root ON root.id = coalesce(thread.joins, thread.id) WHERE seq = ?",
                (seq,),
            ).fetchone()
            opens = None
            if topic is None:
                topic, first_topic = first_topic, first_topic + 1
                opens = NewTopic(topic, title, author, _time(at))
                self._db.execute("UPDATE thread SET topic = ? WHERE id = ?", (topic, thread))
            answers = self._answered(parents, topic)
            self._db.execute("UPDATE node SET message = ?, topic = ? WHERE key = ?", (id, topic, key))
            yield Post(id, UUID(bytes=key), topic, opens, author, answers, body, _time(at))

    def _answered(self, parents: bytes, topic: int) -> int | None:
        """The nearest of `parents` that is a message of the topic by now."""
        for start in range(0, len(parents), 16):
            found = self._db.execute(
                "SELECT message FROM node WHERE key = ? AND topic = ?", (parents[start : start + 16], topic)
            ).fetchone()
            if found and found[0] is not None:
                return int(found[0])
        return None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
