"""Size: every read, with a million messages and with ten thousand; asked in turns. Nothing may grow with the forum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import psycopg

from tests.bench.client import load
from tests.bench.result import Options, Result, alternate, ratio
from tests.bench.serving import commits, monolith, seeded, stores, topics_of

BOUND = 1.5
SMALL = 10_000
PAIRS, SECONDS, WARM_UP = 6, 2.0, 1.0
COMMITS = 200
"""A second."""
WORDS = ("time", "compost+heap", "rear+derailleur", "nobodyeverwrotethis")
"""From frequent in what `forum seed` writes to never."""


def measure(options: Options) -> list[Result]:
    with stores() as kept:
        few = seeded(kept, SMALL, options.say)
        many = seeded(kept, options.rows, options.say)
        # What is read is to be read from the database, not from what was kept since nothing was written.
        with monolith(kept, few) as small, monolith(kept, many) as large, commits(few, COMMITS):
            a, b = reads(few), reads(many)
            return [_compare(options, name, (large.url, b[name]), (small.url, a[name])) for name in a]


def reads(database: str) -> Mapping[str, list[str]]:
    """The addresses of each read, spread over the forum; those with a cursor begin in the middle."""
    pages = topics_of(database)
    topics = [page.rpartition("/")[2] for page in pages]
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT id, author_id, topic_id FROM messages ORDER BY random() LIMIT 50").fetchall()
        names = connection.execute("SELECT username FROM users ORDER BY random() LIMIT 50").fetchall()
    messages, users = [str(row[0]) for row in rows], [str(row[1]) for row in rows]
    return {
        "topic list": ["/"],
        "newest topics": ["/?sort=newest"],
        "topic page": pages,
        "profile": [f"/users/{id}" for id in users],
        "GET /api/topics": ["/api/topics", "/api/topics?sort=newest", "/api/topics?limit=100"],
        "GET /api/topics/ID": [f"/api/topics/{id}?peek=1" for id in topics],
        "GET /api/messages": [f"/api/messages?topic_id={id}" for id in topics],
        "GET /api/messages/ID": [f"/api/messages/{id}" for id in messages],
        "GET /api/topics/search": [f"/api/topics/search?q={word}" for word in WORDS],
        "GET /api/messages/search": [f"/api/messages/search?q={word}" for word in WORDS],
        "GET /api/users/ID": [f"/api/users/{id}" for id in users],
        "GET /api/users?ids": [f"/api/users?ids={','.join(users)}"],
        "GET /api/users?username": [f"/api/users?username={name}" for (name,) in names],
    }


def _compare(options: Options, name: str, many: tuple[str, list[str]], few: tuple[str, list[str]]) -> Result:
    def p95(url: str, paths: list[str]) -> float:
        return load(url, paths, SECONDS, 1).p95

    for url, paths in (many, few):
        load(url, paths, WARM_UP, 1)
    options.say(f"{name}, p95 in ms: {options.rows:,} messages, and {SMALL:,}")
    pairs = alternate(partial(p95, *many), partial(p95, *few), PAIRS, options.say)
    found = ratio(pairs)
    return Result(
        f"size: {name}",
        f"{found:.2f} times the p95 with {SMALL:,} messages",
        f"at most {BOUND}", found <= BOUND, {"ratio": found, "pairs": pairs},
    )  # fmt: skip
