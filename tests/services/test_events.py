"""Every event is handled once, by the module's owner, whatever goes away in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from redis import Redis

from forum.events import Cleaner, Consumer, Expiry, Relay, Worker, drained, relay
from forum.events.relay import MARKS, STREAM
from tests.servers import RedisServer, wait_for
from tests.services.conftest import ADD_UP, Place
from tests.services.conftest import working as really_working

Make = Callable[..., Place]
working = partial(really_working, adds_up=True)


def consumer(place: Place, redis: Redis, name: str = "one", owner: bool = True) -> Consumer:
    return Consumer("topics", ADD_UP, engine=place.engine, redis=redis, owns=lambda: owner, name=name)


def publish(place: Place, redis: Redis) -> Relay:
    relay = Relay(place.engine, redis, place.site)
    relay.step()
    return relay


def unhandled(redis: Any) -> int:
    """Delivered and not acknowledged."""
    return int(redis.xpending(STREAM, "topics")["pending"])


class Crash(BaseException):
    """As a kill would end it."""


def test_an_event_counts_once_and_moves_last_activity(place: Make, redis: Redis) -> None:
    topics = place("topics")
    topic, other = topics.topic(), topics.topic()
    before = topics.value("SELECT last_activity_at FROM topics WHERE id = %s", (topic,))
    for number in (1, 2, 3):
        topics.post(topic, number)
    topics.emit("message.deleted", topic_id=topic, message_id=2, created_at=None)
    with working(topics, redis):
        wait_for(lambda: topics.messages_of(topic) == 2, "the counter")
    assert topics.messages_of(other) == 0
    assert topics.value("SELECT last_activity_at FROM topics WHERE id = %s", (topic,)) > before
    assert drained(topics.engine)


def test_an_event_delivered_twice_is_handled_once(place: Make, redis: Any) -> None:
    topics = place("topics")
    topic = topics.topic()
    topics.post(topic, 1)
    publish(topics, redis)
    [(_, entry)] = redis.xrange(STREAM)
    redis.xadd(STREAM, entry)  # beside the first one
    reader = consumer(topics, redis)
    reader.step()  # makes the group
    reader.step()
    redis.xadd(STREAM, entry)  # long after
    reader.step()
    assert topics.messages_of(topic) == 1
    assert unhandled(redis) == 0


def test_a_crash_between_commit_and_acknowledgement_handles_nothing_twice(
    place: Make, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = place("topics")
    topic = topics.topic()
    topics.post(topic, 1)
    publish(topics, redis)
    dying, heir = consumer(topics, redis, "dying"), consumer(topics, redis, "heir")
    dying.step()

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(redis, "xack", crash)
        with pytest.raises(Crash):
            dying.step()
    assert topics.messages_of(topic) == 1
    assert unhandled(redis) == 1

    def taken_over() -> bool:
        heir.step()
        return unhandled(redis) == 0

    wait_for(taken_over, "the event to be claimed")
    assert topics.messages_of(topic) == 1


def test_a_handler_that_fails_holds_up_no_other_event(place: Make, redis: Any) -> None:
    topics = place("topics")
    topic = topics.topic()
    topics.emit("message.posted", topic_id=topic)  # no created_at: the handler stumbles
    topics.post(topic, 1)
    redis.xadd(STREAM, {"not": "ours"})
    publish(topics, redis)
    reader = consumer(topics, redis)
    reader.step()
    reader.step()
    assert topics.messages_of(topic) == 1
    assert unhandled(redis) == 1, "the one that failed must come again"


def test_with_redis_away_events_wait_and_none_is_lost(place: Make, redis: Redis, redis_server: RedisServer) -> None:
    topics = place("topics")
    topic = topics.topic()
    with working(topics, redis):
        topics.post(topic, 1)
        wait_for(lambda: topics.messages_of(topic) == 1, "the first")
        redis_server.stop()
        topics.post(topic, 2)
        assert not drained(topics.engine)
        redis_server.start()  # with nothing of what it had
        wait_for(lambda: topics.messages_of(topic) == 2, "the one written while Redis was away")
        topics.post(topic, 3)
        wait_for(lambda: topics.messages_of(topic) == 3, "the one after")


def test_with_postgresql_away_the_worker_waits_and_goes_on(place: Make, redis: Redis) -> None:
    topics = place("topics")
    topic = topics.topic()
    name = topics.url.rpartition("/")[2]
    elsewhere = Place("", "", topics.admin.removesuffix(name) + "postgres", topics.engine, topics.config)
    with working(topics, redis):
        topics.post(topic, 1)
        wait_for(lambda: topics.messages_of(topic) == 1, "the first")
        elsewhere.query(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        elsewhere.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        wait_for(lambda: "FATAL" in str(_failure(topics)), "connections to be refused")
        elsewhere.query(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        topics.post(topic, 2)
        wait_for(lambda: topics.messages_of(topic) == 2, "the second")


def _failure(place: Place) -> Exception | None:
    try:
        drained(place.engine)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("lost", ["everything", "the stream", "the group"])
def test_what_redis_lost_after_it_was_published_is_published_again(place: Make, redis: Any, lost: str) -> None:
    topics = place("topics")
    topic = topics.topic()
    topics.post(topic, 1)
    publish(topics, redis)
    reader = consumer(topics, redis)
    reader.step()
    reader.step()
    topics.post(topic, 2)
    assert topics.messages_of(topic) == 1
    publish(topics, redis)  # and nobody has read it
    if lost == "everything":
        redis.flushall()
    elif lost == "the stream":
        redis.delete(STREAM)
        place("users").emit("user.updated", user_id=1)
    else:
        redis.xgroup_destroy(STREAM, "topics")
    with working(topics, redis):
        wait_for(lambda: topics.messages_of(topic) == 2, "the lost one")
    assert topics.messages_of(topic) == 2


def test_a_stream_made_anew_by_another_database_hides_no_loss(place: Make, redis: Any) -> None:
    topics, users = place("topics"), place("users")
    topic = topics.topic()
    topics.post(topic, 1)
    publish(topics, redis)
    redis.delete(STREAM)
    users.emit("user.updated", user_id=1)
    publish(users, redis)
    with working(topics, redis):
        wait_for(lambda: topics.messages_of(topic) == 1, "the lost one")


def test_redis_back_from_an_older_snapshot_gets_only_what_it_lacks(place: Make, redis: Any) -> None:
    topics = place("topics")
    topic = topics.topic()
    topics.post(topic, 1)
    publish(topics, redis)
    mark = redis.hget(MARKS, "topics")
    topics.post(topic, 2)
    publish(topics, redis)
    [_, (newest, _)] = redis.xrange(STREAM)
    redis.xdel(STREAM, newest)
    redis.hset(MARKS, "topics", mark)
    again = publish(topics, redis)
    again.step()
    assert [entry["payload"].count('"message_id": 2') for _, entry in redis.xrange(STREAM)] == [0, 1]


def test_what_is_not_handled_is_never_trimmed(place: Make, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    topics = place("topics")
    topic = topics.topic()
    monkeypatch.setattr(relay, "STREAM_LENGTH", 3)
    topics.post(topic, 0)
    one = publish(topics, redis)
    reader = consumer(topics, redis)
    reader.step()
    reader.step()
    for number in range(1, 10):
        topics.post(topic, number)
        one.step()
    assert redis.xlen(STREAM) == 6, "the rest must wait in the outbox"
    assert not drained(topics.engine)
    with working(topics, redis):
        wait_for(lambda: topics.messages_of(topic) == 10, "all of them")
    assert one.trim() <= 3


def test_only_the_owner_handles(place: Make, redis: Any) -> None:
    monolith, topics = place("monolith"), place("topics", owner="monolith")
    monolith.give("topics", "monolith")
    topic = monolith.topic()
    monolith.post(topic, 1)
    publish(monolith, redis)
    by_site = {
        each.site: Worker(each.site, engine=each.engine, redis=redis, config=each.config, handlers={"topics": ADD_UP})
        for each in (topics, monolith)
    }
    for site in ("topics", "monolith"):
        [reader] = by_site[site].consumers
        waits = [reader.step() for _ in range(3)]
        assert (max(waits) > 0) == (site == "topics"), "who does not own need not look often"
    assert monolith.messages_of(topic) == 1
    assert topics.value("SELECT count(*) FROM topics_inbox") == 0
    [name] = [each["name"] for each in redis.xinfo_consumers(STREAM, "topics")]
    assert name.startswith("monolith/")


def test_before_any_move_the_monolith_handles(place: Make, redis: Any) -> None:
    monolith = place("monolith")
    worker = Worker("monolith", engine=monolith.engine, redis=redis, config=monolith.config, handlers={})
    assert worker.owns("topics")
    topics = place("topics")
    topics.query("DROP SCHEMA strangler CASCADE")
    assert not Worker("topics", engine=topics.engine, redis=redis, config=topics.config, handlers={}).owns("topics")


def test_a_consumer_that_meets_the_fence_leaves_the_event_to_the_owner(place: Make, redis: Any) -> None:
    monolith, topics = place("monolith"), place("topics")
    topic = topics.topic()
    monolith.give("topics", "topics")  # switched, but its consumer has not looked yet
    topics.post(topic, 1)
    publish(topics, redis)
    late = consumer(monolith, redis, "late")
    late.step()
    late.step()
    assert unhandled(redis) == 1
    assert monolith.value("SELECT count(*) FROM topics_inbox") == 0
    with working(topics, redis):
        wait_for(lambda: topics.messages_of(topic) == 1, "the owner's worker to claim it")


def test_a_message_posted_while_its_topic_is_deleted_goes_too(place: Make, redis: Redis) -> None:
    topics, messages = place("topics"), place("messages")
    topic = topics.topic()
    topics.query("ALTER TABLE topics DISABLE TRIGGER strangler_fence")
    topics.query("DELETE FROM topics")
    messages.query("ALTER TABLE messages DISABLE TRIGGER strangler_fence")
    with really_working(topics, redis), working(messages, redis):
        topics.emit("topic.deleted", topic_id=topic)
        wait_for(lambda: messages.value("SELECT count(*) FROM messages_inbox") == 1, "topic.deleted")
        messages.query("INSERT INTO messages (topic_id, body) VALUES (%s, 'too late')", (topic,))
        messages.post(topic, 1)
        wait_for(lambda: messages.value("SELECT count(*) FROM messages") == 0, "the orphan to go")


def test_a_deleted_user_is_forgotten_everywhere(place: Make, redis: Any) -> None:
    users, topics, messages = place("users"), place("topics"), place("messages")
    mine, other = topics.topic(author_id=7), topics.topic(author_id=8)
    with messages.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO messages (topic_id, author_id, body) VALUES (1, 7, 'a'), (1, 8, 'b')")
    redis.set("forum:author:7", "{}")
    with working(users, redis), working(topics, redis), working(messages, redis):
        users.emit("user.deleted", user_id=7)
        wait_for(lambda: topics.value("SELECT author_id FROM topics WHERE id = %s", (mine,)) is None, "the topic")
        wait_for(lambda: messages.query("SELECT author_id FROM messages ORDER BY id") == [(None,), (8,)], "messages")
    assert topics.value("SELECT author_id FROM topics WHERE id = %s", (other,)) == 8
    assert not redis.exists("forum:author:7")


def test_rows_are_kept_for_a_while_and_then_deleted_by_the_owner(place: Make) -> None:
    topics = place("topics")
    topics.query("ALTER TABLE topics_idempotency DISABLE TRIGGER strangler_fence")
    topics.query(
        "INSERT INTO topics_idempotency (scope, key, fingerprint, created_at)"
        " SELECT '1', 'key ' || n, '', now() - n * interval '1 day' FROM generate_series(1, 10) n"
    )
    topics.query(
        "INSERT INTO outbox (event_id, type, payload, created_at, published_at)"
        " SELECT gen_random_uuid(), 'x', '{}', now() - n * interval '1 day',"
        " CASE WHEN n < 10 THEN now() - n * interval '1 day' END FROM generate_series(1, 10) n"
    )
    week = timedelta(days=7)
    expiries = [Expiry.idempotency("topics", week), Expiry.inbox("topics", week), Expiry.outbox(week)]
    Cleaner(topics.engine, lambda _: False, expiries).step()
    assert topics.value("SELECT count(*) FROM topics_idempotency") == 10, "not the owner"
    Cleaner(topics.engine, lambda _: True, expiries).step()
    assert topics.value("SELECT count(*) FROM topics_idempotency") == 6
    assert topics.value("SELECT count(*) FROM outbox") == 7, "six young ones, and the old one not yet published"
