"""What must hold before ownership changes hands. Each guard has a name by which it can be overridden; one cannot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import urllib3

from strangler import indexes, preflight
from strangler.diff import last_diff
from strangler.errors import NotYetError, StranglerError
from strangler.replication import WORKER_SECONDS

if TYPE_CHECKING:
    from strangler.database import Database
    from strangler.handover import Limits
    from strangler.move import Move

LAW = "tables"
"""Of this one there is no overriding: rows that are not there yet would be lost."""
READY_SECONDS = 5.0


class Guards:
    """The guards of one hand-over. Each yields a line for what is wrong, with its mend."""

    def __init__(self, move: Move, giver: Database, taker: Database, limits: Limits) -> None:
        self._move, self._giver, self._taker, self._limits = move, giver, taker, limits
        self._out, self._back = move.stream_from(giver.site), move.stream_from(taker.site)

    def tables(self) -> Iterator[str]:
        """Every table is copied, and the target's indexes are built."""
        found = self._move.forward.subscription()
        mend = f"run `strangler move {self._move.module.name} create`, which waits for it"
        if found is None:
            yield f"there is no stream {self._move.forward.name}; {mend}"
        elif not found["ready"]:
            yield f"rows are being copied; {mend}"
        elif indexes.missing(self._move):
            yield f"indexes of {self._move.target.site} are not built yet; {mend}"

    def fence(self) -> Iterator[str]:
        """Every table, and partition, refuses writes at the site that is not the owner."""
        for database in (self._giver, self._taker):
            if names := self._move.unfenced(database):
                yield (
                    f"{database.site}: no fence on {', '.join(names)}; "
                    f"run `strangler move {self._move.module.name} create`"
                )
            elif not database.value("arrives"):
                yield (
                    f"{database.site}: sequences would not go on where they stood, the trigger arrive is off; "
                    f"run `strangler move {self._move.module.name} create`"
                )

    def schema(self) -> Iterator[str]:
        """The tables still look the same at both sites; DDL does not replicate."""
        yield from preflight.shapes(self._move.module, self._move.source, self._move.target).refusals

    def stream(self) -> Iterator[str]:
        """What the owner writes is applied at the other site."""
        found = self._out.subscription()
        if found is None or not (found["enabled"] and found["working"]):
            yield (
                f"{self._out.publisher.site} -> {self._out.subscriber.site} has no apply worker; the PostgreSQL log of "
                f"{self._out.subscriber.site} says why"
            )

    def lag(self) -> Iterator[str]:
        """The other site is not far behind."""
        behind = self._out.behind()
        if behind is not None and behind > self._limits.max_lag:
            yield f"{self._taker.site} is {behind:,} bytes behind, more than {self._limits.max_lag:,}; wait a little"

    def diff(self) -> Iterator[str]:
        """Both copies were compared lately and are equal. For the way back it does not matter how long ago."""
        found = last_diff(self._move)
        mend = f"run `strangler move {self._move.module.name} diff`"
        there = self._taker is self._move.target
        if found is None or (there and found.epoch != self._move.owner().epoch):
            if there:
                yield f"the copies have not been compared since {self._giver.site} owns them; {mend}"
        elif found.differences:
            yield f"{found.differences} rows differed at the last comparison; {mend}, or `diff --repair`"
        elif (
            there and (age := (datetime.now(UTC) - found.finished).total_seconds()) > self._limits.max_diff_age_seconds
        ):
            yield f"the last comparison is {age / 3600:.1f} h old; {mend}"

    def reverse(self) -> Iterator[str]:
        """The stream for the way back is there, so that nothing written after the switch can be missed."""
        found = self._back.subscription()
        if found is None:
            yield f"there is no stream {self._back.name}; run `strangler move {self._move.module.name} create`"
        elif not (found["enabled"] and found["working"]):
            yield (
                f"{self._back.publisher.site} -> {self._back.subscriber.site} has no apply worker; the PostgreSQL log "
                f"of {self._back.subscriber.site} says why"
            )

    def service(self) -> Iterator[str]:
        """The application of the new owner is ready for requests."""
        try:
            url = f"{self._move.config.sites[self._taker.site].url}/readyz"
        except StranglerError as error:
            yield str(error)
            return
        try:
            status = urllib3.request("GET", url, timeout=READY_SECONDS, retries=False).status
        except urllib3.exceptions.HTTPError as error:
            yield f"{url} does not answer ({type(error).__name__}); start the application"
        else:
            if status != 200:
                yield f"{url} answers {status}; wait until the application is ready"

    def foreign_keys(self) -> Iterator[str]:
        """Nothing of other modules refers to the tables: it would meet a replica that lags."""
        for database in (self._giver, self._taker):
            for key in database.run("crossing_foreign_keys", {"tables": self._move.regclasses()}):
                yield (
                    f"{database.site}: foreign key {key['name']} of {key['table']} crosses the line; "
                    f"run `strangler move {self._move.module.name} create`, or drop it"
                )


NAMES = tuple(name.replace("_", "-") for name in vars(Guards) if not name.startswith("_"))


def failing(guards: Guards, names: tuple[str, ...] = NAMES) -> dict[str, str]:
    """Guard -> what is wrong, for those that do not hold now."""
    found = {}
    for name in names:
        check: Callable[[], Iterator[str]] = getattr(guards, name.replace("-", "_"))
        if lines := list(check()):
            found[name] = "; ".join(lines)
            if name == LAW:  # the others would only repeat it
                break
    return found


def require(move: Move, giver: Database, taker: Database, limits: Limits) -> frozenset[str]:
    """The names of those that do not hold but are overridden. Raises NotYetError when another does not hold.

    A worker that died is started again by PostgreSQL after wal_retrieve_retry_interval (5 s), so it is waited for.
    """
    if unknown := limits.override - set(NAMES):
        raise StranglerError(f"there is no guard {min(unknown)!r}; there are: {', '.join(NAMES)}")
    if LAW in limits.override:
        raise StranglerError(f"the guard {LAW!r} cannot be overridden: rows would be lost")
    guards = Guards(move, giver, taker, limits)
    found = failing(guards)
    deadline = time.monotonic() + WORKER_SECONDS
    while found.keys() - limits.override and found.keys() - limits.override <= {"stream", "reverse"}:
        if time.monotonic() > deadline or move.plan is not None:
            break
        time.sleep(0.1)
        found = failing(guards)
    wrong = {name: line for name, line in found.items() if name not in limits.override}
    if wrong:
        lines = "; ".join(f"[{name}] {line}" for name, line in wrong.items())
        raise NotYetError(f"nothing has changed: {lines} (pass a guard all the same: --override NAME)")
    return frozenset(found)
