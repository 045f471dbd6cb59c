"""What people do with the forum, in a real browser: headless Chromium, with and without JavaScript.

Screenshots are left in build/screenshots. What axe-core finds wrong on a page fails the test.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from local.state import CHECKOUT

SCREENSHOTS = CHECKOUT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60_000
"""Milliseconds: for a machine that has much to do."""
PASSWORD = "correct horse battery"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    f"{place}-{scheme}": {"viewport": viewport, "color_scheme": scheme}
    for place, viewport in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
}
WORDS = (
    "# Plums\n\nWhich **plum** keeps until *March*?\n\n- Mirabelle\n- Damson\n\n> They all do, in a jar.\n\n`prunus`"
)


@dataclass
class Forum:
    """url: its pages. moderator: name and password. messages: DSN of the database that owns them. sites: who serves."""

    url: str
    moderator: tuple[str, str]
    messages: str
    sites: dict[str, str]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Person:
    """Somebody at a browser of their own. `complaints`: what the browser said went wrong."""

    def __init__(self, browser: Browser, forum: Forum, look: str, javascript: bool) -> None:
        self._context = browser.new_context(base_url=forum.url, java_script_enabled=javascript, **LOOKS[look])
        self._context.set_default_timeout(PATIENCE)
        self.page: Page = self._context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def fill(self, **fields: str) -> None:
        for name, text in fields.items():
            self.page.fill(f"[name={name}]", text)

    def press(self, caption: str) -> None:
        self.page.get_by_role("button", name=caption, exact=True).click()

    def follow(self, caption: str) -> None:
        self.page.get_by_role("link", name=caption, exact=True).last.click()

    def sees(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=PATIENCE)

    def register(self) -> str:
        name = f"plum.{secrets.token_hex(3)}"
        self.page.goto("/register")
        self.fill(username=name, email=f"{name}@example.org", password=PASSWORD)
        self.press("Register")
        self.sees(f"Welcome, {name}!")
        return name

    def log_in(self, name: str, password: str) -> None:
        self.page.goto("/login")
        self.fill(username=name, password=password)
        self.press("Log in")
        self.sees("Log out")


def visit(forum: Forum, stage: str, looks: Collection[str]) -> None:
    """All of it, with and without JavaScript; then every kind of page in these `looks`. Without Chromium nothing."""
    if CHROMIUM is None:
        print(f"skipped: the browser at {stage}, since there is no chromium here (Debian: apt install chromium)")
        return
    with chromium() as browser:
        control(browser, forum)
        topic = use(browser, forum, "desktop-light", javascript=True)
        use(browser, forum, "phone-dark", javascript=False)
        for each in looks:
            look(browser, forum, each, topic, stage)
    print(f"screenshots of {stage}: {SCREENSHOTS.relative_to(CHECKOUT)}/{stage}-*.png")


def use(browser: Browser, forum: Forum, look: str, javascript: bool) -> str:
    """Everything that a visitor and a moderator can do with a topic. Answers the address of another, which stays."""
    with Person(browser, forum, look, javascript) as somebody:
        somebody.register()
        somebody.press("Who served this page?")
        asked = forum.sites if javascript else ("pages", "topics")  # the strip asks on its own; the page asked these
        for part, site in ((part, forum.sites[part]) for part in asked):
            expect(somebody.page.locator(f".served [data-part={part}] dd")).to_contain_text(f"{site}/v")
        somebody.page.goto("/topics/new")
        somebody.fill(title="Plums in March", body=WORDS)
        if not javascript:
            somebody.press("Preview")
        expect(somebody.page.locator(".preview strong")).to_have_text("plum")
        somebody.press("Open topic")
        expect(somebody.page.locator(".messages strong")).to_have_text("plum")
        address = somebody.page.url

        somebody.follow("Reply")
        somebody.fill(body="Quetsche, says my grandmother")
        somebody.press("Post message")
        expect(somebody.page.locator(".messages .quote")).to_contain_text("Which plum keeps until March?")
        somebody.follow("Edit")
        somebody.fill(body="Quetsche, said my **grandmother**")
        somebody.press("Save")
        somebody.sees("edited")

        somebody.page.fill("[name=q]", "quetsches")
        somebody.page.press("[name=q]", "Enter")
        expect(somebody.page.locator(".found mark").first).to_have_text("Quetsche")
        somebody.follow("Titles")
        somebody.sees("No title has these words.")

        with Person(browser, forum, look, javascript) as moderator:
            moderator.log_in(*forum.moderator)
            moderator.page.goto(address)
            moderator.press("Pin")
            moderator.sees("pinned")
            moderator.press("Lock")
            moderator.sees("This topic is locked")
            moderator.follow("Remove")
            moderator.press("Remove message")
            moderator.sees("The message is deleted.")
            moderator.press("Unpin")
            expect(moderator.page.locator("h1")).not_to_contain_text("pinned")
            assert moderator.complaints == []

        somebody.page.goto(address)
        somebody.sees("This topic is locked")
        expect(somebody.page.locator(".messages > li")).to_have_count(1)
        assert somebody.complaints == []
        with psycopg.connect(forum.messages, autocommit=True) as database:
            database.execute("ALTER TABLE messages RENAME TO messages_away")
            try:
                somebody.page.goto(address)
            finally:
                database.execute("ALTER TABLE messages_away RENAME TO messages")
        somebody.sees("The messages cannot be shown right now.")
        somebody.sees("Plums in March")
        somebody.page.goto(address)
        expect(somebody.page.locator(".messages strong")).to_have_text("plum")
        return address


def look(browser: Browser, forum: Forum, look: str, topic: str, stage: str) -> None:
    """Every kind of page, with what axe-core says of it."""
    with Person(browser, forum, look, javascript=True) as somebody:
        axe = Axe()
        _see(somebody, axe, "/login", f"{stage}-log-in-{look}")
        _skip_to_the_content(somebody.page)
        somebody.log_in(*forum.moderator)
        for name, path in (
            ("topics", "/"), ("most-viewed", "/?sort=views"), ("topic", topic), ("search", "/search?q=mirabelle"),
            ("profile", "/users/1"), ("settings", "/settings"),
        ):  # fmt: skip
            _see(somebody, axe, path, f"{stage}-{name}-{look}")
        somebody.press("Who served this page?")
        somebody.page.goto("/topics/new")
        somebody.fill(title="Plums", body=WORDS)
        expect(somebody.page.locator(".preview strong")).to_have_text("plum")
        _see(somebody, axe, None, f"{stage}-writing-{look}")
        assert somebody.complaints == []


def control(browser: Browser, forum: Forum) -> None:
    """Negative control: a bad page and a script from nowhere are noticed."""
    with Person(browser, forum, "desktop-light", javascript=True) as somebody:
        somebody.page.set_content("<img src=x><p style='color: #bbb; background: #fff'>Who can read this?</p>")
        found = {each["id"] for each in Axe().run(somebody.page).response["violations"]}
        assert {"image-alt", "color-contrast", "html-has-lang"} <= found
        somebody.page.goto("/login")
        somebody.complaints.clear()
        insert = (
            "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))"
        )
        somebody.page.evaluate(insert)
        assert somebody.page.evaluate("window.evil") is None
        assert "Content Security Policy" in "".join(somebody.complaints)


def _skip_to_the_content(page: Page) -> None:
    """By keyboard: the first thing to reach leads past the head of the page."""
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("main :focus")).to_have_count(1)


def _see(somebody: Person, axe: Axe, path: str | None, name: str) -> None:
    if path:
        somebody.page.goto(path)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    somebody.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert somebody.page.evaluate(wide) <= 0, f"{name} scrolls sideways"
    found = axe.run(somebody.page).response["violations"]
    assert not found, "\n".join(
        f"{name}: {each['id']}: {each['help']}: {node['html']}" for each in found for node in each["nodes"]
    )
