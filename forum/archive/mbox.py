"""An mbox file, mail by mail: as it comes, in constant memory, however large the file and whatever is in it."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from forum.archive import ArchiveError

MAX_MAIL = 16 * 1024 * 1024
"""Bytes of a mail; of a larger one nothing is kept."""
MAX_LINE = 64 * 1024

_DAYS, _TIME = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? ", rb"\d\d?:\d\d.*\d{4}"
# Not everybody quotes a line of text that begins with "From ", nor puts the blank line before the mark of a mail: so
# either it looks very much like one, or a blank line comes before.
_SURE = re.compile(rb"From .{0,300}?" + _DAYS + rb".*" + _TIME)
_LIKELY = re.compile(rb"From .{0,300}?(?:" + _TIME + rb"|\d{4}.*\d\d?:\d\d)")
_QUOTED = re.compile(rb">+From ")


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file, unpacked if it is gzip, and the one on disk whose position says how far. Raises ArchiveError."""
    try:
        with path.open("rb") as disk:
            packed = disk.read(2) == b"\x1f\x8b"
            disk.seek(0)
            if packed:
                with gzip.open(disk) as unpacked:
                    yield unpacked, disk  # type: ignore[misc]
            else:
                yield disk, disk
    except (OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def check(path: Path) -> None:
    """Raises ArchiveError when the file cannot be read or is no mbox. An empty one is."""
    with opened(path) as (file, _):
        for line in iter(partial(file.readline, MAX_LINE), b""):
            if line.strip(b"\xef\xbb\xbf\r\n\t "):
                if line.startswith(b"From "):
                    return
                raise ArchiveError(f"{path} is not an mbox file: it does not begin with a line 'From ...'")


def mails(file: IO[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """Of each mail the mark before it ("From ada@example.org Mon Jan  5 10:00:00 2026") and itself.

    None for one of more than MAX_MAIL.
    """
    mark: bytes | None = None
    lines: list[bytes] = []
    size = 0
    blank = whole = True
    for line in iter(partial(file.readline, MAX_LINE), b""):
        begins = whole and line.startswith(b"From ") and _is_mark(line, blank, mark is None)
        whole, blank = line.endswith(b"\n"), not line.strip()
        if begins:
            if mark is not None:
                yield mark, b"".join(lines) if size <= MAX_MAIL else None
            mark, lines, size = line, [], 0
            continue
        size += len(line)
        if size > MAX_MAIL:
            lines.clear()
        else:
            lines.append(line[1:] if _QUOTED.match(line) else line)
    if mark is not None:
        yield mark, b"".join(lines) if size <= MAX_MAIL else None


def _is_mark(line: bytes, blank: bool, first: bool) -> bool:
    return first or bool(_SURE.match(line)) or (blank and bool(_LIKELY.match(line)))
