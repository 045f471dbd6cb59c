"""The page in a real browser, at what it may have to show. Screenshots are left in build/screenshots."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from strangler.picture.assemble import assemble
from strangler.picture.seen import Seen
from strangler.picture.server import create_app
from tests.picture import canned
from tests.stages.people import CHROMIUM, SCREENSHOTS, chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
SCENES = {
    "quiet": (canned.at_stage_1(), "light"),
    "copying": (canned.topics_are_copied(), "light"),
    "services-dark": (canned.at_stage_5(), "dark"),
    "broken": (canned.broken(), "light"),
    "broken-dark": (canned.broken(), "dark"),
    "unknown": (Seen(), "light"),
}


class Stage:
    """Serves whatever is put on it."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.server = make_server("127.0.0.1", 0, create_app(lambda: json.dumps(self.state).encode()), threaded=True)
        self.url = f"http://127.0.0.1:{self.server.port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, seen: Seen) -> None:
        now = time.time()
        state = assemble(canned.CONFIG, seen)
        bad = state["verdict"]["level"] == "bad"
        rps = (state["flow"] or {}).get("rps")
        past = [
            [now - 180 + t, rps and rps * (1 + (t * 7 % 11) / 60), 9.0 if bad and t > 160 else 0, 8] for t in range(180)
        ]
        marks: list[dict[str, Any]] = [
            {"t": now - 180, "kind": "stage", "text": "1-gateway"},
            {"t": now - 119, "kind": "note", "text": "users: copying begins", "module": "users"},
            {"t": now - 100, "kind": "switch", "text": "users: monolith → users", "module": "users", "pause_ms": 31.4},
            {"t": now - 99, "kind": "stage", "text": "2-users"},
            {"t": now - 60, "kind": "rollout", "text": "users: v2", "site": "users"},
        ]
        marks += [{"t": now - 20, "kind": "bad", "text": line} for line in state["verdict"]["bad"]]
        self.state = state | {"t": now, "history": past, "marks": marks}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    found = Stage()
    yield found
    found.server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opened(browser: Browser, stage: Stage, scheme: Any, complaints: list[str]) -> Page:
    page = browser.new_page(viewport={"width": 1600, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(stage.url)
    expect(page.locator("#scene rect").first).to_be_visible()
    return page


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_drawn(name: str, stage: Stage, browser: Browser) -> None:
    seen, scheme = SCENES[name]
    stage.put(seen)
    complaints: list[str] = []
    page = opened(browser, stage, scheme, complaints)
    level = stage.state["verdict"]["level"]
    expect(page.locator("#verdict")).to_have_class(level)
    expect(page.locator(".chip.owner")).to_have_count(0 if name == "unknown" else 3)
    expect(page.locator("#promises .broken")).to_have_count(1 if level == "bad" else 0)
    assert page.locator(".box.bad").count() == (1 if level == "bad" else 0)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"picture-{name}.png", animations="disabled")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert complaints == []
    page.close()


def test_an_owner_moves_and_old_trouble_goes_away(stage: Stage, browser: Browser) -> None:
    stage.put(canned.broken())
    complaints: list[str] = []
    page = opened(browser, stage, "light", complaints)
    expect(page.locator("#verdict")).to_contain_text("requests failed: 37")
    before = page.locator(".chip.owner.m0").get_attribute("style")
    stage.put(canned.at_stage_1())
    expect(page.locator("#verdict")).to_have_class("quiet")
    assert page.locator(".chip.owner.m0").get_attribute("style") != before
    expect(page.locator(".box.bad")).to_have_count(0)
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert complaints == []
    page.close()


def test_it_only_reads_and_loads_nothing_from_elsewhere() -> None:
    client = create_app(lambda: b"{}").test_client()
    for path in ("/", "/state.json", "/picture.js", "/picture.css", "/livez"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert client.post(path).status_code == 405
    assert client.get("/../server.py").status_code == 404
