"""How templates write texts, times and names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

from flask import Flask
from markupsafe import Markup, escape

from forum.pages.markdown import markdown, plain
from forum.schemas import Author, Topic

STEPS = ((60, "s"), (3600, "min"), (86_400, "h"), (30 * 86_400, "d"))


def ago(when: datetime) -> str:
    """`5 min ago`, `3 d ago`, and after a month the date."""
    seconds = (datetime.now(UTC) - when).total_seconds()
    if seconds < 60:
        return "just now"
    for (size, _), (end, unit) in pairwise(STEPS):
        if seconds < end:
            return f"{int(seconds // size)} {unit} ago"
    return f"{when:%-d %b %Y}"


def exactly(when: datetime) -> str:
    return f"{when.astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def shown_name(author: Author | None) -> str:
    if author is None:
        return "deleted account"
    return author.display_name or author.username or f"user {author.id}"


def excerpt(text: str, length: int = 180) -> str:
    """The beginning of a text, on one line."""
    return _cut(plain(text), length)


def _cut(line: str, length: int) -> str:
    return line if len(line) <= length else f"{line[:length].rsplit(' ', 1)[0]} …"


def matches(text: str, words: str, length: int = 240) -> Markup:
    """The place in a text where one of the words is, on one line, with all of them marked."""
    flat = plain(text)
    # PostgreSQL finds other forms of a word too: here all that begin alike are taken for them.
    stems = [re.escape(word if len(word) < 5 else word[:-2]) for word in re.findall(r"\w+", words)]
    if not stems:
        return escape(_cut(flat, length))
    pattern = re.compile(rf"(\b(?:{'|'.join(stems)})\w*)", re.IGNORECASE)
    first = pattern.search(flat)
    start = flat.rfind(" ", 0, max(first.start() - length // 3, 0)) + 1 if first else 0
    shown = f"{'… ' * (start > 0)}{_cut(flat[start:], length)}"
    pieces = enumerate(pattern.split(shown))
    return Markup().join(Markup("<mark>{}</mark>").format(piece) if at % 2 else escape(piece) for at, piece in pieces)


def count(number: int, one: str) -> str:
    """`1 message`, `1,234 messages`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def unread(topic: Topic) -> bool:
    """Whether somebody who is logged in has something in it to read."""
    return topic.read is None or topic.read.until < topic.last_activity_at


def init_app(app: Flask) -> None:
    for function in (markdown, ago, exactly, shown_name, excerpt, matches, count, unread):
        app.add_template_filter(function)
