"""What topics say of their messages is what there is, once all is settled: whatever came late, twice, unordered."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from forum.events import Consumer, Relay, Worker, consumer, counting, drained, emit
from forum.events.lag import of_groups
from forum.events.relay import STREAM
from tests.servers import wait_for
from tests.services.conftest import Place, handlers_of

Make = Callable[..., Place]

SHOWN = "SELECT id, message_count, last_activity_at FROM topics ORDER BY id"
TRUTH = "SELECT count(*), max(created_at) FROM messages WHERE topic_id = %s"


def worker(place: Place, redis: Redis) -> Worker:
    handlers = handlers_of(place.site, redis)
    return Worker(place.site, engine=place.engine, redis=redis, config=place.config, handlers=handlers)


def post(messages: Place, topic: int) -> int:
    """As the view does: the message and what it tells, in one transaction."""
    with Session(messages.engine) as session:
        insert = text("INSERT INTO messages (topic_id, body) VALUES (:topic, 'x') RETURNING id")
        message: int = session.execute(insert, {"topic": topic}).scalar_one()
        emit(session, "message.posted", {"topic_id": topic, "message_id": message})
        session.commit()
    return message


def delete(messages: Place, topic: int, message: int) -> None:
    with Session(messages.engine) as session:
        session.execute(text("DELETE FROM messages WHERE id = :id"), {"id": message})
        emit(session, "message.deleted", {"topic_id": topic, "message_id": message})
        session.commit()


def wrong(topics: Place, messages: Place) -> list[Any]:
    """Topics that say something else than there is."""
    created = dict(topics.query("SELECT id, created_at FROM topics"))
    found = []
    for topic, number, latest in topics.query(SHOWN):
        [(truth, last)] = messages.query(TRUTH, (topic,))
        if (number, latest) != (truth, max(created[topic], last or created[topic])):
            found.append((topic, number, truth, latest, last))
    return found


def settled(redis: Any, *places: Place) -> bool:
    """Every event has been published and acknowledged."""
    groups = [group for place in places for group in of_groups(place.engine, redis, [place.site])]
    return all(drained(place.engine) for place in places) and not any(g.undelivered + g.pending for g in groups)


@pytest.fixture
def both(place: Make, redis: Redis) -> tuple[Place, Place]:
    redis.ping()
    return place("topics"), place("messages")


def test_counts_are_the_truth_once_the_dust_has_settled(
    both: tuple[Place, Place], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Posts and deletions at once, two workers each, events twice and out of order, and lost acknowledgements."""
    topics, messages = both
    ids = [topics.topic() for _ in range(5)]
    stop = threading.Event()
    acknowledge, dice = redis.xack, random.Random(6)

    def lossy(*words: Any) -> Any:
        """As if the process had been killed between its commit and this."""
        return 0 if not stop.is_set() and dice.random() < 0.3 else acknowledge(*words)

    monkeypatch.setattr(redis, "xack", lossy)

    def write(number: int) -> None:
        mine, dice = [], random.Random(number)
        while not stop.is_set():
            topic = dice.choice(ids)
            mine.append((topic, post(messages, topic)))
            if dice.random() < 0.5:
                delete(messages, *mine.pop(dice.randrange(len(mine))))

    def shuffle() -> None:
        """Publishes some of what was published once more, without order, as events of their own."""
        while not stop.is_set():
            entries = redis.xrevrange(STREAM, count=100)
            for _, entry in dice.sample(entries, min(5, len(entries))):
                redis.xadd(STREAM, {**entry, "id": f"{dice.getrandbits(128):032x}"})
            time.sleep(0.02)

    with ExitStack() as stack:
        for one in [worker(place, redis) for place in both for _ in range(2)]:
            thread = threading.Thread(target=one.run)
            thread.start()
            stack.callback(thread.join, 30)
            stack.callback(one.stop)
        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in (*writers, shuffler := threading.Thread(target=shuffle)):
            thread.start()
        try:
            wait_for(lambda: topics.value("SELECT sum(counted) FROM topics") > 200, "some hundred counts")
        finally:
            stop.set()
            for thread in (*writers, shuffler):
                thread.join()
        wait_for(lambda: settled(redis, *both), "all events to be handled")
        assert wrong(topics, messages) == []
        assert messages.value("SELECT count(*) FROM messages") > 0


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers do not wait for events that will not come."""
    monkeypatch.setattr(consumer, "BLOCK", 1)


def step(reader: Consumer, times: int = 2) -> None:
    """The first makes the group."""
    for _ in range(times):
        reader.step()


def deliver(redis: Redis, *places: Place) -> None:
    """Publish and handle what there is, by workers that run nothing by themselves."""
    for _ in range(2):
        for place in places:
            Relay(place.engine, redis, place.site).step()
        for place in places:
            for reader in worker(place, redis).consumers:
                step(reader)


@pytest.mark.usefixtures("brief")
def test_the_newest_count_stays_in_whatever_order_counts_come(both: tuple[Place, Place], redis: Any) -> None:
    topics, messages = both
    topic = topics.topic()
    for _ in range(3):
        last = post(messages, topic)
        deliver(redis, messages)  # each counted by itself
    delete(messages, topic, last)
    deliver(redis, messages)
    counts = [entry for _, entry in redis.xrange(STREAM) if entry["type"] == "topic.counted"]
    assert len(counts) == 4
    redis.delete(STREAM)
    [reader] = worker(topics, redis).consumers
    for entry in (counts[3], counts[0], counts[2], counts[1]):
        redis.xadd(STREAM, entry)
        step(reader)
        assert wrong(topics, messages) == [], "an older count must not replace a newer one"


@pytest.mark.usefixtures("brief")
def test_a_message_that_is_posted_while_its_topic_is_counted_is_not_missed(
    both: tuple[Place, Place], redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count that began first is the last to be told: its version says that it is older."""
    topics, messages = both
    topic = topics.topic()
    post(messages, topic)
    Relay(messages.engine, redis, "messages").step()
    one, other = (worker(messages, redis).consumers[0] for _ in range(2))
    step(one, 1)
    late, said = threading.Event(), counting.emit

    def slowly(session: Session, type_: str, *payloads: Any) -> None:
        said(session, type_, *payloads)
        late.set()
        wait_for(
            lambda: messages.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") > 0,
            "the second count to wait for the first",
        )
        monkeypatch.setattr(counting, "emit", said)

    monkeypatch.setattr(counting, "emit", slowly)
    first = threading.Thread(target=one.step)
    first.start()
    assert late.wait(30)
    post(messages, topic)
    Relay(messages.engine, redis, "messages").step()
    other.step()
    first.join()
    counts = messages.query("SELECT payload->'version', payload->'messages' FROM outbox WHERE type = 'topic.counted'")
    assert counts == [(1, 1), (2, 2)]
    deliver(redis, messages, topics)
    assert wrong(topics, messages) == []


@pytest.mark.usefixtures("brief")
def test_a_counter_that_went_wrong_is_counted_anew(both: tuple[Place, Place], redis: Any) -> None:
    topics, messages = both
    ids = [topics.topic() for _ in range(45)]
    for topic in ids[:3]:
        post(messages, topic)
    with topics.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE topics SET message_count = -7, last_activity_at = now() + interval '1 day'")
    assert len(wrong(topics, messages)) == 45
    assert counting.recount(topics.engine) == 45
    deliver(redis, topics, messages, topics)
    assert wrong(topics, messages) == []


@pytest.mark.usefixtures("brief")
def test_in_the_monolith_too(place: Make, redis: Any) -> None:
    monolith = place("monolith")
    topic, other = monolith.topic(), monolith.topic()
    kept, gone = post(monolith, topic), post(monolith, topic)
    delete(monolith, topic, gone)
    deliver(redis, monolith, monolith)
    assert wrong(monolith, monolith) == []
    assert {id: number for id, number, _ in monolith.query(SHOWN)} == {topic: 1, other: 0}
    delete(monolith, topic, kept)
    deliver(redis, monolith, monolith)
    assert wrong(monolith, monolith) == []
    monolith.query("UPDATE topics SET message_count = 9")
    counting.recount(monolith.engine)
    deliver(redis, monolith, monolith)
    assert wrong(monolith, monolith) == []
