"""What the two databases say of a move: `strangler move MODULE status`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from strangler import preflight
from strangler.database import Database
from strangler.diff_run import last_diff
from strangler.guards import Guards, failing
from strangler.handover import Limits, holder
from strangler.move import Move
from strangler.replication import Stream
from strangler.sql import quoted

HOLDS_SECONDS = 2.0
"""A transaction that has written to the module and is older than this is named: a switch would wait for it."""


def status(move: Move) -> dict[str, Any]:
    """What `standing` says, what the next command is and what it would wait for (`next`), and who holds the module's
    lock (`holders`)."""
    found = standing(move)
    owned = found["epoch"] > 0
    return {
        **found,
        "diff": _diff(move),
        "next": _next(move, found["state"]),
        "holders": _holders(move, move.database(found["owner"])) if owned else [],
    }


def standing(move: Move) -> dict[str, Any]:
    """state, owner, epoch, both sites' rows, both streams, and what is wrong (`alarms`, each with its mend)."""
    rows = {database.site: move.ownership(database) for database in (move.source, move.target)}
    known = [row for row in rows.values() if row]
    newest = max(known, key=lambda row: row.epoch) if known else None
    streams = {stream.direction: _stream(stream) for stream in (move.forward, move.back)}
    state = _state(move, streams, newest.owner if newest else None)
    return {
        "module": move.module.name,
        "state": state,
        "owner": newest.owner if newest else move.module.source,
        "epoch": newest.epoch if newest else 0,
        "sites": {site: {"owner": row.owner, "epoch": row.epoch} if row else None for site, row in rows.items()},
        "streams": streams,
        "alarms": _alarms(streams, len({row.epoch for row in known}) > 1)
        + (_fences(move, move.database(newest.owner)) if newest else []),
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
        "lag_seconds": slot.get("lag_seconds"),
        "kept_bytes": slot.get("kept"),
        "room_bytes": slot.get("room"),
        "wal_status": slot.get("wal_status"),
        "errors": found["apply_errors"] + found["sync_errors"],
        "conflicts": found["conflicts"],
        "stranded": stream.stranded(),
        "tables": [_table(stream, row) for row in stream.progress()],
    }


def _table(stream: Stream, row: dict[str, Any]) -> dict[str, Any]:
    """Rows of rows by the planner's estimate, rows/s and s left while it is copied."""
    rows = max(0, stream.publisher.value("rows", {"table": quoted(row["table"])}) or 0)
    done = row["state"] in ("f", "s", "r")
    found = {"table": row["table"], "state": row["state"], "rows": rows, "copied": rows if done else row["copied"] or 0}
    if row["copied"] and row["seconds"]:
        rate = row["copied"] / row["seconds"]
        found["rows"] = max(rows, row["copied"])
        found |= {"rate": round(rate), "eta_seconds": round((found["rows"] - row["copied"]) / rate)}
    return found


def _next(move: Move, state: str) -> dict[str, Any]:
    """The command that would come next, and what it would wait for: guard -> why."""
    if state == "complete":
        return {"command": None, "waits_for": {}}
    if state == "none":
        lines = [line for side in (move.source, move.target) for line in preflight.missing_tables(move.module, side)]
        lines = lines or preflight.check(move.module, move.source, move.target).refusals
        return {"command": "create", "waits_for": {"preflight": "; ".join(lines)} if lines else {}}
    if state in ("begun", "copying"):
        found = move.source.run("long_transactions", {"seconds": HOLDS_SECONDS})
        waits = {f"pid {row['pid']}": f"{row['who']}, in a transaction for {row['seconds']:.0f} s" for row in found}
        return {"command": "create", "waits_for": {**waits, "copy": "rows are being copied"}}
    giver, taker = (move.source, move.target) if state == "ready" else (move.target, move.source)
    return {
        "command": "switch" if state == "ready" else "reverse",
        "waits_for": failing(Guards(move, giver, taker, Limits())),
    }


def _diff(move: Move) -> dict[str, Any] | None:
    """What the last comparison that came to its end found."""
    found = last_diff(move)
    return asdict(found) if found else None


def _holders(move: Move, owner: Database) -> list[dict[str, Any]]:
    rows = owner.run("holders", move.lockable(owner))
    return [{**row, "site": owner.site} for row in rows if (row["seconds"] or 0) > HOLDS_SECONDS]


def _fences(move: Move, owner: Database) -> list[str]:
    """A switch that was killed, or that met a long transaction, leaves them up."""
    names = [name for name, up in move.fences(owner).items() if up]
    if not names:
        return []
    return [
        f"{owner.site}: the fence of {', '.join(names)} is up, where it only takes the owner's time; "
        f"`strangler move {move.module.name} create` lowers it"
    ]


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
        if stream["conflicts"]:
            kinds = ", ".join(f"{number} {kind}" for kind, number in stream["conflicts"].items())
            alarms.append(
                f"{arrow}: conflicts so far: {kinds}; run `diff`, which says what differs, and `diff --repair`"
            )
        if stream["stranded"]:
            alarms.append(
                f"{arrow}: {', '.join(stream['stranded'])} will never be ready, the slot to catch up from is gone; "
                "cancel the move and create it again"
            )
        if stream["wal_status"] in ("unreserved", "lost"):
            alarms.append(f"{arrow}: the slot's log is {stream['wal_status']}; cancel the move and create it again")
    if travelling:
        alarms.append("ownership is on its way: until the row arrives neither side accepts writes")
    return alarms


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    text = [f"{found['module']}: {found['state']}; owner {found['owner']}, epoch {found['epoch']}"]
    for stream in filter(None, found["streams"].values()):
        ready = sum(row["state"] == "r" for row in stream["tables"])
        lag = "" if stream["lag_seconds"] is None else f" ({stream['lag_seconds']:.2f} s)"
        text.append(
            f"  {stream['from']} -> {stream['to']}: {ready} of {len(stream['tables'])} tables ready, "
            f"{_bytes(stream['behind_bytes'])} behind{lag}, {_bytes(stream['kept_bytes'])} of log kept"
        )
        for row in stream["tables"]:
            if row["state"] in ("i", "d"):
                rate = f", {row['rate']:,} rows/s, {row['eta_seconds']} s left" if "rate" in row else ""
                text.append(f"    {row['table']}: {row['copied']:,} of about {row['rows']:,} rows{rate}")
    text += [f"  at {row['site']}: {holder(row)}: a switch waits for it" for row in found["holders"]]
    if diff := found["diff"]:
        text.append(f"  last diff at epoch {diff['epoch']}: {diff['rows']:,} rows, {diff['differences']:,} differed")
    if command := found["next"]["command"]:
        waits = found["next"]["waits_for"]
        text.append(f"  next: {command}" + (", which waits for:" if waits else ", which nothing stands in the way of"))
        text += [f"    [{name}] {why}" for name, why in waits.items()]
    return text


def _bytes(number: int | None) -> str:
    if number is None:
        return "unknown"
    for unit in ("bytes", "kB", "MB"):
        if abs(number) < 10_000:
            return f"{number:,} {unit}"
        number //= 1024
    return f"{number:,} GB"
