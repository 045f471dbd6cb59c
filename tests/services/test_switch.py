"""Events on the move: whoever owns topics when an event comes, it is counted once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from redis import Redis

from strangler.config import Config
from strangler.handover import Limits
from strangler.move import Move
from tests.servers import wait_for
from tests.services.conftest import Place, working

COUNTED = "SELECT sum(message_count) FROM topics"


def test_each_message_is_counted_once_while_topics_moves_to_and_fro(place: Callable[..., Place], redis: Redis) -> None:
    monolith, topics = place("monolith"), place("topics", moved=False)
    ids = [monolith.topic() for _ in range(10)]
    sites = {each.site: {"dsn": each.admin, "url": "http://127.0.0.1:9"} for each in (monolith, topics)}
    module = monolith.config.module("topics").model_dump()
    config = Config.model_validate({"sites": sites, "modules": {"topics": module}})
    posted, stop = 0, threading.Event()

    def post() -> None:
        nonlocal posted
        while not stop.wait(0.005):
            monolith.post(ids[posted % 10], posted)
            posted += 1

    poster = threading.Thread(target=post)
    both = working(monolith, redis, adds_up=True), working(topics, redis, adds_up=True)
    with both[0], both[1], Move(config, "topics") as move:
        try:
            poster.start()
            move.create()
            for hand_over in (move.switch, move.reverse, move.switch):
                hand_over(Limits(override=frozenset({"diff", "service"})))
                goal = posted + 50
                owner = monolith if hand_over == move.reverse else topics
                wait_for(lambda: owner.value(COUNTED) >= goal, "the owner to count")  # noqa: B023
            stop.set()
            poster.join()
            wait_for(lambda: topics.value(COUNTED) >= posted, "the last event")
            move.forward.catch_up(30)
            move.back.catch_up(30)
            assert (topics.value(COUNTED), monolith.value(COUNTED)) == (posted, posted)
            assert topics.value("SELECT count(*) FROM topics_inbox") == posted
        finally:
            stop.set()
            for stream in (move.back, move.forward):
                stream.drop()
