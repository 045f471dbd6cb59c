"""What docs/kit.md tells people to type is typed here, and what it shows is compared with what is said."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from local.state import CHECKOUT
from tests.servers import free_port, running_cluster
from tests.typed import blocks, checkout, type_in

DOCUMENT = CHECKOUT / "docs" / "kit.md"


@pytest.mark.timeout(300)
def test_a_foreign_application_moves_as_the_document_says(tmp_path: Path) -> None:
    home = tmp_path / "library"
    # Of another application's strangler.toml nothing is known here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STRANGLER_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    typed = blocks(DOCUMENT)
    with running_cluster() as source, running_cluster() as target:
        for cluster, name in ((source, "library"), (target, "catalogue")):
            with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
        for here, there in (
            ("postgresql://postgres:secret@db1.example/library", source.dsn("library")),
            ("postgresql://postgres:secret@db2.example/catalogue", target.dsn("catalogue")),
            ("/tmp/library", str(home)), ("8001", str(free_port())), ("8002", str(free_port())),
        ):  # fmt: skip
            assert any(here in block.text for block in typed)
            typed = [replace(block, text=block.text.replace(here, there)) for block in typed]
        try:
            type_in(typed, checkout(tmp_path / "checkout"), environment | {"PATH": path, "DRAIN_SECONDS": "0"}, 280)
        except AssertionError as error:
            logs = "".join(file.read_text() for file in home.glob("*.log"))
            raise AssertionError(f"{error}\n{logs}") from None
        finally:
            for file in home.glob("*.pid"):  # left when something went wrong
                with suppress(ProcessLookupError):
                    os.kill(int(file.read_text()), 15)


def test_the_facade_is_installed_in_less_than_ten_lines() -> None:
    files = [block.text for block in blocks(DOCUMENT) if block.kind == "python"]
    assert len(files) == 2
    assert all(text.count("\n") < 10 for text in files)
