"""The recorder: what it notes of SQLAlchemy and psycopg, from threads and several processes, also killed ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from strangler import place as places
from strangler import recorder as module
from strangler.analyze.recording import Recording, read
from strangler.errors import StranglerError
from strangler.recorder import RecordedConnection, Recorder, record

ROOT = Path(__file__).parents[2]
TABLES = "CREATE TABLE a (id int PRIMARY KEY, x text); CREATE TABLE b (id int PRIMARY KEY, x text);"


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    return url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.jsonl"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    made = create_engine(sqlalchemy_url(database))
    yield made
    made.dispose()


def sqlalchemy_url(database: str) -> str:
    return make_url(database).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def recorder_for(engine: Engine, file: Path) -> Recorder:
    found = record(engine, file)
    assert found is not None
    return found


def texts(recording: Recording) -> Counter[str]:
    """How often each statement ran."""
    found: Counter[str] = Counter()
    for (number, _), count in recording.ran.items():
        found[recording.statements[number]] += count
    return found


def transactions(recording: Recording) -> Counter[tuple[frozenset[str], str]]:
    return Counter(
        {
            (frozenset(recording.statements[number] for number, _ in uses), end): count
            for (uses, end), count in recording.transactions.items()
        }
    )


INSERT_A, INSERT_B = "INSERT INTO a VALUES ($1, '?')", "INSERT INTO b VALUES ($1, '?')"


def insert(connection: object, table: str, number: int) -> None:
    connection.execute(text(f"INSERT INTO {table} VALUES (:id, 'secret')"), {"id": number})  # type: ignore[attr-defined]


def test_statements_transactions_and_their_ends(engine: Engine, file: Path) -> None:
    recorder = recorder_for(engine, file)
    with engine.begin() as connection:
        insert(connection, "a", 1)
        insert(connection, "b", 1)
    with engine.connect() as connection:
        insert(connection, "a", 2)
        connection.rollback()
        insert(connection, "a", 3)  # not committed: closing rolls it back
    recorder.flush()
    found = read([file])
    assert texts(found) == {INSERT_A: 3, INSERT_B: 1}
    assert transactions(found) == {
        (frozenset({INSERT_A, INSERT_B}), "commit"): 1,
        (frozenset({INSERT_A}), "rollback"): 2,
    }
    assert "secret" not in file.read_text()


def test_sessions_say_the_line_of_the_application(engine: Engine, file: Path) -> None:
    recorder = recorder_for(engine, file)
    with Session(engine) as session:
        session.execute(text("SELECT 1 FROM a"))
        line = sys._getframe().f_lineno - 1
        session.commit()
    recorder.flush()
    (place,) = {place for _, place in read([file]).ran}
    assert place.endswith(f"tests/kit/test_recorder.py:{line}")


def test_every_statement_is_its_own_transaction_under_autocommit(engine: Engine, file: Path) -> None:
    recorder = recorder_for(engine, file)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        insert(connection, "a", 1)
        insert(connection, "b", 1)
    recorder.flush()
    assert transactions(read([file])) == {(frozenset({INSERT_A}), "commit"): 1, (frozenset({INSERT_B}), "commit"): 1}


def test_no_file_no_recorder(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRANGLER_RECORD", raising=False)
    assert record(engine) is None
    assert record() is None


def test_every_engine_by_the_environment_and_twice_is_once(
    database: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRANGLER_RECORD", str(file))
    recorder = record()
    assert recorder is not None
    assert record() is recorder
    try:
        engine = create_engine(sqlalchemy_url(database))
        with engine.begin() as connection:
            insert(connection, "a", 1)
        engine.dispose()
        recorder.flush()
    finally:
        for name in ("statement", "begin", "commit", "rollback"):
            hook = {"statement": "before_cursor_execute"}.get(name, name)
            event.remove(Engine, hook, getattr(recorder, f"on_{name}"))
    assert texts(read([file])) == {INSERT_A: 1}


def test_asyncio_engines_say_the_line_of_the_application(database: str, file: Path) -> None:
    asyncio_engine = pytest.importorskip("sqlalchemy.ext.asyncio")
    engine = asyncio_engine.create_async_engine(sqlalchemy_url(database))
    recorder = recorder_for(engine.sync_engine, file)

    async def work() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO a VALUES (1, 'secret')"))
        await engine.dispose()

    asyncio.run(work())
    recorder.flush()
    found = read([file])
    assert transactions(found) == {(frozenset({"INSERT INTO a VALUES (0, '?')"}), "commit"): 1}
    assert all("test_recorder.py:" in place for _, place in found.ran)


def test_threads_lose_and_double_nothing(engine: Engine, file: Path) -> None:
    recorder = recorder_for(engine, file)

    def work(number: int) -> None:
        for step in range(50):
            with engine.begin() as connection:
                insert(connection, "a", number * 1000 + step)
                insert(connection, "b", number * 1000 + step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.flush()
    found = read([file])
    assert texts(found) == {INSERT_A: 200, INSERT_B: 200}
    assert transactions(found) == {(frozenset({INSERT_A, INSERT_B}), "commit"): 200}
    assert found.bad_lines == 0


def test_threads_that_meet_in_the_middle(file: Path) -> None:
    recorder = Recorder(file)

    def work() -> None:
        for step in range(2000):
            unit: module.Unit = Counter()
            for table in "abcdefgh":
                recorder.note(unit, f"SELECT x FROM {table}{step % 20}")
            recorder.end(unit, "commit")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    recorder.flush()
    found = read([file])
    assert set(texts(found).values()) == {400}
    assert set(found.transactions.values()) == {400}


# --- several processes ------------------------------------------------------------------------------------------------

WORK = """
import os, sys, time
from sqlalchemy import create_engine, text
from strangler.recorder import record
record()
engine = create_engine(sys.argv[1])
if "fork" in sys.argv:
    for _ in range(2):  # the second is not written at once, for it is nothing new
        with engine.begin() as connection:
            connection.execute(text("SELECT 1 FROM b"))
    engine.dispose()
    children = [os.fork()] if len(sys.argv) > 2 else []
count = 0
while count < 300 or "forever" in sys.argv:
    with engine.begin() as connection:
        connection.execute(text(f"SELECT x{count % 60} FROM (SELECT '{'y' * 5000}' AS x{count % 60} FROM a) AS q"))
    count += 1
    print(count, flush=True)
if "fork" in sys.argv:
    if children[0]:
        os.waitpid(children[0], 0)
"""


def start(database: str, file: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORK), sqlalchemy_url(database), *words],
        env={**os.environ, "STRANGLER_RECORD": str(file)}, cwd=ROOT, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip


def test_two_processes_write_one_file(database: str, file: Path) -> None:
    processes = [start(database, file) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = read([file])
    assert found.bad_lines == 0
    assert sum(texts(found).values()) == sum(found.transactions.values()) == 600
    assert len(found.statements) == 60


def test_a_forked_process_writes_nothing_of_its_parents(database: str, file: Path) -> None:
    process = start(database, file, "fork")
    process.communicate(timeout=60)
    assert process.returncode == 0
    found = texts(read([file]))
    assert found.pop("SELECT 0 FROM b") == 2
    assert sum(found.values()) == 600


def test_a_killed_process_loses_no_kind_of_transaction(database: str, file: Path) -> None:
    process = start(database, file, "forever")
    assert process.stdout is not None
    while process.stdout.readline() != "61\n":  # each of 60 kinds has been committed
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = read([file])
    assert found.bad_lines <= 1
    assert found.nameless() == 0
    assert len(found.statements) == 60


def test_half_a_line_of_a_killed_process_spoils_no_other(database: str, file: Path) -> None:
    file.write_text('{"ran": "abc", "at": "x.p')
    start(database, file).communicate(timeout=60)
    found = read([file])
    assert (found.bad_lines, found.nameless()) == (1, 0)
    assert sum(texts(found).values()) == 300


# --- what it costs, and what it must not do ---------------------------------------------------------------------------


def test_memory_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SEEN", 100)
    monkeypatch.setattr(module, "MOST_USES", 10)
    recorder = Recorder(file)
    for number in range(1000):
        unit: module.Unit = Counter()
        for step in range(30):
            recorder.note(unit, f"SELECT x{number} FROM t{step}")
            assert len(unit) <= 11
        recorder.end(unit, "commit")
        assert len(recorder._seen) <= 200
        assert len(recorder._ran) + len(recorder._transactions) + len(recorder._new) <= 200
    unit = Counter()
    for number in range(1000):  # one long transaction
        recorder.note(unit, f"SELECT y{number}")
        assert len(unit) + len(recorder._seen) + len(recorder._new) <= 600
    recorder.end(unit, "commit")
    assert module._identified_short.cache_info().currsize <= 2000
    assert read([file]).cut == 1001


def test_a_lost_connection_is_no_other_trouble_than_without_a_recorder(engine: Engine, file: Path) -> None:
    recorder = recorder_for(engine, file)
    with engine.connect() as connection:
        insert(connection, "a", 1)
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        connection.rollback()
        insert(connection, "b", 1)
        connection.commit()
    recorder.flush()
    found = transactions(read([file]))
    assert found[frozenset({INSERT_B}), "commit"] == 1
    assert sum(count for (_, end), count in found.items() if end == "commit") == 1


def test_a_removed_working_directory_is_not_the_applications_trouble(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    places._short.cache_clear()
    recorder, unit = Recorder(file), Counter[module.Use]()
    recorder.note(unit, "SELECT 1")
    recorder.end(unit, "commit")
    places._short.cache_clear()
    assert [place for _, place in read([file]).ran] == [f"{__file__}:{sys._getframe().f_lineno - 3}"]


def test_a_full_disk_is_not_the_applications_trouble(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    recorder = Recorder("/dev/full")
    for number in range(3):
        unit: module.Unit = Counter()
        recorder.note(unit, f"SELECT x{number}")
        recorder.end(unit, "commit")
    assert [one.message for one in caplog.records] == [
        "nothing is recorded any more: [Errno 28] No space left on device"
    ]


# --- psycopg by itself ------------------------------------------------------------------------------------------------


@pytest.fixture
def connection(database: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedConnection]:
    monkeypatch.setenv("STRANGLER_RECORD", str(file))
    with RecordedConnection.connect(database) as made:
        yield made


def recorded(connection: RecordedConnection, file: Path) -> Recording:
    assert connection._recorder is not None
    connection._recorder.flush()
    return read([file])


def test_psycopg_transactions(connection: RecordedConnection, file: Path) -> None:
    connection.execute("INSERT INTO a VALUES (%s, 'secret')", (1,))
    connection.cursor().executemany("INSERT INTO b VALUES (%s, 'secret')", [(1,), (2,)])
    connection.commit()
    connection.execute(sql.SQL("INSERT INTO {} VALUES (%s, 'secret')").format(sql.Identifier("a")), (2,))
    connection.rollback()
    with connection.transaction(), connection.transaction():
        connection.execute(b"INSERT INTO a VALUES (%s, 'secret')", (3,))
    with connection.transaction():
        connection.execute("INSERT INTO b VALUES (%s, 'secret')", (3,))
        raise psycopg.Rollback
    found = recorded(connection, file)
    quoted = INSERT_A.replace(" a ", ' "a" ')
    assert transactions(found) == {
        (frozenset({INSERT_A, INSERT_B}), "commit"): 1,
        (frozenset({quoted}), "rollback"): 1,
        (frozenset({INSERT_A}), "commit"): 1,
        (frozenset({INSERT_B}), "rollback"): 1,
    }
    assert all("test_recorder.py:" in place for _, place in found.ran)


def test_psycopg_failures_roll_back(connection: RecordedConnection, file: Path) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
        connection.execute("SELECT 1 / (count(*) - count(*)) FROM a")
    assert {end for _, end in recorded(connection, file).transactions} == {"rollback"}


def test_psycopg_autocommit_copy_and_server_cursors(connection: RecordedConnection, file: Path) -> None:
    connection.autocommit = True
    with connection.cursor().copy("COPY a FROM STDIN") as copy:
        copy.write_row((1, "x"))
    connection.execute("DELETE FROM b")
    with connection.transaction(), connection.cursor("named") as cursor:
        assert cursor.execute("SELECT id FROM a").fetchall() == [(1,)]
    assert list(connection.cursor().stream("SELECT x FROM a")) == [("x",)]
    assert transactions(recorded(connection, file)) == {
        (frozenset({statement}), "commit"): 1
        for statement in ("COPY a FROM STDIN", "DELETE FROM b", "SELECT id FROM a", "SELECT x FROM a")
    }


def test_psycopg_without_a_file_is_just_a_connection(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRANGLER_RECORD", raising=False)
    with RecordedConnection.connect(database) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.cursor_factory is psycopg.Cursor


# --- reading ----------------------------------------------------------------------------------------------------------

GOOD = [
    {"statement": "s1", "sql": "SELECT 0 FROM a"},
    {"ran": "s1", "at": "x.py:1", "count": 2},
    {"transaction": [["s1", "x.py:1"]], "end": "commit", "count": 2},
]


@pytest.mark.parametrize(
    "line",
    [
        "", "   ", "not json", "{", "[]", "7", "null", '"ran"', "{}", "\x00\x01", "\xed\xa0\xbd", "[" * 100_000,
        '{"statement": 1, "sql": "SELECT 0"}', '{"statement": "s2"}', '{"transaction": [["s1", "x.p',
        '{"ran": "s1", "at": "x.py:1", "count": -1}', '{"ran": "s1", "at": "x.py:1", "count": true}',
        '{"ran": ["s1"], "at": "x.py:1", "count": 1}', '{"transaction": [["s1"]], "end": "commit", "count": 1}',
        '{"transaction": 3, "end": "commit", "count": 1}', '{"transaction": [], "end": "never", "count": 1}',
    ],
)  # fmt: skip
def test_rubbish_is_counted_and_left_out(file: Path, line: str) -> None:
    good = [json.dumps(one) for one in GOOD]
    file.write_text("\n".join([good[0], line, *good[1:], line]))
    found = read([file])
    assert found.bad_lines == (2 if line.strip() else 0)
    assert texts(found) == {"SELECT 0 FROM a": 2}
    assert transactions(found) == {(frozenset({"SELECT 0 FROM a"}), "commit"): 2}


def test_files_add_up(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for one in files:
        one.write_text("\n".join(json.dumps(line) for line in GOOD))
    assert texts(read(files)) == {"SELECT 0 FROM a": 4}


@pytest.mark.parametrize("content", ["", "\n\n", "rubbish\n", "{}\n"])
def test_a_file_of_nothing_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(StranglerError, match="nothing in it was recorded; call `record"):
        read([file])
