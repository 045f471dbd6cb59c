"""`strangler init` on the library, and on what else people may have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from local.postgres import Cluster
from strangler.config import load
from strangler.errors import StranglerError
from strangler.init import write
from tests.foreign.conftest import HERE, TABLES
from tests.servers import running_cluster

_numbers = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as one:
        yield one


@pytest.fixture
def database(cluster: Cluster) -> Callable[[str], str]:
    """Makes a database of these statements."""

    def make(statements: str) -> str:
        name = f"somebody{next(_numbers)}"
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(cluster.dsn(name)) as connection:
            connection.execute(statements)
        return cluster.dsn(name)

    return make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the library, and with an application of one file."""
    shutil.copytree(HERE / "library", tmp_path / "library")
    (tmp_path / "small.py").write_text(
        "from flask import Flask\napp = Flask(__name__)\n"
        "@app.get('/things')\ndef things(): return ''\n@app.get('/nothing')\ndef nothing(): return ''\n"
    )
    return tmp_path


def strangler(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "strangler", *words], cwd=folder, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_library_falls_into_two_modules_and_analyze_takes_them(
    home: Path, database: Callable[[str], str]
) -> None:  # fmt: skip
    dsn = database((HERE / "library" / "schema.sql").read_text())
    done = strangler(home, "init", "--dsn", dsn, "--app", "library:create_app")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("read it and mend it. Next: strangler analyze\n")
    config = load(home / "strangler.toml")
    assert {name: (set(one.tables), one.routes) for name, one in config.modules.items()} == {
        "catalogue": (set(TABLES), ["/api/works"]),
        "lending": ({"public.loans", "public.members"}, ["/api/loans", "/api/members"]),
    }
    assert [(stage.name, stage.moved) for stage in config.stages.values()] == [
        ("0-monolith", []), ("1-catalogue", ["catalogue"]), ("2-lending", ["catalogue", "lending"]),
    ]  # fmt: skip
    text = (home / "strangler.toml").read_text()
    assert 'dsn = "${CATALOGUE_DSN}"' in text
    assert "secret" not in text
    assert '#   "/" ' in text
    analyzed = strangler(home, "analyze", MONOLITH_DSN=dsn)
    assert analyzed.returncode == 0, analyzed.stderr
    assert "loans_work_id_number_fkey" in analyzed.stdout

    before = (home / "strangler.toml").read_bytes()
    again = strangler(home, "init", "--app", "library", MONOLITH_DSN=dsn)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "strangler.toml is there already; remove it, or name another file with --output" in again.stderr
    assert (home / "strangler.toml").read_bytes() == before


def test_odd_names_are_written_so_that_they_are_read_back(home: Path, database: Callable[[str], str]) -> None:
    dsn = database(
        """
        CREATE SCHEMA "Sales #1";
        CREATE TABLE "Sales #1"."Things" (id int);
        CREATE TABLE "things ""of\\ [x] = '${HOME}'" (id int PRIMARY KEY);
        CREATE TABLE "things\n[modules]" (id int PRIMARY KEY);
        CREATE TABLE "things.dotted" (id int PRIMARY KEY);
        CREATE TABLE "left\nover" (id int PRIMARY KEY);
        CREATE TABLE things (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE things_1 PARTITION OF things FOR VALUES FROM (1) TO (2);
        CREATE VIEW things_now AS SELECT * FROM things;
        CREATE TABLE alembic_version (version_num text PRIMARY KEY)
        """
    )
    done = strangler(home, "init", "--dsn", dsn, "--app", "small", "--output", "mine.toml")
    assert done.returncode == 0, done.stderr
    config = load(home / "mine.toml")
    assert list(config.modules) == ["things"]
    assert set(config.module("things").tables) == {
        "Sales #1.Things", "public.things", "public.things\n[modules]", "public.things \"of\\ [x] = '${HOME}'",
    }  # fmt: skip
    assert config.analyze.everywhere == ["public.alembic_version"]
    text = (home / "mine.toml").read_text()
    assert "# called like a route; it needs a PRIMARY KEY before it can move" in text
    assert '#   "public.left\\nover"' in text
    assert '#   "public.things.dotted"' in text
    analyzed = strangler(home, "--config", "mine.toml", "analyze", MONOLITH_DSN=dsn)
    assert analyzed.returncode == 0, analyzed.stderr


BROKEN = {
    "raises": "import os\nos.environ['NO SUCH VARIABLE']",
    "imports": "import no_such_library",
    "exits": "import sys\nsys.exit(3)",
    "syntax": "def",
    "empty": "",
    "factory": "def create_app():\n    raise RuntimeError('not today\\nor ever')",
}


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`home`, as the current directory, and what is imported from it forgotten afterwards."""
    for name, text in BROKEN.items():
        (home / f"{name}.py").write_text(text)
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in list(sys.modules):
        if name.partition(".")[0] in (*BROKEN, "small", "library"):
            monkeypatch.delitem(sys.modules, name)
    yield home
    for name in list(sys.modules):
        if name.partition(".")[0] in (*BROKEN, "small", "library"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("app", "options", "says"),
    [
        ("nowhere", {}, "Could not import 'nowhere'"),
        ("small:other", {}, "Failed to find attribute 'other' in 'small'"),
        ("raises", {}, "KeyError: 'NO SUCH VARIABLE'"),
        ("imports", {}, "ModuleNotFoundError: No module named 'no_such_library'"),
        ("exits", {}, "SystemExit: 3"),
        ("syntax", {}, "SyntaxError"),
        ("empty", {}, "Failed to find Flask application or factory in module 'empty'"),
        ("factory", {}, "RuntimeError: not today"),
        ("small", {"dsn": "rubbish secret"}, "--dsn: not a connection string"),
        ("small", {"dsn": "postgresql://u:secret@127.0.0.1:1/x"}, "cannot reach the database of monolith"),
        ("small", {"file": "no/where.toml"}, "cannot write no/where.toml: No such file or directory"),
        ("small", {"file": "."}, "is there already"),
        ("library", {}, "no table of the database is called like a route of library"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    here: Path, database: Callable[[str], str], app: str, options: dict[str, str], says: str
) -> None:
    dsn = options.get("dsn") or database("CREATE TABLE things (id int PRIMARY KEY)")
    before = sorted(here.iterdir())
    with pytest.raises(StranglerError) as raised:
        write(dsn, app, Path(options.get("file", "strangler.toml")))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert sorted(here.iterdir()) == before


def test_an_app_that_fails_to_import_is_one_line_and_exit_2(here: Path) -> None:
    done = strangler(here, "init", "--dsn", "", "--app", "imports")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "strangler: --app imports: ModuleNotFoundError: No module named 'no_such_library'; "
        "name it as for `flask --app`, and set what it needs to start\n"
    )


def test_no_configuration_is_needed_for_help(tmp_path: Path) -> None:
    done = strangler(tmp_path, "init", "--help")
    assert done.returncode == 0, done.stderr
    assert "--app" in done.stdout
