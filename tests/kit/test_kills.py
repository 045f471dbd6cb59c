"""I3: the controller can be killed between any two statements that change something, and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from strangler.diff import Diff
from strangler.status import status
from tests.kit.conftest import Shop, Writers

CHILD = """
import os, sys
from strangler.cli import main
from strangler.database import Database

# Statements that only look: a kill before one leaves the databases as a kill before the next that changes something.
LOOKS = {"copying", "subscription", "position", "replayed", "slot", "slot_suffix", "exists", "columns", "primary_key",
         "settings", "empty", "publication_exists", "fenced", "installed", "rows", "controller", "sequences",
         "crossing_foreign_keys", "remembered_constraints", "constraint_exists", "others"}
left = int(os.environ["STATEMENTS"])
run = Database.run

def counted(self, name, /, *args, **pieces):
    global left
    if name not in LOOKS:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
    return run(self, name, *args, **pieces)

Database.run = counted
sys.argv[0] = "strangler"
main()
"""


def command(shop: Shop, folder: Path, verb: str, statements: int) -> int:
    """Run a verb that kills itself with -9 before the statement after so many."""
    config = folder / "strangler.toml"
    config.write_text(
        "".join(f'[sites.{site}]\ndsn = "{dsn}"\n' for site, dsn in shop.dsn.items())
        + '[modules.stock]\nsource = "monolith"\ntarget = "stock"\n'
        + 'tables = ["public.items", "public.places"]\nroutes = ["/items"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "--config", str(config), "move", "stock", verb],
        env={**os.environ, "STATEMENTS": str(statements)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


@pytest.mark.parametrize("verb", ["create", "switch", "reverse", "cancel"])
def test_killed_before_any_statement_and_run_again(shop: Shop, writers: Writers, tmp_path: Path, verb: str) -> None:
    """Every such statement of the verb in turn; each run begins where the killed ones before it have got to."""
    before = {site: shop.catalogue(site) for site in shop.dsn}
    with writers:
        if verb != "create":
            shop.move().create()
            writers.sites = list(shop.dsn) if verb != "cancel" else writers.sites
        if verb == "reverse":
            shop.move_again().switch()
        for thing in shop.opened:
            thing.close()
        kills = 0
        for statements in count():
            if command(shop, tmp_path, verb, statements) == 0:
                break
            kills += 1
            writers.wait_for(2)
        writers.wait_for(20)
    assert kills > 3
    move = shop.move_again()
    if verb == "cancel":
        writers.check("monolith")
        assert {site: shop.catalogue(site) for site in shop.dsn} == before
        return
    move.create()
    owner = {"create": "monolith", "switch": "stock", "reverse": "monolith"}[verb]
    assert status(move)["owner"] == owner
    move.forward.catch_up(30)
    move.back.catch_up(30)
    writers.check(owner)
    assert list(Diff(move).run()) == []
