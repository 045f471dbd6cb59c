"""Who wrote what and when in the seeded forum: the numbers, before any words.

Activity is long-tailed on both sides: a few people write most posts, a few topics have hundreds of them. Everybody
joins before they write, every reply comes after what it answers, and ids rise with time, as in a forum that grew.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from math import pi, pow, sin
from random import Random

YEARS = 3.0
DAY = 86_400.0
STAFF = 2
"""The first two accounts, `moderator` and `demo`, older than everything else."""


@dataclass(frozen=True)
class Post:
    """One message. `answers`: the index, within its topic, of the post it replies to."""

    at: float
    topic: int
    place: int
    author: int
    answers: int | None


@dataclass(frozen=True)
class Plan:
    """Times are Unix seconds. `joined[i]` belongs to user id i + 1, `topics[t]` (its posts in order) to topic id t + 1;
    `posts` are all posts by time, the one at index i being message id i + 1."""

    joined: list[float]
    topics: list[list[Post]]
    posts: list[Post]


def topic_sizes(random: Random, topics: int, messages: int) -> list[int]:
    """How many messages each topic has: at least one, Pareto-shaped (80:20), `messages` in all."""
    weights = [min(random.paretovariate(1.05), random.uniform(60, 200)) - 0.6 for _ in range(topics)]
    spare, total, given = messages - topics, sum(weights), 0
    sizes, seen = [], 0.0
    for weight in weights:
        seen += weight
        upto = round(spare * seen / total)
        sizes.append(1 + upto - given)
        given = upto
    return sizes


def usual_life(size: int) -> float:
    """How long, in seconds, a topic of `size` messages is talked about: bigger ones longer."""
    return DAY * (0.3 + pow(size, 0.9))


def give_time(random: Random, sizes: list[int], ages: list[float]) -> None:
    """Swap sizes so that hardly any topic has hundreds of messages on its first day. `ages`: oldest first."""
    for young in range(len(sizes) - 1, 0, -1):
        for _ in range(20):
            if usual_life(sizes[young]) < 2 * ages[young]:
                break
            old = random.randrange(young)
            if sizes[old] < sizes[young] and usual_life(sizes[young]) < 2 * ages[old]:
                sizes[old], sizes[young] = sizes[young], sizes[old]


def waking(at: float) -> float:
    """The same day, at an hour when people write: most of them towards evening. Keeps the order of times."""
    day, fraction = divmod(at / DAY, 1)
    amount, peak, turn = 0.65, 0.62, 2 * pi
    moved = fraction + amount / turn * (sin(turn * (peak - fraction)) - sin(turn * peak))
    return (day + moved) * DAY


def before_waking(at: float) -> float:
    """The time that `waking` turns into `at` (or a hair less)."""
    day = at // DAY * DAY
    return day + bisect_left(range(int(DAY)), at, key=lambda second: waking(day + second)) - 1.0


def make(random: Random, users: int, topics: int, messages: int, until: datetime) -> Plan:
    """The plan of a forum that opened `YEARS` before `until` and has just written its last message."""
    end = before_waking(until.timestamp())
    start = end - YEARS * 365 * DAY
    span = end - start - 600
    joined = [start, start + 60, *sorted(start + 120 + span * random.random() ** 1.4 for _ in range(users - STAFF))]
    shares = [min(random.paretovariate(0.9), 200.0) for _ in range(users)]
    shares[:STAFF] = [100.0, 0.0]  # `demo` writes nothing: it is the visitor's
    upto = list(accumulate(shares))

    def somebody(at: float) -> int:
        """A user who has joined by then; the busy ones more often."""
        last = bisect_right(joined, at)
        return 1 + min(bisect_right(upto, random.random() * upto[last - 1]), last - 1)

    opened = sorted(start + 600 + span * random.random() ** 0.7 for _ in range(topics))
    sizes = topic_sizes(random, topics, messages)
    give_time(random, sizes, [end - at for at in opened])
    planned = [
        conversation(random, topic, at, size, end, somebody)
        for topic, (at, size) in enumerate(zip(opened, sizes, strict=True), start=1)
    ]
    posts = sorted((post for topic in planned for post in topic), key=lambda post: (post.at, post.topic, post.place))
    return Plan([waking(at) for at in joined], planned, posts)


def conversation(
    random: Random, topic: int, opened: float, size: int, end: float, somebody: Callable[[float], int]
) -> list[Post]:
    """The posts of one topic: thick at first, thinner later."""
    life = min(usual_life(size) * random.expovariate(1.0), end - opened)
    times = [opened, *sorted(opened + life * random.random() ** 1.7 for _ in range(size - 1))]
    opener = somebody(opened)
    posts = [Post(waking(opened), topic, 0, opener, None)]
    for place in range(1, size):
        author = posts[-1].author
        for _ in range(3):  # nobody talks to themselves for long
            if author != posts[-1].author:
                break
            kind = random.random()
            author = opener if kind < 0.2 else random.choice(posts).author if kind < 0.5 else somebody(times[place])
        answers = None
        if random.random() < 0.4:
            answers = max(0, place - 1 - int(random.expovariate(0.6))) if random.random() < 0.8 else 0
        posts.append(Post(waking(times[place]), topic, place, author, answers))
    return posts
