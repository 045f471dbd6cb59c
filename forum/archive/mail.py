"""What a mail says, as far as it can be made out: who, when, what about, in answer to what, and the text.

Nothing here trusts the mail: encodings may be odd, headers broken, dates missing, parts nested or cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime
from hashlib import sha256
from html.parser import HTMLParser
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import TypeAdapter, ValidationError

from forum import schemas

TITLE, NAME, BODY = 200, 100, 20_000
"""Characters that the forum takes (forum/schemas.py)."""
MAX_REFERENCES = 20
MAX_DEPTH = 20
OLDEST = datetime(1971, 1, 1, tzinfo=UTC)
NO_SUBJECT = "(no subject)"

_EMAIL: TypeAdapter[str] = TypeAdapter(schemas.Email)
_ID = re.compile(r"<([^<>\s]+)>")
_TAG = r"\[[^\]]{1,60}\]"
_REPLY = r"(?:re|aw|antw|sv|vs|ref|rif|res|odp|ynt|回复|答复)(?:\[\d+\]|\^\d+|\(\d+\))?\s*[:：]"
_FORWARD = r"(?:fwd?|wg)\s*[:：]"
_LEADING = re.compile(rf"\s*(?:(?P<reply>{_REPLY})|(?P<forward>{_FORWARD})|(?P<tag>{_TAG}))\s*", re.IGNORECASE)
_MARK_DATE = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class SkippedError(Exception):
    """This mail cannot become a message. The text is the reason, the same for all that lack the same."""


@dataclass(frozen=True)
class Mail:
    """key: from its Message-ID (RFC 2392), or from all that it says if it has none. parents: keys, the nearest first.
    reply: whether the subject says that it is one. thread: the subject without "Re:" and tags, to compare."""

    key: UUID
    parents: tuple[UUID, ...]
    title: str
    thread: str
    reply: bool
    name: str
    address: str
    at: datetime
    body: str
    cut: bool


def read(mark: bytes, data: bytes, before: datetime) -> Mail:
    """The mail `data`, which the mbox has after `mark`. `before`: when the mail before it was sent, for one that does
    not say. Raises SkippedError."""
    try:
        return _read(mark, data, before)
    except SkippedError:
        raise
    except Exception as error:  # the standard library has more than a few ways to fail on what spammers send
        raise SkippedError("cannot be parsed") from error


def _read(mark: bytes, data: bytes, before: datetime) -> Mail:
    mail = message_from_bytes(data)
    headers = _headers(mail)
    if not headers.keys() & {"from", "date", "subject", "message-id", "received"}:
        raise SkippedError("no header")
    name, address = _sender(headers)
    text, attached = _content(mail)
    body = "\n".join(part for part in (text.strip("\n"), *attached) if part).strip("\n")
    if not body.strip():
        raise SkippedError("no text and no attachment")
    cut = len(body) > BODY
    if cut:
        left_out = f"\n\n[{len(body) - BODY + 60:,} more characters are left out]"
        body = body[: BODY - len(left_out)] + left_out
    title, thread, reply = _subject(_decoded(headers.get("subject", "")))
    at = _sent(headers, mark) or before
    return Mail(_key(headers, body), _parents(headers), title, thread, reply, name, address, at, body, cut)


# --- headers --------------------------------------------------------------------------------------------------------


def _headers(mail: Message) -> dict[str, str]:
    """By lower-case name, the first of each; raw bytes made text as well as can be."""
    found: dict[str, str] = {}
    for name, value in mail.raw_items():
        found.setdefault(name.lower(), _guess(str(value).encode("utf-8", "surrogateescape")))
    return found


def _guess(raw: bytes, charset: str | None = None) -> str:
    """Text of bytes: in the charset they claim to be in, else UTF-8, else what Windows wrote."""
    for name in (charset, "utf-8"):
        try:
            if name:
                return raw.decode(name)
        except (LookupError, ValueError):
            continue
    return raw.decode("cp1252", "replace")


def _decoded(value: str) -> str:
    """A header's text: RFC 2047 words decoded, on one line."""
    text = " ".join(value.split())
    if "=?" in text:
        with suppress(MessageError, ValueError, LookupError):  # else as it stands
            text = "".join(_word(part, charset) for part, charset in decode_header(text))
    return " ".join(_clean(text).split())


def _word(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    return _guess(part, charset) if charset else part.decode("raw-unicode-escape", "replace")


def _clean(text: str) -> str:
    """What PostgreSQL, and a page, can hold."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).encode("utf-8", "replace").decode()


def _sender(headers: dict[str, str]) -> tuple[str, str]:
    """Name and address; who has no address that is one gets one that nobody can have. Raises SkippedError."""
    for header in ("from", "reply-to", "sender"):
        raw = headers.get(header, "")
        if "@" not in raw:
            raw = re.sub(r"\s+(?:at|\(at\)|\[at\])\s+", "@", raw)  # as archives on the web hide them
        name, address = parseaddr(raw)
        name, address = _decoded(name).strip("\"' "), _clean(address).strip().lower()
        try:
            address = _EMAIL.validate_python(address)
        except ValidationError:
            if not name:
                name = _decoded(raw)
            if not name:
                continue
            address = f"{sha256(name.lower().encode()).hexdigest()[:16]}@import.invalid"
        return (name or address.partition("@")[0])[:NAME], address
    raise SkippedError("no sender")


def _subject(subject: str) -> tuple[str, str, bool]:
    rest, tags, reply = subject, "", False
    while found := _LEADING.match(rest):
        reply |= bool(found["reply"])
        tags += f"{found['tag']} " if found["tag"] and found["tag"] not in tags else ""
        rest = rest[found.end() :]
    title = (tags + rest).strip()
    if not title:
        title = NO_SUBJECT
    return title[:TITLE].strip(), rest.strip().casefold(), reply


def _key(headers: dict[str, str], body: str) -> UUID:
    value = headers.get("message-id", "")
    found = _ID.search(value)
    name = found[1] if found else value.strip(" \t\r\n<>")
    if name:
        return _mid(name)
    whole = "\0".join((headers.get("from", ""), headers.get("date", ""), headers.get("subject", ""), body))
    return uuid5(NAMESPACE_URL, f"sha256:{sha256(whole.encode('utf-8', 'replace')).hexdigest()}")


def _mid(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"mid:{_clean(name)}")


def _parents(headers: dict[str, str]) -> tuple[UUID, ...]:
    answers = headers.get("in-reply-to", "").strip()
    # Old mailers wrote "Your message of ... <address>" here.
    nearest = _ID.findall(answers)[:1] if answers.startswith("<") else []
    references = _ID.findall(headers.get("references", ""))[::-1]
    if len(references) > MAX_REFERENCES:
        references = [*references[: MAX_REFERENCES - 1], references[-1]]
    return tuple(dict.fromkeys(_mid(name) for name in nearest + references))


def _sent(headers: dict[str, str], mark: bytes) -> datetime | None:
    """When: by its own account, else by who received it, else by who filed it."""
    filed = _MARK_DATE.search(mark.decode("latin-1"))
    candidates = (headers.get("date", ""), headers.get("received", "").rpartition(";")[2], filed[0] if filed else "")
    for text in candidates:
        try:
            at = parsedate_to_datetime(text.strip())
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        if OLDEST < at < datetime.now(UTC) + timedelta(days=1):
            return at
    return None


# --- the text -------------------------------------------------------------------------------------------------------


def _content(mail: Message) -> tuple[str, list[str]]:
    """The text, and a line for each attachment."""
    texts: list[str] = []
    attached: list[str] = []
    for part in _parts(mail, 0):
        kind, name = part.get_content_type(), part.get_filename()
        # A multipart without parts, because its boundary is missing, is text as well.
        if kind.startswith(("text/", "multipart/")) and part.get_content_disposition() != "attachment":
            text = _text(part)
            texts.append(_plain(text) if kind == "text/html" else text)
        else:
            payload = part.get_payload(decode=True)
            size = len(payload) if isinstance(payload, bytes) else 0
            label = _decoded(str(name)) if name else "without a name"
            attached.append(f"\n[attachment: {label[:200]}, {_clean(kind)[:100]}, {size:,} bytes]")
    return "\n\n".join(text.strip("\n") for text in texts if text.strip()), attached


def _parts(part: Message, depth: int) -> Iterator[Message]:
    """The leaves: of alternatives the plainest, of a mail in the mail itself as one attachment."""
    inner = part.get_payload()
    if not part.is_multipart() or part.get_content_maintype() == "message" or not isinstance(inner, list):
        yield part
    elif depth < MAX_DEPTH:
        if part.get_content_subtype() == "alternative":
            inner = sorted(inner, key=_plainness)[:1]
        for each in inner:
            yield from _parts(each, depth + 1)  # type: ignore[arg-type]


def _plainness(part: object) -> int:
    assert isinstance(part, Message)
    kind = part.get_content_type()
    if kind == "text/plain":
        return 0 if _text(part).strip() else 3
    return 1 if part.is_multipart() else 2 if kind == "text/html" else 4


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    charset = part.get_content_charset()
    return _clean(_guess(payload, charset)).rstrip() if isinstance(payload, bytes) else ""


class _Html(HTMLParser):
    """The text of HTML, with line breaks where it has them."""

    SILENT = {"script", "style", "head", "title", "template"}  # noqa: RUF012
    BLOCKS = {"p", "div", "br", "tr", "li", "ul", "ol", "table", "blockquote", "pre", "hr", "h1", "h2", "h3", "h4"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self._silent = 0 if tag == "body" else self._silent + (tag in self.SILENT)
        if tag in self.BLOCKS:
            self.pieces.append("\n\n" if tag == "p" else "\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in self.SILENT))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(re.sub(r"\s+", " ", data))


def _plain(html: str) -> str:
    parser = _Html()
    parser.feed(html)
    parser.close()
    lines = (line.strip() for line in "".join(parser.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
