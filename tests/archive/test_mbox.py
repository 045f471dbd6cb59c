"""What `forum import mbox` promises."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from forum.archive import mbox
from forum.archive.load import BATCH
from forum.schemas import NewMessage, NewTopic, Registration
from tests.archive.conftest import ROOT, Forum
from tests.archive.lists import TOPIC_SIZE, write
from tests.servers import wait_for

MARK = b"From x@example.org Mon Jan  5 10:00:00 2026\n"
DATE = b"Date: Mon, 05 Jan 2026 11:00:00 +0100"
FROM = b"From: Ada <ada@example.org>"
NOON = datetime(2026, 1, 5, 10, tzinfo=UTC)

CORRECT = """
    SELECT t.id FROM topics t LEFT JOIN messages m ON m.topic_id = t.id GROUP BY t.id
    HAVING count(m.id) <> t.message_count OR max(m.created_at) <> t.last_activity_at
        OR min(m.created_at) <> t.created_at OR count(m.id) = 0"""


def mail(*headers: bytes, text: bytes = b"Hello.", mark: bytes = MARK) -> bytes:
    return mark + b"\n".join(headers) + b"\n\n" + text + b"\n\n"


def simple(id: str, subject: str, *more: bytes, hour: int = 10, day: int = 5, sender: bytes = FROM) -> bytes:
    headers = (
        sender, f"Date: {day} Jan 2026 {hour:02}:00:00 +0000".encode(), f"Subject: {subject}".encode(),
        f"Message-ID: <{id}@x>".encode(),
    )  # fmt: skip
    return mail(*headers, *more, text=f"Text of {id}".encode())


@pytest.fixture
def bring(forum: Forum, tmp_path: Path) -> Callable[..., str]:
    """Imports the mails; answers what the command said."""

    def bring(*mails: bytes) -> str:
        path = tmp_path / "list.mbox"
        path.write_bytes(b"".join(mails))
        return forum.succeed("import", "mbox", path)

    return bring


def conversations(forum: Forum) -> dict[str, list[str]]:
    """Title -> texts in order."""
    found: dict[str, list[str]] = {}
    for title, body in forum.query("SELECT title, body FROM topics t JOIN messages m ON topic_id = t.id ORDER BY m.id"):
        found.setdefault(title, []).append(body.removeprefix("Text of "))
    return found


def replies(forum: Forum) -> set[tuple[str, str]]:
    rows = forum.query("SELECT a.body, b.body FROM messages a JOIN messages b ON b.id = a.reply_to")
    return {(a.removeprefix("Text of "), b.removeprefix("Text of ")) for a, b in rows}


# --- threads --------------------------------------------------------------------------------------------------------


def test_threads_are_found_by_references_in_whatever_order_mails_come(forum: Forum, bring: Callable[..., str]) -> None:
    bring(
        simple("c", "Re: One", b"References: <a@x> <b@x>", b"In-Reply-To: <b@x>", hour=13),
        simple("other", "Another", hour=12),
        simple("b", "Changed the subject", b"In-Reply-To: <a@x>", hour=11),
        simple("a", "One", hour=10),
        # Both answer one that is in no archive.
        simple("e", "Re: Lost", b"References: <gone@x> <lost@x>", hour=15),
        simple("d", "Re: Lost, too", b"References: <gone@x>", hour=14),
        # Old mailers name a person, not a mail.
        simple("f", "Alone", b'In-Reply-To: Your message of "Mon" <ada@example.org>', hour=16),
        simple("g", "Alone, too", b'In-Reply-To: Your message of "Tue" <ada@example.org>', hour=17),
    )
    found = conversations(forum)
    assert found == {
        "One": ["a", "b", "c"], "Another": ["other"], "Lost, too": ["d", "e"], "Alone": ["f"], "Alone, too": ["g"],
    }  # fmt: skip
    assert replies(forum) == {("b", "a"), ("c", "b")}
    assert forum.query(CORRECT) == []


def test_without_references_an_answer_joins_the_topic_of_its_subject(forum: Forum, bring: Callable[..., str]) -> None:
    bring(
        simple("a", "[list] Weekly report", hour=1),
        simple("b", "Weekly report", hour=2),  # another one: it says not that it answers
        simple("c", "RE: [list] AW: weekly  report", hour=3),
        simple("d", "Re: Weekly report", b"References: <nowhere@x>", hour=4),
        simple("e", "Re: Never asked", hour=5),
        simple("f", "Re: Re[2]: Never asked", hour=6),
        simple("g", "Re:", hour=7),
        simple("h", "", hour=8),
    )
    assert conversations(forum) == {
        "[list] Weekly report": ["a"], "Weekly report": ["b", "c", "d"], "Never asked": ["e", "f"],
        "(no subject)": ["g", "h"],
    }  # fmt: skip
    assert forum.count("topics") == 5


def test_an_answer_never_comes_before_its_question(forum: Forum, bring: Callable[..., str]) -> None:
    bring(simple("a", "One", hour=12), simple("b", "Re: One", b"In-Reply-To: <a@x>", hour=9))
    assert conversations(forum) == {"One": ["a", "b"]}
    assert replies(forum) == {("b", "a")}


def test_the_next_months_archive_goes_on_where_the_last_ended(forum: Forum, bring: Callable[..., str]) -> None:
    first = simple("a", "One"), simple("b", "Re: One", b"In-Reply-To: <a@x>", hour=11)
    bring(*first)
    said = bring(
        *first,
        simple("c", "Re: One", b"References: <a@x> <b@x>", day=6),
        simple("d", "Two", day=7, sender=b"From: Bob <bob@example.org>"),
    )
    assert "2 messages in 1 new topics by 1 new users" in said
    assert "skipped 2: imported before" in said
    assert conversations(forum) == {"One": ["a", "b", "c"], "Two": ["d"]}
    # A count that was on its way may be older: so the topic that was there is counted once more.
    [(asked,)] = forum.query("SELECT payload FROM outbox WHERE type = 'topics.recount'")
    assert asked == {"topic_ids": [forum.value("SELECT id FROM topics WHERE title = 'One'")]}
    assert replies(forum) == {("b", "a"), ("c", "b")}
    assert forum.query(CORRECT) == []


# --- oddities -------------------------------------------------------------------------------------------------------

TYPE = b"Content-Type: text/plain; charset="


TEXTS: list[tuple[list[bytes], bytes, str]] = [
    ([TYPE + b"iso-8859-1"], b"caf\xe9", "café"),
    ([TYPE + b"iso-2022-jp"], "日本語".encode("iso-2022-jp"), "日本語"),
    ([TYPE + b"no-such-thing"], "für".encode(), "für"),
    ([TYPE + b"utf-8"], b"caf\xe9 \x93quoted\x94", "café “quoted”"),  # it is not
    ([TYPE + b"base64"], b"plain", "plain"),
    ([], b"nothing\0 said", "nothing said"),
    ([TYPE + b"utf-8", b"Content-Transfer-Encoding: quoted-printable"], b"caf=C3=A9 =\nhere =ZZ", "café here =ZZ"),
    ([TYPE + b"utf-8", b"Content-Transfer-Encoding: base64"], b"Y2Fmw6k=", "café"),
    ([TYPE + b"utf-8", b"Content-Transfer-Encoding: no-such-thing"], b"as it is", "as it is"),
    (
        [b"Content-Type: text/html; charset=utf-8"],
        b"<html><head><title>no<style>p {}</style></head><body><p>One &amp; <b>two</b><br>three<script>x</script>",
        "One & two\nthree",
    ),
    (
        [b"Content-Type: multipart/alternative; boundary=B"],
        b"--B\nContent-Type: text/html\n\n<p>not this\n--B\nContent-Type: text/plain\n\nbut this\n--B--",
        "but this",
    ),
    (
        [b"Content-Type: multipart/mixed; boundary=B"],
        b"--B\n\nThe text\n--B\nContent-Type: image/png; name*=utf-8''caf%C3%A9.png\n"
        b"Content-Transfer-Encoding: base64\n\nAAAA\n--B\nContent-Type: message/rfc822\n\nSubject: inner\n\nhid"
        b"den\n--B\nContent-Type: text/x-patch\nContent-Disposition: attachment; filename=a.patch\n\n+1\n--B--",
        "The text\n\n[attachment: café.png, image/png, 3 bytes]\n\n[attachment: without a name, message/rfc822, "
        "0 bytes]\n\n[attachment: a.patch, text/x-patch, 2 bytes]",
    ),
    ([b"Content-Type: multipart/mixed; boundary=B"], b"--B\n\nNever closed", "Never closed"),
    ([b"Content-Type: multipart/mixed"], b"without a boundary", "without a boundary"),
    ([b"Content-Type: rubbish"], b"Still text", "Still text"),
    ([], b">From here on\n>>From there\n>Front", "From here on\n>From there\n>Front"),
    ([], b"From what we know, nothing follows.\nFrom: me", "From what we know, nothing follows.\nFrom: me"),
]


def test_texts_are_made_out(forum: Forum, bring: Callable[..., str]) -> None:
    bring(*(mail(FROM, DATE, b"Message-ID: <%d@x>" % n, *headers, text=t) for n, (headers, t, _) in enumerate(TEXTS)))
    found = [body for (body,) in forum.query("SELECT body FROM messages ORDER BY id")]
    assert found == [body for _, _, body in TEXTS]


HEADERS: list[tuple[bytes, str, object]] = [
    (b"Subject: =?utf-8?q?caf=C3=A9?= and\n =?iso-8859-1?b?Y2Fm6Q==?=", "title", "café and café"),
    (b"Subject: =?no-such?q?caf?= =?utf-8?b?broken!?=", "title", None),
    (b"Subject: caf\xc3\xa9 raw", "title", "café raw"),
    (b"Subject: caf\xe9 raw", "title", "café raw"),
    (b"Subject: tab\there\x00\x07", "title", "tab here"),
    (b"Subject: " + b"x" * 500, "title", "x" * 200),
    (b"From: =?utf-8?q?Zo=C3=AB=2C_PhD?= <zoe@example.org>", "display_name", "Zoë, PhD"),
    (b"From: zoe at example.org (Zoe Q.)", "display_name", "Zoe Q."),
    (b"From: zoe at example.org (Zoe Q.)", "email", "zoe@example.org"),
    (b"From: ZOE@Example.ORG", "email", "zoe@example.org"),
    (b"From: zoe@example.org", "display_name", "zoe"),
    (b'From: "Zoe" <not an address>', "display_name", "Zoe"),
    (b"From: " + b"z" * 400 + b"@example.org", "email", None),
    (b"Reply-To: zoe@example.org", "email", "zoe@example.org"),
    (b"Date: Mon, 05 Jan 2026 11:00:00 +0100", "m.created_at", NOON),
    (b"Date: 5 Jan 26 10:00 UT", "m.created_at", NOON),
    (b"Date: yesterday", "m.created_at", NOON),  # as the mark says
    (b"Date: Mon, 05 Jan 2093 11:00:00 +0100", "m.created_at", NOON),
    (b"Date: Mon, 05 Jan 1970 00:00:00 +0000", "m.created_at", NOON),
    (b"Date: Mon, 99 Jan 2026 99:00:00 +9999999", "m.created_at", NOON),
    (b"Received: by x; Mon, 05 Jan 2026 10:30:00 +0000", "m.created_at", NOON.replace(minute=30)),
]
"""A header, and what becomes of it (None: whatever can be kept)."""


def test_headers_are_made_out(forum: Forum, bring: Callable[..., str]) -> None:
    for number, (header, column, value) in enumerate(HEADERS):
        rest = [] if header.startswith((b"From:", b"Reply-To:")) else [FROM]
        forum.query("DELETE FROM users")
        bring(mail(header, *rest, b"Message-ID: <%d@x>" % number, text=b"%d" % number))
        [(found,)] = forum.query(
            f"SELECT {column} FROM topics t JOIN messages m ON topic_id = t.id JOIN users u ON u.id = m.author_id"
            " WHERE m.body = %s", (str(number),),
        )  # fmt: skip
        assert value is None or found == value, header


def test_without_any_date_a_mail_is_as_old_as_the_one_before_it(forum: Forum, bring: Callable[..., str]) -> None:
    bring(simple("a", "One"), mail(FROM, b"Message-ID: <b@x>", mark=b"\nFrom nobody 1:00 in 2026\n"))
    assert forum.query("SELECT created_at FROM messages") == [(NOON,), (NOON,)]


def test_every_mail_that_is_skipped_is_counted_with_its_reason(
    forum: Forum, bring: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mbox, "MAX_MAIL", 1024**2)
    nested = b"".join(b"--%d\nContent-Type: multipart/mixed; boundary=%d\n\n" % (n, n + 1) for n in range(3000))
    said = bring(
        simple("a", "One"),
        simple("a", "One, from another list"),
        mail(FROM, DATE, text=b"No id"),
        mail(FROM, DATE, text=b"No id"),
        mail(DATE, b"Subject: from nobody"),
        mail(FROM, DATE, text=b"  \n "),
        mail(text=b"no header at all"),
        mail(FROM, DATE, text=b"x" * 2 * 1024**2),
        mail(FROM, DATE, b"Content-Type: multipart/mixed; boundary=0", text=nested),
        simple("b", "Two", hour=11),
    )
    assert said.splitlines()[0].startswith("3 messages in 3 new topics by 1 new users in ")
    skipped = dict(line.removeprefix("skipped ").split(": ", 1)[::-1] for line in said.splitlines()[1:])
    assert skipped.pop("cannot be parsed", "1") == "1" or skipped["no text and no attachment"] == "2"
    assert skipped["twice in these files"] == "2"
    assert skipped["no sender"] == "1"
    assert skipped["no header"] == "1"
    assert skipped["larger than 1 MiB"] == "1"
    assert sum(map(int, skipped.values())) + forum.count("messages") + ("cannot be parsed" in said) == 10


def test_what_is_too_long_is_cut_and_says_so(forum: Forum, bring: Callable[..., str]) -> None:
    said = bring(mail(FROM, DATE, text=b"word " * 10_000))
    assert "1 of them cut" in said
    [(body,)] = forum.query("SELECT body FROM messages")
    assert len(body) <= 20_000
    assert body.endswith("more characters are left out]")


def test_what_is_imported_could_have_been_written_through_the_api(forum: Forum, tmp_path: Path) -> None:
    random = Random(7)
    junk = b"".join(
        mail(
            *(random.randbytes(random.randrange(60)).replace(b"\n", b"") for _ in range(3)),
            b"From: " + random.randbytes(20).replace(b"\n", b""),
            random.choice((b"Content-Type: text/html", b"Content-Type: multipart/mixed; boundary=B", b"X: y")),
            text=random.randbytes(300).replace(b"\nFrom", b""),
        )
        for _ in range(300)
    )
    path = tmp_path / "junk.mbox"
    path.write_bytes(junk)
    said = forum.succeed("import", "mbox", path, write(tmp_path / "list.mbox", 40))
    for title, body, id in forum.query("SELECT title, body, t.id FROM topics t JOIN messages m ON topic_id = t.id"):
        assert NewTopic(title=title)
        assert NewMessage(topic_id=id, body=body)
    for username, name, email in forum.query("SELECT username, display_name, email FROM users"):
        assert Registration(username=username, display_name=name, email=email, password="long enough")
    skipped = sum(int(line.split()[1].rstrip(":")) for line in said.splitlines() if line.startswith("skipped"))
    assert forum.count("messages") + skipped == 340
    assert forum.query(CORRECT) == []


# --- people ---------------------------------------------------------------------------------------------------------


def test_who_has_an_account_writes_by_it_and_others_get_one_that_nobody_can_log_in_to(
    forum: Forum, bring: Callable[..., str]
) -> None:
    forum.query(
        "INSERT INTO users (username, display_name, email, password_hash)"
        " VALUES ('Ada', 'Countess', 'Ada@Example.org', 'kept'), ('bob', 'Bob', 'bob@elsewhere.org', 'kept')"
    )
    bring(
        simple("a", "One"),
        simple("b", "Two", sender=b"From: Bob B. <bob@example.org>"),
        simple("c", "Three", sender=b"From: x@example.org"),
    )
    rows = forum.query("SELECT username, display_name, email, password_hash FROM users ORDER BY id")
    assert rows[:2] == [("Ada", "Countess", "Ada@Example.org", "kept"), ("bob", "Bob", "bob@elsewhere.org", "kept")]
    (name, shown, email, password), (short, *_) = rows[2:]
    assert (name[:4], shown, email, password) == ("bob-", "Bob B.", "bob@example.org", "!")
    assert short.startswith("x-")
    assert forum.query("SELECT author_id FROM messages WHERE body = 'Text of a'") == [(1,)]


def test_what_was_deleted_does_not_come_back(forum: Forum, bring: Callable[..., str]) -> None:
    mails = simple("a", "One"), simple("b", "Re: One", b"In-Reply-To: <a@x>", hour=11)
    bring(*mails)
    forum.query("DELETE FROM messages WHERE body = 'Text of b'")
    forum.query("DELETE FROM users")
    said = bring(*mails)
    assert "0 messages" in said
    assert conversations(forum) == {"One": ["a"]}
    assert forum.count("users") == 0


# --- again, killed, in the way --------------------------------------------------------------------------------------


def test_running_it_twice_adds_nothing(forum: Forum, tmp_path: Path) -> None:
    path = write(tmp_path / "list.mbox", 500, 300)
    packed = tmp_path / "list.mbox.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    forum.succeed("import", "mbox", path)
    tables = ("users", "topics", "messages", "messages_imports")
    before = [forum.rows(table, "1") for table in tables]
    assert len(before[2]) == 500
    assert len(before[1]) == -(-500 // TOPIC_SIZE)
    said = forum.succeed("import", "mbox", packed, path)
    assert "0 messages in 0 new topics by 0 new users" in said
    assert "skipped 1000: imported before" in said
    assert [forum.rows(table, "1") for table in tables] == before
    assert forum.query(CORRECT) == []


def test_killed_on_the_way_it_goes_on_with_the_next_run(forum: Forum, tmp_path: Path) -> None:
    path = write(tmp_path / "list.mbox", BATCH + 100, 120)
    forum.query("""
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF EXISTS (SELECT FROM messages) THEN PERFORM pg_sleep(600); END IF; RETURN NULL; END $$""")
    forum.query("CREATE TRIGGER stop BEFORE INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION stop()")
    words = [sys.executable, "-m", "monolith.cli", "import", "mbox", str(path)]
    process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "DATABASE_URL": forum.url}, stderr=subprocess.PIPE)
    try:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        wait_for(lambda: forum.value(sleeping), "the second batch")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    forum.query(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert forum.count("messages") == forum.count("messages_imports") == BATCH
    assert forum.query(CORRECT) == []
    forum.query("DROP TRIGGER stop ON messages")
    assert "100 messages" in forum.succeed("import", "mbox", path)
    assert forum.count("messages") == BATCH + 100
    assert forum.value("SELECT count(DISTINCT body) FROM messages") == BATCH + 100
    assert forum.count("topics") == -(-(BATCH + 100) // TOPIC_SIZE)
    assert forum.query(CORRECT) == []


def test_others_go_on_writing_meanwhile_and_afterwards(forum: Forum, tmp_path: Path) -> None:
    path = write(tmp_path / "list.mbox", 20, 120)
    topic = forum.topic()
    with psycopg.connect(forum.url) as writer:
        writer.execute("INSERT INTO messages (topic_id, body) VALUES (%s, 'Not committed yet')", (topic,))
        writer.commit()
        with psycopg.connect(forum.url) as reader:
            reader.execute("SELECT count(*) FROM messages")  # holds its snapshot and locks
            forum.succeed("import", "mbox", path)
        writer.execute("INSERT INTO messages (topic_id, body) VALUES (%s, 'After')", (topic,))
    ids = [id for (id,) in forum.query("SELECT id FROM messages ORDER BY id")]
    assert ids == list(range(1, 23))
    assert forum.topic() == forum.count("topics")


@pytest.mark.parametrize("module", ["users", "topics", "messages"])
def test_once_a_module_has_moved_the_commands_refuse_in_a_line_and_change_nothing(
    forum: Forum, tmp_path: Path, module: str
) -> None:
    path = write(tmp_path / "list.mbox", 10, 120)
    out = tmp_path / "forum.jsonl"
    forum.succeed("export", out)
    forum.give(module, module)
    for words in (("import", "mbox", path), ("import", "jsonl", out), ("export", tmp_path / "new.jsonl")):
        code, output = forum.run(*words)
        assert code == 2, output
        assert f"module {module} is owned by {module}" in output
        assert len(output.splitlines()) == 1
    assert [forum.count(table) for table in ("users", "topics", "messages", "messages_imports")] == [0] * 4
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"no mbox at all\nFrom x@y Mon Jan  5 10:00:00 2026\n", "is not an mbox file"),
        (b"\x7fELF\x00\x01", "is not an mbox file"),
        (gzip.compress(simple("a", "One") * 2000)[:-500], "cannot read"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_none_is_named_and_nothing_is_imported(
    forum: Forum, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    good, bad = tmp_path / "good.mbox", tmp_path / "bad.mbox"
    good.write_bytes(simple("a", "One"))
    if content is not None:
        bad.write_bytes(content)
    code, output = forum.run("import", "mbox", good, bad)
    assert code == 2
    assert complaint in output
    assert str(bad) in output
    assert forum.count("messages") == 0
    assert forum.run("import", "mbox", tmp_path)[0] == 2
    empty = tmp_path / "empty.mbox"
    empty.write_bytes(b"\n")
    assert "0 messages" in forum.succeed("import", "mbox", empty)


MEASURE = """
import resource, sys
from pathlib import Path
from forum.archive import load
load.load(sys.argv[1], [Path(sys.argv[2])])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_archive(new_forum: Callable[[], Forum], tmp_path: Path) -> None:
    """In MB: where the archive is so much larger, the process is not."""
    peak: list[int] = []
    size: list[float] = []
    for number in (300, 2500):
        forum = new_forum()
        forum.query("ALTER TABLE messages DROP COLUMN search")  # which takes most of the time
        path = write(tmp_path / "list.mbox", number, 12_000)
        size.append(path.stat().st_size / 1024**2)
        words = [sys.executable, "-c", MEASURE, forum.url, str(path)]
        done: Any = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        peak.append(int(done.stdout))
    assert size[1] - size[0] > 30
    assert peak[1] - peak[0] < 15, f"{peak} MB for {size} MB"
