"""Reads what `strangler.recorder` wrote. A line that is none of the recorder's is counted and left out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strangler.errors import StranglerError
from strangler.recorder import Use


@dataclass
class Recording:
    """Several files as one."""

    statements: dict[str, str] = field(default_factory=dict)
    """Text by id."""
    ran: Counter[Use] = field(default_factory=Counter)
    """How often each statement ran, by id and place in the code."""
    transactions: Counter[tuple[frozenset[Use], str]] = field(default_factory=Counter)
    """How often each kind of transaction came to each end, `commit` or `rollback`."""
    bad_lines: int = 0
    """Half lines of killed processes, and rubbish."""
    cut: int = 0
    """Kinds of transaction that had more statements than the recorder keeps."""

    def nameless(self) -> int:
        """Runs of statements whose text is not in the files."""
        return sum(count for (number, _), count in self.ran.items() if number not in self.statements)


def read(paths: list[Path]) -> Recording:
    """Raises StranglerError when a file cannot be read or has nothing of the recorder's in it."""
    recording = Recording()
    for path in paths:
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                good = sum(_add(recording, line) for line in lines if line.strip())
        except OSError as error:
            raise StranglerError(
                f"cannot read {path}: {error.strerror}; name a file that STRANGLER_RECORD named"
            ) from None
        if not good:
            raise StranglerError(
                f"{path}: nothing in it was recorded; call `record()` in the application and run it with "
                f"STRANGLER_RECORD={path}"
            )
    return recording


def _add(recording: Recording, line: str) -> bool:
    try:
        data = json.loads(line)
        _take(recording, data)
    except (ValueError, TypeError, KeyError, RecursionError):
        recording.bad_lines += 1
        return False
    return True


def _take(recording: Recording, data: dict[str, Any]) -> None:
    """Raises ValueError, TypeError or KeyError for what no recorder wrote."""
    if "statement" in data:
        recording.statements[_text(data["statement"])] = _text(data["sql"])
    elif "ran" in data:
        recording.ran[_text(data["ran"]), _text(data["at"])] += _count(data["count"])
    else:
        uses = frozenset((_text(number), _text(place)) for number, place in data["transaction"])
        if data["end"] not in ("commit", "rollback"):
            raise ValueError("an unknown end")
        recording.transactions[uses, data["end"]] += _count(data["count"])
        recording.cut += bool(data.get("cut"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("not a count")
    return value
