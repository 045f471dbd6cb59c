"""What docs/kit.md tells people to type is typed here, and what it shows is compared with what is said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from local.state import CHECKOUT
from tests.servers import free_port, running_cluster

DOCUMENT = (CHECKOUT / "docs" / "kit.md").read_text()
MARK = "--- said ---"


def blocks() -> list[tuple[str, str]]:
    """Kind and text of the fenced blocks: sh, python (a file, named in its first line) and text (what is said)."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def script() -> str:
    """All that is to be typed, in one shell, with a mark where each block begins to say something."""
    lines = ["set -e"]
    for kind, text in blocks():
        if kind == "python":
            lines.append(f"cat > {text.split()[1]} <<'END'\n{text}END")
        elif kind == "sh":
            lines += [f"echo '{MARK}'", text]
    return "\n".join([*lines, "wait"])


def expected(line: str) -> re.Pattern[str]:
    """Times and sizes may be others, and `...` may be anything."""
    parts = re.split(r"([\d.]+(?= ms| bytes)|\.\.\.)", line)
    return re.compile("".join(re.escape(part) if n % 2 == 0 else ".*" for n, part in enumerate(parts)))


@pytest.mark.timeout(300)
def test_a_foreign_application_moves_as_the_document_says(tmp_path: Path) -> None:
    home = tmp_path / "library"
    # Of another application's strangler.toml nothing is known here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STRANGLER_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    typed = script()
    with running_cluster() as source, running_cluster() as target:
        for cluster, name in ((source, "library"), (target, "catalogue")):
            with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
        for here, there in (
            ("postgresql://postgres:secret@db1.example/library", source.dsn("library")),
            ("postgresql://postgres:secret@db2.example/catalogue", target.dsn("catalogue")),
            ("/tmp/library", str(home)), ("8001", str(free_port())), ("8002", str(free_port())),
        ):  # fmt: skip
            assert here in typed
            typed = typed.replace(here, there)
        try:
            done = subprocess.run(
                ["sh", "-c", typed], cwd=CHECKOUT, env=environment | {"PATH": path, "DRAIN_SECONDS": "0"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, check=False,
            )  # fmt: skip
        finally:
            for file in home.glob("*.pid"):  # left when something went wrong
                with suppress(ProcessLookupError):
                    os.kill(int(file.read_text()), 15)
    logs = "".join(file.read_text() for file in home.glob("*.log"))
    assert done.returncode == 0, done.stdout + logs
    said = iter(done.stdout.split(f"{MARK}\n")[1:])
    answer, at = "", 0
    for kind, text in blocks():
        if kind == "sh":
            answer, at = next(said), 0
        elif kind == "text":
            for line in text.splitlines():
                found = expected(line).search(answer, at)
                assert found, f"the document shows {line!r}, but said was:\n{answer}"
                at = found.end()


def test_the_facade_is_installed_in_less_than_ten_lines() -> None:
    files = [text for kind, text in blocks() if kind == "python"]
    assert len(files) == 2
    assert all(text.count("\n") < 10 for text in files)
