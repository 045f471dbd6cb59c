"""Pages: how many the monolith serves, against a bare Flask route on the same gunicorn; asked in turns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import median

from tests.bench.client import load
from tests.bench.result import Options, Result, alternate, ratio
from tests.bench.serving import Server, bare, commits, gunicorn, monolith, seeded, stores, topics_of

BOUND = 0.3
MESSAGES = 10_000
PAIRS, SECONDS, CONNECTIONS, WARM_UP = 6, 4.0, 8, 2.0
COMMITS = 10


def measure(options: Options) -> list[Result]:
    with stores() as kept:
        database = seeded(kept, MESSAGES, options.say)
        nothing = f"{bare.__module__}:{bare.__name__}()"
        with gunicorn(nothing, {}, "/") as plain, monolith(kept, database) as forum:
            both = ("topic list", ["/"]), ("topic page", topics_of(database))
            found = [_compare(options, name, plain, forum, paths) for name, paths in both]
            with commits(database, COMMITS):
                busy = [_compare(options, f"{name}, {COMMITS} commits/s", plain, forum, paths) for name, paths in both]
            return found + [replace(result, bound="", holds=None) for result in busy]


def _compare(options: Options, name: str, plain: Server, forum: Server, paths: list[str]) -> Result:
    def ask(server: Server, asked: list[str]) -> float:
        """Requests/s; and notes the server's CPU for each, in ms."""
        before = server.cpu()
        found = load(server.url, asked, SECONDS, CONNECTIONS)
        cost[server.url].append((server.cpu() - before) * 1000 / len(found.times))
        return found.rate

    cost: dict[str, list[float]] = {plain.url: [], forum.url: []}
    for server, asked in ((plain, ["/"]), (forum, paths)):
        load(server.url, asked, WARM_UP, CONNECTIONS)
    options.say(f"{name}, requests/s: the page, and a bare route")
    pairs = alternate(partial(ask, forum, paths), partial(ask, plain, ["/"]), PAIRS, options.say)
    found, ours, theirs = ratio(pairs), median(cost[forum.url]), median(cost[plain.url])
    return Result(
        f"pages: {name} at the monolith",
        f"{found:.2f} of a bare Flask route's requests/s (CPU of gunicorn: {ours:.1f} ms and {theirs:.1f} ms)",
        f"at least {BOUND}", found >= BOUND, {"ratio": found, "pairs": pairs, "cpu_ms": [ours, theirs]},
    )  # fmt: skip
