"""The site is whole by itself: every link leads somewhere, and nothing comes from another host."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from local.state import CHECKOUT
from tests.stages.people import CHROMIUM

SITE = CHECKOUT / "build" / "site"
PAGES = sorted(path.relative_to(SITE) for path in SITE.rglob("*.html"))


@pytest.mark.parametrize(("link", "built"), [("kit.md#5-the-move", True), ("kit.md#6", False), ("nowhere.md", False)])
def test_a_link_that_leads_nowhere_fails_the_build(link: str, built: bool, tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "zensical.toml", tmp_path)
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "why.md").open("a") as page:
        page.write(f"\n[A link]({link})\n")
    command = [CHECKOUT / "build" / "zensical" / "bin" / "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == built, done.stdout + done.stderr


def test_every_document_is_in_the_table_of_contents() -> None:
    nav = (CHECKOUT / "zensical.toml").read_text()
    for document in (CHECKOUT / "docs").rglob("*.md"):
        assert f'"{document.relative_to(CHECKOUT / "docs")}"' in nav


def test_pages_from_the_file_system_ask_no_host_and_find_words() -> None:
    asked: list[str] = []
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for path in PAGES:
            if path.name != "404.html":  # is for a server, and has its paths from the top
                page.goto((SITE / path).as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{path} is wider than a phone"
        page.goto((SITE / "index.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("fence")
        page.get_by_role("link", name=re.compile("protocol|pictures", re.I)).last.wait_for()
        browser.close()
    assert len(asked) > len(PAGES)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert wrong == []
