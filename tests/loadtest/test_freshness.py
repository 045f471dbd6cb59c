"""What a read may show, given what anyone had been told when it was sent."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loadtest.freshness import Memory, Sight
from loadtest.ledger import Ledger, mark

Item = dict[str, Any]


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(Ledger(tmp_path / "ledger.jsonl", "run"))


def sight() -> Sight:
    """A request sent now."""
    return Sight(time.monotonic(), "GET", "site/v1@here", "http://127.0.0.1:1", 1)


def message(text: str, id: int = 7) -> Item:
    return {"id": id, "topic_id": 1, "body": text}


def body(text: str) -> Item:
    return {"body": text}


def stale(memory: Memory) -> int:
    return memory.ledger.violations["stale"]


def test_an_acknowledged_write_is_there_for_everyone_who_asks_later(memory: Memory) -> None:
    early = sight()
    memory.created("message", 7, "a", body("one"), topic=1)
    assert memory.saw("message", 7, None, early), "was asked for before it was acknowledged"
    assert not memory.saw("message", 7, None, sight())
    assert stale(memory) == 1


def test_an_edit_may_be_seen_from_its_begin_and_must_be_from_its_acknowledgement(memory: Memory) -> None:
    memory.created("message", 7, "a", body("one"), topic=1)
    memory.changing("message", 7, "b", body("two"))
    assert memory.saw("message", 7, message("one"), sight())
    memory.changed("message", 7, "b")
    assert not memory.saw("message", 7, message("one"), sight())
    assert memory.saw("message", 7, message("two"), sight())


def test_what_one_user_has_seen_nobody_sees_older(memory: Memory) -> None:
    memory.created("message", 7, "a", body("one"), topic=1)
    memory.changing("message", 7, "b", body("two"))
    before = sight()
    assert memory.saw("message", 7, message("two"), sight())
    assert memory.saw("message", 7, message("one"), before), "was sent before anyone had seen it"
    assert not memory.saw("message", 7, message("one"), sight())


def test_the_deleted_stays_away(memory: Memory) -> None:
    memory.created("message", 7, "a", body("one"), topic=1)
    memory.changing("message", 7, "b", None)
    assert memory.saw("message", 7, message("one"), sight())
    assert memory.saw("message", 7, None, sight())
    memory.changed("message", 7, "b")
    assert not memory.saw("message", 7, message("one"), sight())


def test_a_refused_edit_is_never_seen(memory: Memory) -> None:
    memory.created("message", 7, "a", body("one"), topic=1)
    memory.changing("message", 7, "b", body(f"two {mark('b')}"))
    memory.unchanged("message", 7, "b")
    assert not memory.saw("message", 7, message(f"two {mark('b')}"), sight())
    assert memory.ledger.violations == {"stale": 0, "wrong": 1}


def test_messages_of_a_deleted_topic_go_when_they_go(memory: Memory) -> None:
    memory.created("topic", 1, "t", {"title": "topic"})
    memory.created("message", 7, "a", body("one"), topic=1)
    memory.changing("topic", 1, "d", None)
    memory.changed("topic", 1, "d")
    assert memory.saw("message", 7, None, sight())
    assert memory.saw("message", 7, message("one"), sight())
    assert not memory.saw("topic", 1, {"id": 1, "title": "topic"}, sight())


def test_a_list_must_show_what_belongs_on_its_page(memory: Memory) -> None:
    for id in (5, 7, 9):
        memory.created("message", id, f"w{id}", body(f"text {id}"), topic=1)
    five, seven = message("text 5", 5), message("text 7", 7)
    memory.saw_page_of_messages(1, [five, seven], 0, last_page=False, sight=sight())
    assert stale(memory) == 0
    memory.saw_page_of_messages(1, [five, seven], 0, last_page=True, sight=sight())
    assert stale(memory) == 1, "9 is missing from the last page"
    memory.saw_page_of_messages(1, [message("text 9", 9)], 5, last_page=True, sight=sight())
    assert stale(memory) == 2, "7 is missing between 5 and 9"


def test_a_new_topic_is_on_the_first_page_of_the_newest(memory: Memory) -> None:
    def topic(id: int) -> Item:
        return {"id": id, "title": f"topic {id}", "created_at": f"2026-01-01T00:00:{id:02}Z"}

    newest = []
    for id in (1, 2, 3):
        memory.created("topic", id, f"w{id}", {"title": f"topic {id}"})
        newest.append((id, datetime(2026, 1, 1, 0, 0, id, tzinfo=UTC)))
    memory.saw_newest_topics([topic(3), topic(2)], False, newest, sight())
    assert stale(memory) == 0
    memory.saw_newest_topics([topic(3), topic(1)], False, newest, sight())
    assert stale(memory) == 1
