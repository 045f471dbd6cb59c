"""What the two databases say of a move: `strangler move MODULE status`."""

from __future__ import annotations

from typing import Any

from strangler.move import Move
from strangler.replication import Stream


def status(move: Move) -> dict[str, Any]:
    """state, owner, epoch, both sites' rows, both streams, and what is wrong (`alarms`, each with its mend)."""
    rows = {database.site: move.ownership(database) for database in (move.source, move.target)}
    known = [row for row in rows.values() if row]
    newest = max(known, key=lambda row: row.epoch) if known else None
    streams = {stream.direction: _stream(stream) for stream in (move.forward, move.back)}
    return {
        "module": move.module.name,
        "state": _state(move, streams, newest.owner if newest else None),
        "owner": newest.owner if newest else move.module.source,
        "epoch": newest.epoch if newest else 0,
        "sites": {site: {"owner": row.owner, "epoch": row.epoch} if row else None for site, row in rows.items()},
        "streams": streams,
        "alarms": _alarms(streams, len({row.epoch for row in known}) > 1),
    }


def _state(move: Move, streams: dict[str, dict[str, Any] | None], owner: str | None) -> str:
    forward, back = streams["forward"], streams["back"]
    if owner is None:
        return "none"
    if owner == move.target.site:
        return "switched" if back else "complete"
    if forward is None:
        return "begun"
    return "ready" if forward["ready"] and back else "copying"


def _stream(stream: Stream) -> dict[str, Any] | None:
    found = stream.subscription()
    if found is None:
        return None
    slot = stream.publisher.one("slot", {"name": stream.slot}) or {}
    return {
        "from": stream.publisher.site,
        "to": stream.subscriber.site,
        "ready": found["ready"],
        "working": found["enabled"] and found["working"],
        "behind_bytes": slot.get("behind"),
        "kept_bytes": slot.get("kept"),
        "wal_status": slot.get("wal_status"),
        "errors": found["apply_errors"] + found["sync_errors"],
        "tables": stream.progress(),
    }


def _alarms(streams: dict[str, dict[str, Any] | None], travelling: bool) -> list[str]:
    alarms = []
    for stream in streams.values():
        if stream is None:
            continue
        arrow = f"{stream['from']} -> {stream['to']}"
        if not stream["working"]:
            alarms.append(
                f"{arrow}: no apply worker; {stream['from']} keeps its log ({stream['kept_bytes']} bytes) for "
                f"one; see the PostgreSQL log of {stream['to']}"
            )
        if stream["errors"]:
            alarms.append(f"{arrow}: {stream['errors']} errors so far; see the PostgreSQL log of {stream['to']}")
        if stream["wal_status"] in ("unreserved", "lost"):
            alarms.append(f"{arrow}: the slot's log is {stream['wal_status']}; cancel the move and create it again")
    if travelling:
        alarms.append("ownership is on its way: until the row arrives neither side accepts writes")
    return alarms
