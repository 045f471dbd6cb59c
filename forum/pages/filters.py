"""How templates write texts, times and names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

from flask import Flask

from forum.schemas import Author

STEPS = ((60, "s"), (3600, "min"), (86_400, "h"), (30 * 86_400, "d"))


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a plain text: what blank lines part. The template escapes them; CSS keeps their line breaks."""
    return [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")) if part.strip()]


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
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[:length].rsplit(' ', 1)[0]} …"


def count(number: int, one: str) -> str:
    """`1 message`, `1,234 messages`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def init_app(app: Flask) -> None:
    for function in (paragraphs, ago, exactly, shown_name, excerpt, count):
        app.add_template_filter(function)
