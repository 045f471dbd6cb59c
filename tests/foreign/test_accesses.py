"""Flask-SQLAlchemy (the library), psycopg with a pool and plain SQLAlchemy (its catalogue): the facade suits each."""

from __future__ import annotations

import ast
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import requests

from local.postgres import Cluster
from strangler.diff import Diff
from tests.foreign.conftest import HERE, Town, psycopg_pool, running_town
from tests.foreign.readers import Readers
from tests.servers import wait_for

OTHER = {"monolith": "catalogue", "catalogue": "monolith"}


def add(town: Town, title: str, site: str = "monolith") -> str:
    answer = requests.post(f"{town.url[site]}/api/works", json={"title": title, "medium": "map"}, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("owner", ["monolith", "catalogue"])
def test_reads_and_writes_follow_ownership_on_either_path(town: Town, owner: str) -> None:
    town.at(owner)
    title = f"Où? #1 & 50% of {owner}"
    work = add(town, title, OTHER[owner])
    for site, url in town.url.items():
        answer = requests.patch(f"{url}/api/works/{work}", json={"details": {"by": site}}, timeout=30)
        assert answer.headers["X-Served-By"].startswith(f"{owner}/")
        assert ("Via" in answer.headers) == (site != owner)
        found = requests.get(f"{url}/api/works/titled/{quote(title)}", timeout=30)
        assert [(one["id"], one["details"]) for one in found.json()] == [(work, {"by": site})]
        assert requests.get(f"{url}/api/works/{work}/history", timeout=30).headers["X-Served-By"].startswith(owner)
    assert town.run(owner, "SELECT details FROM works WHERE id = %s", [work]) == [({"by": "catalogue"},)]


def test_both_say_whether_they_are_ready_and_what_they_own(town: Town) -> None:
    town.at("catalogue")
    add(town, "any")
    for site, url in town.url.items():
        ready = requests.get(f"{url}/readyz", timeout=30)
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        alive = requests.get(f"{url}/livez", timeout=30).json()
        assert list(alive["owns"]) == (["catalogue"] if site == "catalogue" else [])


@pytest.mark.parametrize("giver", ["monolith", "catalogue"])
def test_a_write_that_meets_the_fence_half_way_is_handed_over(town: Town, giver: str) -> None:
    town.at(giver)
    work = add(town, "half way", giver)
    answers: list[requests.Response] = []

    def ask() -> None:
        url = f"{town.url[giver]}/api/works/{work}/copies"
        answers.append(requests.post(url, json={"shelf": "B"}, timeout=30))

    asking = threading.Thread(target=ask)
    with psycopg.connect(town.dsn[giver]) as holding:
        holding.execute("SELECT FROM works WHERE id = %s FOR UPDATE", [work])  # the view waits here, past the facade
        asking.start()
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        wait_for(lambda: town.run(giver, waiting), "the view to wait for the work")
        town.at(OTHER[giver])
    asking.join()
    assert (answers[0].status_code, answers[0].json()) == (201, {"number": 1})
    assert answers[0].headers["X-Served-By"].startswith(f"{OTHER[giver]}/")
    assert town.run(OTHER[giver], "SELECT number FROM copies WHERE work_id = %s", [work]) == [(1,)]


def test_nobody_notices_a_switch_a_reverse_and_a_switch(town: Town) -> None:
    town.at("monolith")
    with Readers(town) as readers:
        for owner in ("catalogue", "monolith", "catalogue"):
            readers.wait_for(60)
            town.at(owner)
        readers.wait_for(60)
    readers.check("catalogue")
    assert not list(Diff(town.move).run())


def test_without_the_facade_everybody_notices(clusters: tuple[Cluster, Cluster]) -> None:
    """Negative control: with the fence alone, these readers complain."""
    with running_town(clusters, psycopg_pool, facade=False) as town, Readers(town) as readers:
        readers.wait_for(10)
        town.at("catalogue")
        wait_for(lambda: readers.complaints, "a complaint")


@pytest.mark.parametrize("folder", ["library", "catalogue", "catalogue_orm"])
def test_it_is_somebody_elses_application(folder: str) -> None:
    """It knows neither the forum nor the kit, and the service nothing of the monolith."""
    allowed = {*sys.stdlib_module_names, "flask", "flask_sqlalchemy", "sqlalchemy", "psycopg", "psycopg_pool"}
    for file in (HERE / folder).glob("*.py"):
        assert imported(file) <= allowed, file


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"{file}:{node.lineno} reaches out of its folder"
    return found
