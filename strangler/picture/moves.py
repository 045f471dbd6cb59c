"""One module's move, looked at again and again over connections that stay open, and cannot write."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from strangler.config import Config
from strangler.database import Database
from strangler.errors import StranglerError
from strangler.move import Move
from strangler.status import standing

# Nothing written, nobody waited for: whatever account the address names.
READ_ONLY = "SET default_transaction_read_only = on; SET statement_timeout = '5s'"
GONE = (StranglerError, psycopg.Error)


class Watched:
    """What is known of a module. `look` never raises."""

    def __init__(self, config: Config, name: str) -> None:
        self._config = config
        self._module = config.module(name)
        self._move: Move | None = None
        self.standing: dict[str, Any] | None = None
        """As strangler.status.standing says it; with only one of the databases there, what that one says."""
        self.answers: dict[str, bool] = {}
        """Site -> whether its database answered."""
        self.events: list[dict[str, Any]] = []

    def look(self) -> None:
        try:
            if self._move is None:
                self._move = Move(self._config, self._module.name, exclusive=False)
                for database in (self._move.source, self._move.target):
                    database.connection.execute(READ_ONLY)
            found, events = standing(self._move), self._move.events.all()
        except GONE:
            self._close()
            self._look_at_each()
        else:
            self.standing, self.events = found, events
            self.answers = {self._module.source: True, self._module.target: True}

    def _close(self) -> None:
        if self._move is not None:
            with suppress(psycopg.Error):
                self._move.__exit__(None, None, None)
        self._move = None

    def _look_at_each(self) -> None:
        """One of the two is away: who owns the module is what the other one has."""
        rows: dict[str, dict[str, Any] | None] = {}
        for site in (self._module.source, self._module.target):
            try:
                rows[site] = self._row(site)
            except GONE:
                continue
        self.answers = {site: site in rows for site in (self._module.source, self._module.target)}
        known = [row for row in rows.values() if row]
        newest = max(known, key=lambda row: row["epoch"], default=None)
        if newest is None and self._module.source not in rows:
            self.standing = None
            return
        self.standing = {
            "module": self._module.name, "state": "none" if newest is None else "unknown", "sites": rows, "alarms": [],
            "owner": newest["owner"] if newest else self._module.source, "epoch": newest["epoch"] if newest else 0,
            "streams": {"forward": None, "back": None},
        }  # fmt: skip

    def _row(self, site: str) -> dict[str, Any] | None:
        database = Database(site, self._config.sites[site].dsn)
        with database.connection:
            database.connection.execute(READ_ONLY)
            if not database.value("installed"):
                return None
            return database.one("ownership", {"module": self._module.name})
