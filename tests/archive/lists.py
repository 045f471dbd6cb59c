"""Archives of mailing lists that nobody ever wrote: as many mails as asked for, the same each time."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "this",
    "are",
    "or",
    "his",
    "from",
    "at",
    "which",
    "but",
    "have",
    "an",
    "they",
    "you",
    "kernel",
    "buffer",
    "index",
    "query",
    "lock",
    "vacuum",
    "page",
    "replica",
    "commit",
    "row",
    "table",
    "plan",
    "cost",
    "cache",
    "write",
    "read",
    "naïve",
    "café",
    "größer",
]
BEGINNING = datetime(2019, 1, 1, tzinfo=UTC)
TOPIC_SIZE = 8


def mails(number: int, characters: int = 1500) -> Iterator[bytes]:
    """Mails with the mark before each, by time; one in eight opens a topic. In the encodings that mailers use."""
    random = Random(1)
    for index in range(number):
        at = BEGINNING + timedelta(minutes=7 * index)
        author = random.randrange(1, 2 + number // 20)
        topic = index - index % TOPIC_SIZE
        text = "\n".join(
            " ".join(random.choices(WORDS, k=11)) for _ in range(characters // 60)
        ).encode()  # fmt: skip
        headers = [
            f"From: Writer {author} <writer{author}@example.org>",
            f"Date: {format_datetime(at)}",
            f"Message-ID: <{index}@lists.example.org>",
            f"Subject: {'Re: ' if index != topic else ''}[list] =?utf-8?q?On_caf=C3=A9s?= {topic}",
            "Received: from a by b with SMTP; " + format_datetime(at),
        ]
        if index != topic:
            before = random.randrange(topic, index)
            headers += [f"In-Reply-To: <{before}@lists.example.org>", f"References: <{topic}@lists.example.org>"]
            headers[-1] += f" <{before}@lists.example.org>" if before != topic else ""
        match index % 4:
            case 0 | 1:
                headers += ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
            case 2:
                headers += ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"]
                text = quopri.encodestring(text)
            case 3:
                headers += ["Content-Type: multipart/alternative; boundary=XX"]
                packed = base64.encodebytes(b"<p>" + text + b"</p>")
                text = (
                    b"--XX\nContent-Type: text/plain; charset=utf-8\n\n" + text
                    + b"\n--XX\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + packed + b"--XX--\n"
                )  # fmt: skip
        mark = f"From writer{author}@example.org {at:%a %b %e %H:%M:%S %Y}\n"
        yield mark.encode() + "\n".join(headers).encode() + b"\n\n" + text + b"\n\n"


def write(path: Path, number: int, characters: int = 1500) -> Path:
    with path.open("wb") as file:
        file.writelines(mails(number, characters))
    return path
