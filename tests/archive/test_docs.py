"""What docs/forum.md tells people to type is typed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archive.conftest import ROOT, Forum
from tests.archive.lists import write
from tests.typed import blocks


def test_the_commands_of_the_document(forum: Forum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED_PASSWORD", "long enough")
    forum.succeed("seed", "--users", 5, "--topics", 2, "--messages", 5)
    write(tmp_path / "list.mbox", 10, 120)
    lines = [line for block in blocks(ROOT / "docs" / "forum.md") if block.typed for line in block.text.splitlines()]
    assert len(lines) == 4
    for line in lines:
        forum.succeed(*line.removeprefix(".venv/bin/forum ").replace("/tmp/", f"{tmp_path}/").split())
    assert forum.count("messages") == 15
    assert forum.query("SELECT role FROM users WHERE username = 'demo'") == [("moderator",)]
