"""The picture of a real stack, photographed when it shows what is waited for: build/screenshots/picture-NAME.png."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.stages.people import CHROMIUM, PATIENCE, SCREENSHOTS, chromium


def photograph(url: str, name: str, shows: str) -> None:
    """`shows`: a selector of what has to be seen, "li.now:has-text('2-users')". Without Chromium nothing."""
    if CHROMIUM is None:
        print(f"skipped: the photograph {name}, since there is no chromium here (Debian: apt install chromium)")
        return
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(url)
        expect(page.locator(shows).first).to_be_visible(timeout=PATIENCE)
        page.screenshot(path=SCREENSHOTS / f"picture-{name}.png", animations="disabled")
