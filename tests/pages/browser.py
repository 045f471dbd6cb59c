"""A browser without JavaScript: pages, links, forms, cookies."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import urljoin

import requests

VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, dict[str, str]] = field(default_factory=dict)
    """Captions, and what each sends."""


class Page(HTMLParser):
    """What a visitor sees of an answer, and what the answer's tags must be: closed in order."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__()
        self.status, self.url, self.source, self.headers = answer.status_code, answer.url, answer.text, answer.headers
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self._area: str | None = None
        self._href: str | None = None
        self._caption = ""
        self._sends: dict[str, str] = {}
        self.feed(answer.text)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, values.get("action") or self.url.partition("#")[0])))
        elif tag == "input":
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        elif tag == "textarea":
            self._area = values["name"]
            self.forms[-1].fields[self._area] = ""
        elif tag in ("a", "button"):
            self._href, self._caption = values.get("href", ""), ""
            self._sends = {values["name"]: values.get("value", "")} if "name" in values else {}

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data.removeprefix("\n")
        self._caption += data
        self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes something else"
        if tag == "textarea":
            self._area = None
        elif tag == "a":
            self.links.append((" ".join(self._caption.split()), self._href or ""))
        elif tag == "button":
            self.forms[-1].buttons[self._caption.strip()] = self._sends

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def served(self) -> dict[str, str]:
        """Who served which part, as the foot of the page says."""
        foot = "".join(self.texts[-80:]).split()
        return {name.rstrip(":"): by for name, by in pairwise(foot) if name.endswith(":")}

    def has_button(self, caption: str) -> bool:
        return any(caption in form.buttons for form in self.forms)

    def form(self, button: str) -> Form:
        found = [form for form in self.forms if button in form.buttons]
        assert found, f"no button {button!r} on {self.url} ({self.status}): {self.text[:500]}"
        return found[-1]

    def link(self, caption: str) -> str:
        """Where the last link with that caption leads."""
        found = [href for text, href in self.links if text == caption]
        assert found, f"no link {caption!r} on {self.url} ({self.status}): {self.text[:500]}"
        return urljoin(self.url, found[-1])


class Browser:
    """One visitor with cookies. Fails at once when it meets a 500."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.cookies.set("forum_strip", "1")

    def get(self, path: str) -> Page:
        return self._page(self.http.get(urljoin(self.base, path), timeout=30))

    def click(self, page: Page, caption: str) -> Page:
        return self.get(page.link(caption))

    def submit(self, page: Page, button: str, **typed: str) -> Page:
        """Fill in the form with that button and send it, as a browser does: line ends as CRLF."""
        form = page.form(button)
        assert typed.keys() <= form.fields.keys(), f"{typed.keys()} not all in {form.fields.keys()}"
        fields = {**form.fields, **typed, **form.buttons[button]}
        values = {name: value.replace("\n", "\r\n") for name, value in fields.items()}
        return self._page(self.http.post(form.action, data=values, timeout=30))

    def log_in(self, username: str, password: str) -> Page:
        page = self.submit(self.get("/login"), "Log in", username=username, password=password)
        assert page.status == 200, page.text
        return page

    def _page(self, answer: requests.Response) -> Page:
        assert answer.status_code != 500, answer.text
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8", answer.text
        return Page(answer)
