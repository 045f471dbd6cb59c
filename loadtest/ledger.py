"""The ledger: what was asked to be written and what was answered, in the order in which it happened.

Append-only JSON lines, each handed to the kernel before the request that it announces is sent, so that the ledger of a
load that was killed with -9 is still complete: a write without an outcome is one whose fate is unknown.

A write's id is its Idempotency-Key and stands in what it writes (`[w:<id>]`), so that any row found later tells
which write made it.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loadtest.errors import LoadtestError

Kind = Literal["user", "topic", "message"]
Action = Literal["create", "edit", "delete"]
Fate = Literal["begun", "acknowledged", "refused", "unknown"]

# The samples count them all; of the first so many the report can say why.
KEPT_FAILURES = 200

_MARK = re.compile(r"\[w:([0-9a-z-]+)\]")


def mark(write: str) -> str:
    return f"[w:{write}]"


def marks(text: str | None) -> list[str]:
    """The ids of the writes that `text` says it comes from (one, unless something is very wrong)."""
    return _MARK.findall(text or "")


class Ledger:
    """The writing side. Only counts are kept in memory."""

    def __init__(self, path: Path, run: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        _drop_torn_line(path)
        self._run = run
        self._number = 0
        self.acknowledged = 0
        self.violations = {"stale": 0, "wrong": 0}
        self.errors = 0

    def new_id(self) -> str:
        self._number += 1
        return f"{self._run}-{self._number:x}"

    def begin(
        self, write: str, kind: Kind, action: Action, sent: dict[str, Any], *,
        resource: int | None = None, topic: int | None = None, who: int | None = None,
    ) -> None:  # fmt: skip
        """Before the first request. `sent` is the content as it must be read back; `who` is the writer's user id."""
        self._line("begin", w=write, kind=kind, action=action, sent=sent, id=resource, topic=topic, who=who)

    def acknowledge(self, write: str, resource: int, status: int, replayed: bool) -> None:
        self.acknowledged += 1
        self._line("ack", w=write, id=resource, status=status, replayed=replayed)

    def refuse(self, write: str, status: int) -> None:
        self._line("refused", w=write, status=status)

    def doubt(self, write: str, why: str) -> None:
        """One try whose outcome nobody knows. The same write is tried again under the same id."""
        self._line("unknown", w=write, why=why)

    def fail(self, operation: str, status: int, why: str, served_by: str | None, address: str) -> None:
        """A request that failed, for whoever asks why."""
        self._line("failed", operation=operation, status=status, why=why, served_by=served_by, address=address)

    def violate(self, what: Literal["stale", "wrong"], **details: Any) -> None:
        """A promise broken before our eyes."""
        self.violations[what] += 1
        self._line(what, **details)

    def site(self, number: int, name: str, version: str) -> None:
        """`samples.bin` says `number` where `X-Served-By` said `name`/`version`."""
        self._line("site", n=number, name=name, version=version)

    def error(self, what: str) -> None:
        """The load itself went wrong: a bug here, or an answer that is no answer."""
        self.errors += 1
        self._line("error", what=what)

    def _line(self, event: str, **fields: Any) -> None:
        record = {"t": round(time.time(), 6), "e": event} | {k: v for k, v in fields.items() if v is not None}
        os.write(self._file, json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


def _drop_torn_line(path: Path) -> None:
    """Of a ledger whose writer was killed in the middle of a line: what that announced was never sent."""
    whole = path.read_bytes().rfind(b"\n") + 1
    if whole != path.stat().st_size:
        os.truncate(path, whole)


@dataclass(slots=True)
class Write:
    """One write as the ledger knows it. `answered` is the id in the acknowledgement (for edits: of what was edited)."""

    id: str
    kind: Kind
    action: Action
    sent: dict[str, Any]
    resource: int | None
    topic: int | None
    who: int | None
    began: float
    fate: Fate = "begun"
    answered: int | None = None
    ended: float | None = None
    status: int | None = None


@dataclass(slots=True)
class Violation:
    """A promise that was broken while the load ran."""

    what: Literal["stale", "wrong"]
    details: dict[str, Any]


@dataclass(slots=True)
class History:
    """The whole ledger, read back."""

    writes: dict[str, Write] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    sites: dict[int, str] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)  # the first KEPT_FAILURES


def read_ledger(path: Path) -> History:
    """Read it back. A last line that was cut off is left out: what it announced was never sent."""
    history = History()
    try:
        lines = path.open("rb")
    except FileNotFoundError:
        raise LoadtestError(f"no ledger: {path}; was the load run with this --out?") from None
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                _tell(history, json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise LoadtestError(f"{path}:{number}: not a line of a ledger ({error!r})") from None
    return history


def _tell(history: History, line: dict[str, Any]) -> None:
    event = line["e"]
    if event == "begin":
        history.writes[line["w"]] = Write(
            line["w"], line["kind"], line["action"], line["sent"],
            line.get("id"), line.get("topic"), line.get("who"), line["t"],
        )  # fmt: skip
    elif event in ("ack", "refused", "unknown"):
        write = history.writes[line["w"]]
        write.ended = line["t"]
        write.status = line.get("status")
        if event == "ack":
            write.fate, write.answered = "acknowledged", line["id"]
        elif event == "refused":
            write.fate = "refused"
        else:
            write.fate = "unknown"
    elif event in ("stale", "wrong"):
        history.violations.append(Violation(event, {k: v for k, v in line.items() if k != "e"}))
    elif event == "failed":
        if len(history.failures) < KEPT_FAILURES:
            history.failures.append({k: v for k, v in line.items() if k != "e"})
    elif event == "site":
        history.sites[line["n"]] = line["name"]
        history.versions[line["n"]] = line.get("version", "")
    elif event == "error":
        history.errors.append(line["what"])
