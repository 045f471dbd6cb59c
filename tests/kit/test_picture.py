"""What the picture sees of a real move, over connections that cannot write, and of databases that are away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import urllib3

from strangler.picture.assemble import assemble
from strangler.picture.moves import Watched
from strangler.picture.seen import Seen
from tests.kit.conftest import Shop
from tests.kit.test_cli import TOML, strangler
from tests.servers import wait_for


def test_a_move_is_seen_from_none_to_switched(shop: Shop) -> None:
    watched = Watched(shop.config, "stock")
    seen = []
    for step in ("none", "create", "switch"):
        if step != "none":
            with shop.move() as move:
                getattr(move, step)()
        watched.look()
        state = assemble(shop.config, Seen(modules={"stock": watched.standing}, databases=watched.answers))
        module = state["modules"][0]
        seen.append((module["state"], module["owner"], module["epoch"]))
        assert [each["database"]["state"] for each in state["sites"]] == ["up", "up"]
    assert seen == [("none", "monolith", None), ("ready", "monolith", 1), ("switched", "stock", 2)]
    assert "arrived" in [event["action"] for event in watched.events]
    assert watched._move is not None
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        watched._move.source.connection.execute("CREATE TABLE mine ()")
    watched._close()


def test_with_one_database_away_the_other_one_tells(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with shop.move() as move:
        move.create()
    away = shop.config.sites["stock"].model_copy(update={"raw_dsn": "postgresql://nobody:geheim@127.0.0.1:9/x"})
    monkeypatch.setitem(shop.config.sites, "stock", away)
    watched = Watched(shop.config, "stock")
    watched.look()
    state = assemble(shop.config, Seen(modules={"stock": watched.standing}, databases=watched.answers))
    assert state["modules"][0]["owner"] == "monolith"
    assert {each["name"]: each["database"]["state"] for each in state["sites"]} == {"monolith": "up", "stock": "absent"}
    assert "geheim" not in str(state)


def test_the_command_serves_the_page_and_no_secrets(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "strangler.toml"
    file.write_text(TOML)
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    environment = os.environ | dsn
    words = [sys.executable, "-m", "strangler", "--config", str(file), "picture", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            wait_for(lambda: b'"owner": "monolith"' in urllib3.request("GET", f"{url}state.json").data, "a picture")
            shown = urllib3.request("GET", f"{url}state.json").data.decode()
            assert "postgres" not in shown
            assert b"<svg" in urllib3.request("GET", url).data
        finally:
            process.terminate()
    assert process.returncode == 0
    done = strangler(tmp_path, "picture", "--listen", "127.0.0.1:0", SHOP_SOURCE=shop.dsn["monolith"])
    assert (done.returncode, "SHOP_TARGET, which is not set" in done.stderr) == (2, True), done.stderr
    done = strangler(tmp_path, "picture", "--listen", "nowhere", **dsn)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
