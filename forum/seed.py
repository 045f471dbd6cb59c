"""`forum seed`: fills an empty forum, the same way each time, fast (COPY, one transaction).

People, topics and posts come from `seed_plan` (who, when) and `seed_text` (words); this puts them into the database of
the monolith, with explicit ids, and leaves the sequences after them. Everybody has the same password and so one hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from time import monotonic
from typing import Any

import psycopg
from argon2 import PasswordHasher
from psycopg import sql
from redis import Redis
from rich.console import Console

from forum import bulk, seed_plan, seed_text, viewcounts

BIG = 0.04
"""The share of topics, the largest, that are the never-ending ones ("What are you running?")."""
PINNED = 2
"""Topics that a moderator has put on top: of those that they opened the two that are talked about most."""
CONTENT = ("users", "sessions", "topics", "topics_reads", "messages")
BESIDE = (
    "users_idempotency", "topics_idempotency", "topics_inbox", "topics_parked",
    "messages_idempotency", "messages_inbox", "messages_parked", "messages_counted", "messages_imports",
    "outbox",
)  # fmt: skip


class SeedError(Exception):
    """Nothing was written; the message says in one line why, and how to mend it."""


@dataclass(frozen=True)
class Seeded:
    users: int
    topics: int
    messages: int
    seconds: float
    views: bool
    """Whether the topics have been viewed: not without Redis."""


def seed(
    dsn: str,
    users: int = 2000,
    topics: int = 4000,
    messages: int = 100_000,
    rng_seed: int = 1,
    password: str | None = None,
    until: datetime | None = None,
    replace: bool = False,
    console: Console | None = None,
    redis: Redis | None = None,
) -> Seeded:
    """Fill the forum in the database at `dsn`; all of it or, when it fails or is interrupted, nothing.

    password: of every seeded account (`moderator`, `demo` and the rest); default: the environment's SEED_PASSWORD.
    until: when the last message was written; default: now. The same arguments with the same `until` give the same rows.
    replace: empty a forum that has content first, instead of refusing. No worker should run meanwhile.
    redis: where views are counted; None: nobody has viewed anything.
    Raises SeedError.
    """
    started = monotonic()
    password = password or os.environ.get("SEED_PASSWORD")
    if not password or not 10 <= len(password) <= 200:
        raise SeedError("the seeded accounts need a password of 10 to 200 characters: --password or SEED_PASSWORD")
    if users < seed_plan.STAFF + 1 or topics < 1 or messages < topics:
        raise SeedError("too small: --users at least 3, --topics at least 1, --messages at least as many as topics")
    until = until or datetime.now(UTC)
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            _make_room(connection, replace)
            sizes = _fill(connection, Random(rng_seed), users, topics, messages, _hash(password), until, console)  # noqa: S311
        with psycopg.connect(dsn, autocommit=True) as connection:
            for table in CONTENT:  # so that the first pages are planned with the truth
                connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
    except psycopg.errors.UndefinedTable as error:
        raise SeedError("the forum's tables are not there; make them first: forum migrate") from error
    except psycopg.Error as error:
        raise SeedError(f"cannot seed this database: {str(error).strip().splitlines()[0]}") from error
    viewed = redis is not None and viewcounts.begin(redis, _views(Random(rng_seed), sizes))  # noqa: S311
    return Seeded(users, topics, messages, monotonic() - started, viewed)


def _hash(password: str) -> str:
    # OWASP's minimum for Argon2id, as in forum.settings; a hash carries its own parameters, so they may differ.
    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(password)


def _make_room(connection: psycopg.Connection[Any], replace: bool) -> None:
    if replace:
        # The outbox too: what it still has to tell is about rows whose ids are given out again.
        tables = sql.SQL(", ").join(map(sql.Identifier, CONTENT + BESIDE))
        connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))
        return
    found = connection.execute(
        "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM topics), (SELECT count(*) FROM messages)"
    ).fetchone()
    if found and any(found):
        raise SeedError(
            "this forum has content already ({} users, {} topics, {} messages); "
            "seed an empty one, or say --replace to delete everything in it".format(*found)
        )


def _fill(
    connection: psycopg.Connection[Any], random: Random, users: int, topics: int, messages: int,
    password_hash: str, until: datetime, console: Console | None,
) -> list[int]:  # fmt: skip
    """Answers how many messages each topic has."""
    plan = seed_plan.make(random, users, topics, messages, until)
    taken = {"moderator", "demo"}
    people = [("moderator", "Moderator", "Keeps an eye on things."), ("demo", "Demo", "Try me.")]
    people += [seed_text.person(random, taken) for _ in range(users - len(people))]
    biggest = set(sorted(range(topics), key=lambda index: -len(plan.topics[index]))[: round(topics * BIG)])
    threads = [seed_text.thread(random, index in biggest) for index in range(topics)]
    with bulk.bars(console) as progress, connection.cursor() as cursor:
        for table, names, rows, total in (
            ("users", USERS, _users(plan, people, password_hash), users),
            ("topics", TOPICS, _topics(random, plan, threads), topics),
            ("messages", MESSAGES, _messages(random, plan, threads, people), messages),
        ):
            bulk.copy(cursor, table, names, rows, bulk.bar(progress, table, total))
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", (table, total))
    return [len(posts) for posts in plan.topics]


USERS = ("id", "username", "display_name", "email", "bio", "role", "password_hash", "created_at", "updated_at")
TOPICS = (
    "id", "author_id", "title", "locked", "pinned", "message_count", "last_activity_at", "created_at", "updated_at",
)  # fmt: skip
MESSAGES = ("id", "topic_id", "author_id", "reply_to", "body", "created_at", "updated_at")


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _users(plan: seed_plan.Plan, people: list[tuple[str, str, str]], password_hash: str) -> Iterator[tuple[Any, ...]]:
    for id, ((username, name, bio), joined) in enumerate(zip(people, plan.joined, strict=True), start=1):
        role = "moderator" if id == 1 else "member"
        email = f"{username.lower()}@example.org"
        yield id, username, name, email, bio, role, password_hash, _at(joined), _at(joined)


def _topics(random: Random, plan: seed_plan.Plan, threads: list[seed_text.Thread]) -> Iterator[tuple[Any, ...]]:
    by_moderator = [id for id, posts in enumerate(plan.topics, start=1) if posts[0].author == 1]
    pinned = set(sorted(by_moderator, key=lambda id: -len(plan.topics[id - 1]))[:PINNED])
    for id, (posts, about) in enumerate(zip(plan.topics, threads, strict=True), start=1):
        opened, last = _at(posts[0].at), _at(posts[-1].at)
        locked = random.random() < 0.02 and id not in pinned
        yield id, posts[0].author, about.title, locked, id in pinned, len(posts), last, opened, opened


def _views(random: Random, sizes: list[int]) -> dict[int, int]:
    """Topic -> how often it was viewed: some times for each message."""
    return {id: round(messages * random.lognormvariate(2.5, 0.6)) for id, messages in enumerate(sizes, start=1)}


def _messages(
    random: Random, plan: seed_plan.Plan, threads: list[seed_text.Thread], people: list[tuple[str, str, str]]
) -> Iterator[tuple[Any, ...]]:
    ids: dict[tuple[int, int], int] = {}
    for id, post in enumerate(plan.posts, start=1):
        ids[post.topic, post.place] = id
        about, siblings = threads[post.topic - 1], plan.topics[post.topic - 1]
        if post.place == 0:
            body, answers = seed_text.opening(random, about), None
        else:
            to = None if post.answers is None else people[siblings[post.answers].author - 1][1]
            body = seed_text.reply(random, about, post.author == siblings[0].author, to)
            answers = None if post.answers is None else ids[post.topic, post.answers]
        edited = min(post.at + random.expovariate(1 / 1800), plan.posts[-1].at) if random.random() < 0.03 else post.at
        yield id, post.topic, post.author, answers, body, _at(post.at), _at(max(edited, post.at))
