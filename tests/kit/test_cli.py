"""The command: exit codes that a script can use, JSON, and one line with the mend for every bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.conftest import Shop
from tests.servers import free_port

TOML = """
[sites.monolith]
dsn = "${SHOP_SOURCE}"
[sites.stock]
dsn = "${SHOP_TARGET}"
[modules.stock]
source = "monolith"
target = "stock"
tables = ["public.items", "public.places"]
routes = ["/items"]
"""


def strangler(
    folder: Path, *words: str, toml: str | None = TOML, **environment: str
) -> subprocess.CompletedProcess[str]:
    config = folder / "strangler.toml"
    if toml is not None:
        config.write_text(toml)
    return subprocess.run(
        [sys.executable, "-m", "strangler", "--config", str(config), *words],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_whole_move_by_command(shop: Shop, tmp_path: Path) -> None:
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}

    def run(verb: str, *words: str, code: int = 0) -> dict[str, object]:
        done = strangler(tmp_path, "move", "stock", verb, "--json", *words, **dsn)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    assert run("status")["state"] == "none"
    assert run("create")["state"] == "ready"
    assert run("diff") == {"rows": 3500, "differences": [], "differing": 0}
    assert run("switch", "--dry-run", "--override", "service")["statements"]
    switched = run("switch", "--override", "service")
    assert (switched["owner"], switched["epoch"]) == ("stock", 2)
    assert isinstance(switched["pause_ms"], float)
    assert run("switch")["pause_ms"] is None
    shop.damage("monolith", "DELETE FROM items WHERE id = 9")
    assert run("diff", code=1)["differences"] == [{"table": "public.items", "key": "9", "kind": "missing"}]
    assert run("diff", "--repair")["repaired_rows"] == 1
    assert run("diff")["differing"] == 0
    assert run("reverse", "--override", "service")["owner"] == "monolith"
    assert run("cancel", "--grace", "0")["state"] == "none"
    text = strangler(tmp_path, "move", "stock", "create", **dsn)
    assert "Next: diff, switch" in text.stdout
    assert "owner monolith, epoch 1" in strangler(tmp_path, "move", "stock", "status", **dsn).stdout


@pytest.mark.parametrize(
    ("words", "toml", "says"),
    [
        (["move", "nothing", "create"], TOML, "unknown module 'nothing'; strangler.toml has: stock"),
        (["move", "stock", "create"], TOML, "environment variable SHOP_SOURCE, which is not set"),
        (["move", "stock", "create"], "not toml", "is not TOML"),
        (["move", "stock", "create"], TOML.replace('"stock"\ntables', '"elsewhere"\ntables'), "no [sites.elsewhere]"),
        (["move", "stock", "create"], TOML.replace("tables", "tabels"), "modules.stock.tables: Field required"),
        (["move", "stock", "create"], TOML + '["', "is not TOML"),
        (["move", "stock", "fly"], TOML, "No such command 'fly'"),
        (["move", "stock", "switch", "--tries", "0"], TOML, "--tries"),
        (["route", "--default", "monolith"], TOML, "no [gateway]"),
        (["route", "--default", "mars"], TOML, "no [sites.mars]"),
        (["route", "stock=mars", "--default", "monolith"], TOML, "stock can go to monolith or stock"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, words: list[str], toml: str, says: str) -> None:
    done = strangler(tmp_path, *words, toml=toml)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_no_configuration_is_one_line_and_exit_2(tmp_path: Path) -> None:
    done = strangler(tmp_path, "move", "stock", "create", toml=None)
    assert done.returncode == 2
    assert "No such file or directory; name the file with --config" in done.stderr


def test_database_unreachable_is_one_line_and_exit_2(shop: Shop, tmp_path: Path) -> None:
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/shop"
    done = strangler(tmp_path, "move", "stock", "create", SHOP_SOURCE=shop.dsn["monolith"], SHOP_TARGET=away)
    assert done.returncode == 2
    assert done.stderr.startswith("strangler: cannot reach the database of stock:")
    assert done.stderr.count("\n") == 1


def test_verbs_before_create_say_how_to_begin(shop: Shop, tmp_path: Path) -> None:
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    for verb in ("switch", "reverse", "diff", "complete"):
        done = strangler(tmp_path, "move", "stock", verb, **dsn)
        assert (done.returncode, "strangler move stock create" in done.stderr) == (2, True), done.stderr
    assert strangler(tmp_path, "move", "stock", "cancel", **dsn).returncode == 0
