"""Events that cannot be handled are put aside, shown, and tried again or dropped; what is behind is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from redis import Redis
from sqlalchemy.exc import OperationalError

from forum.events import Consumer, Event, consumer, main
from forum.events.metrics import Events
from forum.events.relay import STREAM
from services.topics import worker as topics_worker
from tests.servers import RedisServer, wait_for
from tests.services.conftest import ADD_UP, Place
from tests.services.test_events import Crash, publish, unhandled

Make = Callable[..., Place]
Ask = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers claim at once, and do not wait for events that will not come."""
    monkeypatch.setattr(consumer, "BLOCK", 1)
    monkeypatch.setattr(consumer, "CLAIM_IDLE", 0)
    monkeypatch.setattr(consumer, "LOOK", 0.0)


@pytest.fixture
def ask(
    redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Place], Ask]:
    """The commands of a site: exit code and what was said."""
    redis.ping()

    def of(place: Place) -> Ask:
        for name, value in {
            "DATABASE_URL": place.url, "REDIS_URL": redis_server.url, "FORUM_API_URL": "http://127.0.0.1:9",
            "STRANGLER_SECRET": "a secret that only tests know",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)

        def run(*words: str) -> tuple[int, str]:
            code = main(place.site, topics_worker.handlers, topics_worker.expiries, words)
            said = capsys.readouterr()
            return code, said.out + said.err

        return run

    return of


def reader(place: Place, redis: Redis, handler: Any = None) -> Consumer:
    by_type = ADD_UP if handler is None else {**ADD_UP, "message.posted": handler}
    return Consumer("topics", by_type, engine=place.engine, redis=redis, owns=lambda: True, name="one")


def poison(topics: Place, topic: int) -> None:
    topics.emit("message.posted", topic_id=topic, message_id=666)  # no created_at: the handler stumbles


def parked(topics: Place) -> list[Any]:
    return topics.query("SELECT type, deliveries, error FROM topics_parked")


def test_an_event_that_fails_again_and_again_is_parked_and_holds_up_no_other(place: Make, redis: Any) -> None:
    topics = place("topics")
    topic = topics.topic()
    poison(topics, topic)
    topics.post(topic, 1)
    publish(topics, redis)
    one = reader(topics, redis)
    for _ in range(3):
        one.step()
    assert parked(topics) == [], "not at the first failure: it may pass"
    assert unhandled(redis) == 1
    for _ in range(consumer.DELIVERIES):
        one.step()
    assert parked(topics) == [("message.posted", consumer.DELIVERIES, "KeyError: 'created_at'")]
    assert unhandled(redis) == 0, "it must not come again"
    assert topics.messages_of(topic) == 1
    [(_, entry), *_] = redis.xrange(STREAM)
    redis.xadd(STREAM, entry)
    one.step()
    assert unhandled(redis) == 0, "a second delivery finds it in the inbox"


def test_an_event_that_ends_its_process_is_parked_alone(place: Make, redis: Any) -> None:
    topics = place("topics")
    topic = topics.topic()
    poison(topics, topic)
    for number in range(3):
        topics.post(topic, number)
    publish(topics, redis)

    def deadly(session: Any, events: list[Event]) -> None:
        if any(event.payload["message_id"] == 666 for event in events):
            raise Crash
        ADD_UP["message.posted"](session, events)

    reader(topics, redis).step()  # makes the group
    for _ in range(2 * consumer.DELIVERIES + 4):
        try:
            reader(topics, redis, deadly).step()
        except Crash:
            continue
    assert [(type_, number) for type_, number, _ in parked(topics)] == [("message.posted", 2 * consumer.DELIVERIES + 1)]
    assert topics.messages_of(topic) == 3
    assert unhandled(redis) == 0


def test_waiting_for_postgresql_parks_nothing(place: Make, redis: Any) -> None:
    topics = place("topics")
    topic = topics.topic()
    topics.post(topic, 1)
    publish(topics, redis)
    down = True

    def away(session: Any, events: list[Event]) -> None:
        if down:
            raise OperationalError("", {}, Exception("the database is away"))
        ADD_UP["message.posted"](session, events)

    one = reader(topics, redis, away)
    one.step()
    for _ in range(consumer.DELIVERIES + 2):
        with pytest.raises(OperationalError):
            one.step()
    down = False
    one.step()
    assert (parked(topics), topics.messages_of(topic), unhandled(redis)) == ([], 1, 0)


def test_what_is_parked_moves_with_its_module_and_only_its_owner_touches_it(
    place: Make, redis: Any, ask: Callable[[Place], Ask]
) -> None:
    monolith, topics = place("monolith"), place("topics")
    monolith.give("topics", "topics")  # switched
    assert "public.topics_parked" in topics.config.module("topics").tables
    row = ("message.posted", '{"topic_id": 1}', "boom", 5)
    for site in (monolith, topics):
        site.query(
            "SET session_replication_role = replica;"
            "INSERT INTO topics_parked (event_id, type, payload, error, deliveries, at)"
            " SELECT gen_random_uuid(), '{}', '{}', '{}', {}, now()".format(*row)
        )
    topic = topics.topic()
    poison(topics, topic)
    publish(topics, redis)
    redis.set("x", "y")
    late = reader(monolith, redis)
    for _ in range(consumer.DELIVERIES + 2):
        late.step()
    assert len(parked(monolith)) == 1, "the fence keeps who is not owner from parking"
    assert unhandled(redis) == 1
    assert ask(monolith)("parked") == (0, "nothing is parked\n"), "it is the owner who shows them"
    assert ask(monolith)("drop", "--all") == (0, "0 dropped\n")
    assert len(parked(monolith)) == 1
    code, said = ask(topics)("parked")
    assert (code, "boom" in said, '{"topic_id": 1}' in said) == (0, True, True)


def test_parked_events_are_shown_tried_again_and_dropped(place: Make, redis: Any, ask: Callable[[Place], Ask]) -> None:
    topics = place("topics")
    command, topic = ask(topics), topics.topic()
    assert command("parked") == (0, "nothing is parked\n")
    for _ in range(2):
        poison(topics, topic)
    publish(topics, redis)
    one = reader(topics, redis)
    for _ in range(consumer.DELIVERIES + 2):
        one.step()
    code, said = command("parked", "--json")
    first, second = json.loads(said)
    assert (code, first["error"], first["module"]) == (0, "KeyError: 'created_at'", "topics")
    assert json.loads(first["payload"])["message_id"] == 666
    mended = reader(topics, redis, lambda session, events: _add(session, events))
    assert command("retry", first["event_id"]) == (0, "1 will be tried again\n")
    publish(topics, redis)
    mended.step()
    assert topics.messages_of(topic) == 1
    assert [row[0] for row in topics.query("SELECT event_id::text FROM topics_parked")] == [second["event_id"]]
    code, said = command("retry", first["event_id"])
    assert (code, "0 will be tried again; the others are not parked" in said) == (2, True)
    assert command("drop", "--all") == (0, "1 dropped\n")
    assert command("retry", "--all") == (0, "0 will be tried again\n")
    publish(topics, redis)
    mended.step()
    assert topics.messages_of(topic) == 1, "what was dropped is not handled"


def _add(session: Any, events: list[Event]) -> None:
    """The handler after a mend: it can do without the time."""
    now = datetime.now(UTC).isoformat()
    mended = [Event(event.id, event.type, event.at, {**event.payload, "created_at": now}) for event in events]
    ADD_UP["message.posted"](session, mended)


def test_replaying_the_outbox_does_what_was_missed_and_nothing_twice(
    place: Make, redis: Any, ask: Callable[[Place], Ask]
) -> None:
    topics = place("topics")
    command, topic = ask(topics), topics.topic()
    for number in range(3):
        topics.post(topic, number)
    publish(topics, redis)
    one = reader(topics, redis)
    one.step()
    one.step()
    topics.post(topic, 3)
    publish(topics, redis)
    redis.xtrim(STREAM, maxlen=0)  # lost, and nothing shows it: the mark is still there
    one.step()
    assert topics.messages_of(topic) == 3
    topics.query(
        "UPDATE outbox SET created_at = created_at - interval '8 days' WHERE id = (SELECT min(id) FROM outbox)"
    )
    since = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    assert command("replay", "--since", since) == (0, "3 events will be published again\n"), "what inboxes surely know"
    publish(topics, redis)
    one.step()
    assert topics.messages_of(topic) == 4, "the lost one, and no other twice"
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert command("replay", "--since", soon) == (0, "0 events will be published again\n")


def test_lag_is_shown_by_the_command_and_the_metrics(
    place: Make, redis: Any, ask: Callable[[Place], Ask], redis_server: RedisServer
) -> None:
    topics = place("topics")
    command, topic = ask(topics), topics.topic()
    registry = CollectorRegistry()
    registry.register(Events("topics", topics.engine, redis, topics.config.modules))

    def lag() -> dict[str, Any]:
        code, said = command("lag", "--json")
        assert code == 0
        shown = json.loads(said)
        [group] = shown["groups"]
        assert group.pop("module") == "topics"
        metrics = dict(
            line.rsplit(" ", 1) for line in generate_latest(registry).decode().splitlines() if line[0] != "#"
        )
        assert float(metrics['forum_events_outbox_waiting{site="topics"}']) == shown["outbox"]["waiting"]
        for key in ("undelivered", "pending", "parked"):
            assert float(metrics[f'forum_events_{key}{{module="topics"}}']) == group[key], key
        if group["handled"] is not None:
            assert float(metrics['forum_events_handled_total{module="topics"}']) == group["handled"]
        ages = shown["outbox"].pop("seconds"), group.pop("seconds")
        return {**shown["outbox"], **group, "old": tuple(age > 0 for age in ages)}

    assert lag() == {"waiting": 0, "undelivered": 0, "pending": 0, "handled": None, "parked": 0, "old": (False, False)}
    topics.post(topic, 1)
    poison(topics, topic)
    assert lag() == {"waiting": 2, "undelivered": 0, "pending": 0, "handled": None, "parked": 0, "old": (True, False)}
    publish(topics, redis)
    redis.xgroup_create(STREAM, "topics", id="0")
    wait_for(lambda: lag()["old"] == (False, True), "the clock to go on")
    assert lag() == {"waiting": 0, "undelivered": 2, "pending": 0, "handled": None, "parked": 0, "old": (False, True)}
    one = reader(topics, redis)
    one.step()
    assert lag() == {"waiting": 0, "undelivered": 0, "pending": 1, "handled": 1, "parked": 0, "old": (False, True)}
    for _ in range(consumer.DELIVERIES):
        one.step()
    assert lag() == {"waiting": 0, "undelivered": 0, "pending": 0, "handled": 2, "parked": 1, "old": (False, False)}
    code, said = command("lag")
    assert (code, said.splitlines()) == (0, [
        "outbox: 0 not published, the oldest 0 s old",
        "topics: 0 not delivered, 0 not acknowledged, the oldest 0 s old; 1 parked",
    ])  # fmt: skip
    redis_server.stop()
    try:
        code, said = command("lag")
        assert (code, said.count("\n")) == (2, 1), said
        shown = generate_latest(registry).decode()
        assert "forum_events_outbox_waiting" in shown
        assert "forum_events_pending" not in shown, "what cannot be known is left out"
    finally:
        redis_server.start()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("retry",), "say which"),
        (("drop", "--all", "00000000-0000-0000-0000-000000000000"), "say which"),
        (("drop", "nonsense"), "is not a valid UUID"),
        (("replay", "--since", "yesterday"), "must be a time such as"),
        (("replay",), "--since"),
        (("recount",), "topics has another owner"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_with_exit_2(
    place: Make, ask: Callable[[Place], Ask], words: tuple[str, ...], complaint: str
) -> None:
    code, said = ask(place("topics", owner="monolith"))(*words)
    assert code == 2
    assert complaint in said
    assert "Traceback" not in said
