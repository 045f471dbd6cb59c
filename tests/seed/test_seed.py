"""What `forum seed` promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from argon2 import PasswordHasher

from forum import viewcounts
from forum.migrations import upgrade
from forum.redis_client import connect
from forum.schemas import NewMessage, NewTopic, Registration
from forum.seed import Seeded, SeedError, seed
from forum.viewcounts import ViewCounts
from local.databases import APPLICATION, prepare
from local.postgres import Cluster
from monolith.migrate import SCRIPTS
from tests.servers import RedisServer

UNTIL = datetime(2026, 6, 1, 12, tzinfo=UTC)
PASSWORD = "a password of the seed"
SIZE: dict[str, Any] = {"users": 60, "topics": 80, "messages": 1500}


@pytest.fixture(scope="session")
def new_forum(cluster: Cluster) -> Callable[[], str]:
    """Makes an empty forum's database."""

    def make() -> str:
        name = f"seed_{uuid4().hex[:12]}"
        prepare(cluster, name, cluster.password)
        url = cluster.dsn(name, user=APPLICATION)
        upgrade(url, SCRIPTS)
        return url

    return make


@pytest.fixture(scope="session")
def seeded(new_forum: Callable[[], str]) -> str:
    url = new_forum()
    done = seed(url, **SIZE, password=PASSWORD, until=UNTIL)
    assert (done.users, done.topics, done.messages) == tuple(SIZE.values())
    return url


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


EVERYTHING = (
    "SELECT * FROM topics ORDER BY id",
    "SELECT * FROM messages ORDER BY id",
    "SELECT id, username, display_name, email, bio, role, created_at FROM users ORDER BY id",
)


def test_the_same_arguments_give_the_same_forum(seeded: str, new_forum: Callable[[], str]) -> None:
    twin, other = new_forum(), new_forum()
    seed(twin, **SIZE, password=PASSWORD, until=UNTIL)
    seed(other, **SIZE, password=PASSWORD, until=UNTIL, rng_seed=2)
    for query in EVERYTHING:
        assert rows(seeded, query) == rows(twin, query)
        assert rows(seeded, query) != rows(other, query)


def test_counters_and_times_agree_with_the_messages(seeded: str) -> None:
    wrong = """
        SELECT t.id FROM topics t LEFT JOIN messages m ON m.topic_id = t.id GROUP BY t.id
        HAVING count(m.id) <> t.message_count OR max(m.created_at) <> t.last_activity_at
            OR min(m.created_at) <> t.created_at OR count(m.id) = 0"""
    assert rows(seeded, wrong) == []
    span = "SELECT max(created_at) <= '2026-06-01 12:00Z', min(created_at) < '2024-01-01Z' FROM messages"
    assert rows(seeded, span) == [(True, True)]


def test_nobody_writes_before_they_joined_and_no_reply_precedes_what_it_answers(seeded: str) -> None:
    early = "SELECT m.id FROM messages m JOIN users u ON u.id = m.author_id WHERE m.created_at < u.created_at"
    assert rows(seeded, early) == []
    odd = """
        SELECT r.id FROM messages r JOIN messages m ON m.id = r.reply_to
        WHERE r.id <= m.id OR r.topic_id <> m.topic_id"""
    assert rows(seeded, odd) == []
    back = """
        SELECT id FROM (SELECT id, created_at < lag(created_at) OVER (ORDER BY id) AS back FROM messages) m
        WHERE back"""
    assert rows(seeded, back) == []
    assert rows(seeded, "SELECT count(reply_to) > 300 FROM messages") == [(True,)]


def test_activity_has_a_long_tail(seeded: str) -> None:
    sizes = sorted((count for (count,) in rows(seeded, "SELECT message_count FROM topics")), reverse=True)
    assert sum(sizes[: len(sizes) // 5]) > sum(sizes) * 0.55
    assert sizes[len(sizes) // 2] < sum(sizes) / len(sizes)


def test_what_is_seeded_could_have_been_written_through_the_api(seeded: str) -> None:
    for id, title in rows(seeded, "SELECT id, title FROM topics"):
        assert NewTopic(title=title), id
    for topic_id, body in rows(seeded, "SELECT topic_id, body FROM messages"):
        assert NewMessage(topic_id=topic_id, body=body)
        assert "{" not in body
    for username, name, email, bio in rows(seeded, "SELECT username, display_name, email, bio FROM users"):
        assert Registration(username=username, display_name=name, email=email, bio=bio, password=PASSWORD)


def test_everybody_can_log_in_and_one_is_a_moderator(seeded: str) -> None:
    hashes = {hash for (hash,) in rows(seeded, "SELECT password_hash FROM users")}
    assert len(hashes) == 1
    assert PasswordHasher().verify(hashes.pop(), PASSWORD)
    assert rows(seeded, "SELECT username FROM users WHERE role = 'moderator'") == [("moderator",)]
    assert rows(seeded, "SELECT role FROM users WHERE username = 'demo'") == [("member",)]


def test_the_moderator_has_put_two_topics_on_top(seeded: str) -> None:
    assert rows(seeded, "SELECT author_id, locked FROM topics WHERE pinned") == [(1, False)] * 2


def test_topics_have_been_viewed_when_there_is_redis(new_forum: Callable[[], str], redis_server: RedisServer) -> None:
    url, redis = new_forum(), connect(redis_server.another_url())
    viewcounts.begin(redis, {10_000: 7})
    small: dict[str, Any] = {"users": 5, "topics": 30, "messages": 400, "password": PASSWORD, "until": UNTIL}
    assert seed(url, **small, redis=redis).views
    first = ViewCounts(redis).most_viewed(0, 31)
    assert set(first) == set(range(1, 31)), "those of the forum before are forgotten"
    assert all(first.values())
    seed(url, **small, replace=True, redis=redis)
    assert ViewCounts(redis).most_viewed(0, 31) == first
    assert not seed(url, **small, replace=True, redis=connect("redis://127.0.0.1:1")).views
    assert not seed(url, **small, replace=True).views


def test_the_next_row_gets_the_next_id(seeded: str) -> None:
    for table, size in SIZE.items():
        assert rows(seeded, f"SELECT nextval(pg_get_serial_sequence('{table}', 'id'))") == [(size + 1,)]


def test_a_forum_with_content_is_left_alone_unless_told_otherwise(new_forum: Callable[[], str]) -> None:
    url = new_forum()
    small: dict[str, Any] = {"users": 5, "topics": 4, "messages": 9}
    seed(url, **small, password=PASSWORD, until=UNTIL)
    with pytest.raises(SeedError, match=r"content already \(5 users, 4 topics, 9 messages\).*--replace"):
        seed(url, **small, password=PASSWORD)
    assert isinstance(seed(url, users=6, topics=4, messages=10, password=PASSWORD, replace=True), Seeded)
    assert rows(url, "SELECT count(*), max(id) FROM messages") == [(10, 10)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "short"}, "--password or SEED_PASSWORD"),
        ({"messages": 3, "topics": 4}, "--messages at least as many as topics"),
        ({"users": 1}, "--users at least 3"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.delenv("SEED_PASSWORD", raising=False)
    with pytest.raises(SeedError) as refused:
        seed("postgresql://nobody@127.0.0.1:9/none", **{"password": PASSWORD, **changes})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_database_that_cannot_be_seeded_is_named_in_one_line(cluster: Cluster) -> None:
    with pytest.raises(SeedError, match="forum migrate"):
        seed(cluster.dsn(), password=PASSWORD)
    with pytest.raises(SeedError) as refused:
        seed("postgresql://nobody@127.0.0.1:9/none", password=PASSWORD)
    assert "cannot seed this database" in str(refused.value)
    assert "\n" not in str(refused.value)
