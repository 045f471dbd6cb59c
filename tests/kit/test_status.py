"""What `status`, `metrics` and `events` tell: where a move stands, what comes next and what it would wait for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from strangler.diff import Diff
from strangler.events import actor
from strangler.handover import Limits
from strangler.move import Move
from strangler.status import lines, status
from tests.kit.conftest import Shop
from tests.kit.test_cli import TOML, strangler
from tests.servers import free_port, wait_for


def test_before_create_it_tells_what_create_would_stumble_over(shop: Shop) -> None:
    shop.run("stock", "INSERT INTO items (name) VALUES ('early')")
    found = status(shop.move())
    assert (found["state"], found["next"]["command"]) == ("none", "create")
    assert "has rows; empty it first" in found["next"]["waits_for"]["preflight"]


def test_while_rows_are_copied_it_tells_how_far_how_fast_and_how_long_still(shop: Shop) -> None:
    shop.run(
        "monolith",
        "INSERT INTO items (name, note) SELECT 'more ' || g, repeat('x', 900) FROM generate_series(1, 90000) g",
    )
    shop.run("monolith", "ANALYZE items")
    seen = []
    move = shop.move()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strangler.create.time.sleep", lambda _: seen.append(status(looker)))
        with Move(shop.config, "stock", exclusive=False) as looker:
            move.create()
    copying = [found for found in seen if found["state"] == "copying"]
    assert copying
    rows = [row for found in copying for row in found["streams"]["forward"]["tables"] if row["table"] == "public.items"]
    assert all(0 <= row["copied"] <= row["rows"] for row in rows)
    assert all("copy" in found["next"]["waits_for"] for found in copying)
    fast = [row for row in rows if "rate" in row]
    for row in fast:
        assert row["rate"] > 0
        assert row["eta_seconds"] >= 0
    assert status(move)["next"]["command"] == "switch"


def test_what_a_switch_would_wait_for_is_named(shop: Shop) -> None:
    move = shop.move()
    move.create()
    assert list(status(move)["next"]["waits_for"]) == ["diff"]
    assert list(Diff(move).run()) == []
    assert status(move)["next"]["waits_for"] == {}
    writer = shop.connect("monolith", application_name="nightly job")
    writer.execute("BEGIN")
    writer.execute("UPDATE items SET note = 'long' WHERE id = 7")
    found = wait_for(lambda: (now := status(move))["holders"] and now, "the transaction to be long")
    assert found["holders"][0]["who"] == "nightly job"
    assert "(nightly job) has written in a transaction of" in "\n".join(lines(found))
    writer.execute("ROLLBACK")
    move.switch(Limits())
    assert (status(move)["state"], status(move)["next"]) == ("switched", {"command": "reverse", "waits_for": {}})


def test_rows_that_were_missing_when_a_change_came_are_an_alarm(shop: Shop) -> None:
    """PostgreSQL skips them without a word, but counts them."""
    if shop.run("stock", "SHOW server_version_num") < [("180000",)]:
        pytest.skip("PostgreSQL counts conflicts since 18")
    move = shop.move()
    move.create()
    shop.damage("stock", "DELETE FROM items WHERE id = 5")
    shop.run("monolith", "UPDATE items SET note = 'who?' WHERE id = 5")
    alarms = wait_for(lambda: status(move)["alarms"], "the conflict to be counted", 60)
    assert "1 update_missing; see `diff`, and `diff --repair`" in alarms[0] or "conflicts so far" in alarms[0]


def test_log_that_a_slot_keeps_is_told(shop: Shop) -> None:
    move = shop.move()
    move.create()
    move.forward.rest()
    shop.run("monolith", "UPDATE items SET note = repeat('y', 200)")
    found = status(move)
    stream = found["streams"]["forward"]
    assert stream["behind_bytes"] > 100_000
    assert stream["kept_bytes"] >= stream["behind_bytes"]
    assert any("no apply worker; monolith keeps its log" in alarm for alarm in found["alarms"])


def test_prometheus_is_told_the_same(shop: Shop, tmp_path: Path) -> None:
    move = shop.move()
    move.create()
    move.switch()
    shop.close()
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    done = strangler(tmp_path, "metrics", **dsn)
    assert done.returncode == 0, done.stderr
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(done.stdout)
        for sample in family.samples
    }
    assert found["strangler_up", "stock"] == 1
    assert found["strangler_epoch", "stock"] == 2
    assert (found["strangler_owner", "stock", "stock"], found["strangler_owner", "monolith", "stock"]) == (1, 0)
    assert found["strangler_stream_up", "forward", "stock"] == found["strangler_stream_up", "back", "stock"] == 1
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/shop"
    assert 'strangler_up{module="stock"} 0.0' in strangler(tmp_path, "metrics", **{**dsn, "SHOP_TARGET": away}).stdout


def test_prometheus_can_scrape_it(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "strangler.toml").write_text(TOML)
    port = free_port()
    environment = {**os.environ, "SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    with subprocess.Popen(
        [sys.executable, "-m", "strangler", "metrics", "--listen", f"127.0.0.1:{port}"], cwd=tmp_path,
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert process.stdout.readline() == f"http://127.0.0.1:{port}/metrics\n"
            answer = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics", timeout=20)
        finally:
            process.terminate()
    assert 'strangler_up{module="stock"} 1.0' in answer.data.decode()
    wrong = strangler(tmp_path, "metrics", "--listen", "nowhere")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_the_event_record_of_a_move_can_be_followed(shop: Shop, tmp_path: Path) -> None:
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    record = tmp_path / "events.jsonl"

    def run(*words: str) -> str:
        done = strangler(tmp_path, "move", "stock", *words, STRANGLER_EVENTS=str(record), **dsn)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for words in (["create"], ["diff"], ["switch", "--override", "service"], ["reverse", "--override", "service"]):
        run(*words)
    told = run("events").splitlines()
    assert [line.split("epoch ")[1].split()[:2] for line in told] == [
        ["1", "create"], ["1", "ready"], ["1", "diff"], ["2", "switch"], ["2", "arrived"], ["3", "reverse"],
        ["3", "arrived"],
    ]  # fmt: skip
    assert all(f"by {actor()}" in line for line in told)
    assert "overridden service" in told[3]
    assert "pause_ms" in told[4]
    told_json = json.loads(run("events", "--json"))["events"]
    run("cancel", "--grace", "0")
    kept = [json.loads(line) for line in record.read_text().splitlines()]
    assert [event["action"] for event in kept] == [*(event["action"] for event in told_json), "cancel"]
    assert all(set(event) == {"at", "site", "module", "actor", "action", "epoch", "detail"} for event in kept)


def test_watch_looks_again(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "strangler.toml").write_text(TOML)
    environment = {**os.environ, "SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "strangler", "move", "stock", "status", "--watch", "0.1", "--json"], cwd=tmp_path,
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert json.loads(process.stdout.readline())["state"] == "none"
            shop.move().create()
            wait_for(lambda: json.loads(process.stdout.readline())["state"] == "ready", "it to see the move")  # type: ignore[union-attr]
        finally:
            process.terminate()


def test_an_account_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any user id."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert actor().startswith(f"{os.getuid()}@")
