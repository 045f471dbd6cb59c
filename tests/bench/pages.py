"""Pages: how many the monolith serves, against a bare Flask route on the same gunicorn; asked in turns."""

from __future__ import annotations

from functools import partial

from tests.bench.client import load
from tests.bench.result import Options, Result, alternate, ratio
from tests.bench.serving import bare, gunicorn, monolith, seeded, stores, topics_of

BOUND = 0.3
MESSAGES = 10_000
PAIRS, SECONDS, CONNECTIONS, WARM_UP = 6, 4.0, 8, 2.0


def measure(options: Options) -> list[Result]:
    with stores() as kept:
        database = seeded(kept, MESSAGES, options.say)
        nothing = f"{bare.__module__}:{bare.__name__}()"
        with gunicorn(nothing, {}, "/") as plain, monolith(kept, database) as forum:
            return [
                _compare(options, name, plain, forum, paths)
                for name, paths in (("topic list", ["/"]), ("topic page", topics_of(database)))
            ]


def _compare(options: Options, name: str, plain: str, forum: str, paths: list[str]) -> Result:
    def rate(url: str, asked: list[str]) -> float:
        return load(url, asked, SECONDS, CONNECTIONS).rate

    for url, asked in ((plain, ["/"]), (forum, paths)):
        load(url, asked, WARM_UP, CONNECTIONS)
    options.say(f"{name}, requests/s: the page, and a bare route")
    pairs = alternate(partial(rate, forum, paths), partial(rate, plain, ["/"]), PAIRS, options.say)
    found = ratio(pairs)
    return Result(
        f"pages: {name} at the monolith",
        f"{found:.2f} of a bare Flask route's requests/s",
        f"at least {BOUND}", found >= BOUND, {"ratio": found, "pairs": pairs},
    )  # fmt: skip
