"""The event record: who did what to a move, when, at which epoch.

A row in the database that the event is about, a switch's in the very transaction that moves ownership; and a line in
the file that $STRANGLER_EVENTS names, which outlives a `cancel`.
"""

from __future__ import annotations

import getpass
import json
import math
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from strangler.config import Module
from strangler.database import Database
from strangler.errors import StranglerError


def actor() -> str:
    """The account that runs us, and where. An account without a name (a container's) is told by its number."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


class Events:
    """The record of one module's move."""

    def __init__(self, module: Module, source: Database, target: Database) -> None:
        self._module, self._source, self._target = module, source, target

    def all(self) -> list[dict[str, Any]]:
        """at, site, actor, action, epoch and detail of every event, oldest first."""
        found = []
        for database in (self._source, self._target):
            if database.value("installed"):
                for row in database.run("events", {"module": self._module.name}):
                    found.append({"at": row.pop("at"), "module": self._module.name, "site": database.site, **row})
        return sorted(found, key=lambda event: (event["epoch"], event["at"]))

    def unfinished(self, action: str) -> bool:
        """Whether the last thing that began while the source had the move's row is `action`, which removes it."""
        if not self._source.value("installed") or not self._source.one("ownership", {"module": self._module.name}):
            return False
        return self.all()[-1:] != [] and self.all()[-1]["action"] == action

    def seconds_since(self, action: str, database: Database) -> float:
        """By that database's clock; for ever when it was never done there."""
        if not database.value("installed"):
            return math.inf
        found = database.value("since", {"module": self._module.name, "action": action})
        return math.inf if found is None else float(found)

    def has(self, action: str, epoch: int) -> bool:
        return any(event["action"] == action and event["epoch"] == epoch for event in self.all())

    def record(self, action: str, epoch: int, database: Database | None = None, **detail: object) -> dict[str, Any]:
        """Add a row, in the current transaction of `database` (the source's when not given). Returns the event."""
        database = database or self._source
        event = {"module": self._module.name, "actor": actor(), "action": action, "epoch": epoch}
        row = database.one("record", {**event, "detail": Jsonb(detail)})
        at = row["at"] if row else datetime.now(UTC)
        return {"at": at, "site": database.site, **event, "detail": detail}

    def log(self, event: dict[str, Any]) -> None:
        """Append a committed event to $STRANGLER_EVENTS, if that is set."""
        path = os.environ.get("STRANGLER_EVENTS")
        if not path or self._source.plan is not None:
            return
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, default=str) + "\n")
        except OSError as error:
            raise StranglerError(f"cannot write the event record {path}: {error.strerror}") from None

    def add(self, action: str, epoch: int, **detail: Any) -> None:
        """Record and log at once."""
        self.log(self.record(action, epoch, **detail))
