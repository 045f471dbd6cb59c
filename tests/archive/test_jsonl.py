"""What `forum export` writes, `forum import jsonl` takes back."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forum.archive.jsonl import PERSONAL, TABLES
from strangler.config import load
from tests.archive.conftest import Forum

LEFT_OUT = {
    "sessions", "users_idempotency", "topics_idempotency", "messages_idempotency", "topics_inbox", "messages_inbox",
    "topics_parked", "messages_parked",
}  # fmt: skip
"""Who is logged in, and the memory of requests and events: see forum/archive/jsonl.py."""

CONTENT = """
INSERT INTO users (id, username, display_name, email, bio, role, password_hash, created_at, updated_at) VALUES
    (3, 'Ada', E'A"d\\\\a\n', 'ada@example.org', E'tab\there', 'moderator', '$argon2id$x', '2001-02-03 04:05:06.789012Z', now()),
    (7, 'bob', '日本 🦤', 'bob@example.org', '', 'member', '!', '0099-01-01Z', 'infinity');
INSERT INTO topics (id, author_id, title, locked, pinned, counted, message_count, last_activity_at, created_at, updated_at) VALUES
    (10, 3, 'Locked', true, false, 4, 2, '2026-01-05 11:00Z', '2026-01-05 10:00Z', '2026-01-05 10:00Z'),
    (20, NULL, 'Nobody''s', false, true, 0, 1, '2026-01-06Z', '2026-01-06Z', '2026-01-07Z');
INSERT INTO messages (id, topic_id, author_id, reply_to, body, created_at, updated_at) VALUES
    (100, 10, 3, NULL, E'One\n\\\\N', '2026-01-05 10:00Z', '2026-01-05 10:00Z'),
    (101, 10, 7, 300, 'Answers a later one', '2026-01-05 11:00Z', '2026-01-05 13:00Z'),
    (300, 20, NULL, NULL, 'Of nobody', '2026-01-06Z', '2026-01-06Z');
INSERT INTO topics_reads (user_id, topic_id, message_id, until) VALUES (7, 10, 100, '2026-01-05 10:00Z');
INSERT INTO messages_counted (topic_id, version) VALUES (10, 4);
INSERT INTO messages_imports (key, message_id) VALUES ('00000000-0000-0000-0000-00000000000a', 100);
SELECT setval('users_id_seq', 50), setval('topics_id_seq', 20), setval('messages_id_seq', 300);
"""  # noqa: E501


@pytest.fixture
def filled(forum: Forum) -> Forum:
    forum.query(CONTENT)
    return forum


def content(forum: Forum) -> dict[str, list[Any]]:
    return {table: forum.query(f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in content))
    return path


def test_nothing_is_lost_on_the_way(filled: Forum, new_forum: Callable[[], Forum], tmp_path: Path) -> None:
    path, again = tmp_path / "forum.jsonl", tmp_path / "again.jsonl"
    filled.succeed("export", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    twin = new_forum()
    assert (
        twin.succeed("import", "jsonl", path)
        == "2 users, 2 topics, 1 topics_reads, 3 messages, 1 messages_counted, 1 messages_imports\n"
    )
    assert content(twin) == content(filled)
    twin.succeed("export", again)
    assert again.read_text() == path.read_text()
    # The ids of deleted rows are not given out again, and a sequence that nobody has used begins where it began.
    for table, following in (("users", 51), ("topics", 21), ("messages", 301)):
        assert twin.value(f"SELECT nextval('{table}_id_seq')") == following
    empty, other = tmp_path / "empty.jsonl", new_forum()
    other.succeed("export", empty)
    last = new_forum()
    last.succeed("import", "jsonl", empty)
    assert last.topic() == 1


def test_counters_that_waited_for_their_events_come_out_right(
    filled: Forum, new_forum: Callable[[], Forum], tmp_path: Path
) -> None:
    filled.query("UPDATE topics SET message_count = 0, last_activity_at = created_at WHERE id = 10")
    filled.succeed("export", tmp_path / "forum.jsonl")
    twin = new_forum()
    twin.succeed("import", "jsonl", tmp_path / "forum.jsonl")
    query = "SELECT message_count, last_activity_at = '2026-01-05 11:00Z' FROM topics WHERE id = 10"
    assert twin.query(query) == [(2, True)]


def test_what_is_public_names_no_address_and_can_be_taken_back(
    filled: Forum, new_forum: Callable[[], Forum], tmp_path: Path
) -> None:
    path = tmp_path / "public.jsonl"
    filled.succeed("export", "--public", path)
    text = path.read_text()
    assert "ada@example.org" not in text
    assert "argon2" not in text
    assert "topics_reads" not in text
    assert "Ada" in text
    twin = new_forum()
    twin.succeed("import", "jsonl", path)
    query = "SELECT email, password_hash FROM users ORDER BY id"
    assert twin.query(query) == [("user-3@import.invalid", "!"), ("user-7@import.invalid", "!")]
    assert content(twin)["messages"] == content(filled)["messages"]


def test_it_is_written_to_standard_output_too(filled: Forum, tmp_path: Path) -> None:
    filled.succeed("export", tmp_path / "forum.jsonl")
    assert filled.succeed("export", "-") == (tmp_path / "forum.jsonl").read_text()


def test_an_export_from_before_a_column_was_there_is_taken_too(
    filled: Forum, new_forum: Callable[[], Forum], tmp_path: Path
) -> None:
    filled.succeed("export", tmp_path / "forum.jsonl")
    content = lines(tmp_path / "forum.jsonl")
    content[0]["tables"]["topics"].remove("pinned")
    for line in content:
        if line.get("table") == "topics":
            del line["row"]["pinned"]
    twin = new_forum()
    twin.succeed("import", "jsonl", write(tmp_path / "old.jsonl", content))
    assert twin.query("SELECT DISTINCT pinned FROM topics") == [(False,)]


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda content: content.pop(), "line 11: the file ends here"),
    (lambda content: content.pop(10), "rows were read where"),
    (lambda content: content.pop(0), "line 1: this is no export of a forum"),
    (lambda content: content[0].update(forum=2), "line 1: this is no export of a forum"),
    (lambda content: content[0]["tables"]["users"].append("shoe_size"), "no users.shoe_size"),
    (lambda content: content[0]["tables"].update(outbox=[]), "no outbox."),
    (lambda content: content[2]["row"].pop("bio"), "line 3: the row has other columns"),
    (lambda content: content[2].update(table="outbox"), "line 3: there is no table 'outbox'"),
    (lambda content: content[2].update(row=1), "line 3: no {"),
    (lambda content: content[2]["row"].update(id="x"), "invalid input syntax for type bigint"),
    (lambda content: content[2]["row"].update(bio="a\0b"), "NUL"),
    (lambda content: content[4]["row"].update(author_id=99), "foreign key"),
]


def test_a_file_that_is_not_whole_or_not_right_is_refused_and_nothing_of_it_imported(
    filled: Forum, new_forum: Callable[[], Forum], tmp_path: Path
) -> None:
    filled.succeed("export", tmp_path / "forum.jsonl")
    twin = new_forum()
    for change, complaint in WRONG:
        content = lines(tmp_path / "forum.jsonl")
        change(content)
        code, output = twin.run("import", "jsonl", write(tmp_path / "changed.jsonl", content))
        assert code == 2
        assert complaint in output.splitlines()[-1]
        assert [twin.count(table) for table in TABLES] == [0] * len(TABLES)


def test_rubbish_is_refused_in_a_line(forum: Forum, tmp_path: Path) -> None:
    path = tmp_path / "rubbish"
    for content in (b"", b"rubbish", b"\xff\xfe\x00", b"[1]\n", b"[" * 100_000):
        path.write_bytes(content)
        code, output = forum.run("import", "jsonl", path)
        assert (code, len(output.splitlines())) == (2, 1)
        assert str(path) in output


def test_a_forum_with_content_is_left_alone(filled: Forum, tmp_path: Path) -> None:
    filled.succeed("export", tmp_path / "forum.jsonl")
    before = content(filled)
    code, output = filled.run("import", "jsonl", tmp_path / "forum.jsonl")
    assert code == 2
    assert "this forum has content already (users)" in output
    assert content(filled) == before


def test_a_place_that_cannot_be_written_is_named(forum: Forum, tmp_path: Path) -> None:
    code, output = forum.run("export", tmp_path / "nowhere" / "forum.jsonl")
    assert code == 2
    assert "cannot write" in output


def test_every_table_of_a_module_is_in_it_or_left_out_on_purpose() -> None:
    tables = {name.removeprefix("public.") for module in load().modules.values() for name in module.tables}
    assert tables == {*TABLES, *LEFT_OUT}
    assert PERSONAL.keys() <= set(TABLES)
