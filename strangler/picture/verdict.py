"""One sentence on how things stand, and what is wrong, worst first."""

from __future__ import annotations

from typing import Any

PROMISES = {
    "lost": "acknowledged writes lost", "doubled": "writes doubled", "stale": "stale reads", "wrong": "wrong answers",
    "failed": "requests failed",
}  # fmt: skip


def verdict(state: dict[str, Any]) -> dict[str, Any]:
    """level: bad, warn, busy (a move is under way) or quiet. `bad`, `warn`: what is wrong; `busy`: what goes on."""
    bad, warn, busy = _bad(state), _warn(state), _busy(state)
    level = "bad" if bad else "warn" if warn else "busy" if busy else "quiet"
    return {"level": level, "bad": bad, "warn": warn, "busy": busy}


def _bad(state: dict[str, Any]) -> list[str]:
    promises = state["promises"] or {}
    found = [f"{text}: {promises[name]:,}" for name, text in PROMISES.items() if promises.get(name)]
    if state["gateway"]["state"] == "away":
        found.append("the gateway does not answer")
    if state["redis"] and state["redis"]["state"] == "away":
        found.append("Redis does not answer")
    for site in state["sites"]:
        if site["state"] == "away":
            found.append(f"{site['name']} does not answer")
        if site["database"] and site["database"]["state"] == "away":
            found.append(f"the database of {site['name']} does not answer")
        flow = site["flow"]
        if flow and flow["errors"] and site["state"] != "away":
            found.append(f"{site['name']} answers with errors")
    for site, flow in state["direct"].items():
        if flow["errors"]:
            found.append(f"{site} answers with errors")
    door = state["gateway"]["door"]
    if door and door["errors"] and not any(" answer" in line for line in found):
        found.append("the gateway answers with errors")
    for module in state["modules"]:
        for way in module["streams"].values():
            if not way["working"] or way["errors"] or way["conflicts"]:
                found.append(f"{module['name']}: replication {way['from']} → {way['to']} is broken")
    return found


def _warn(state: dict[str, Any]) -> list[str]:
    found = []
    for site in state["sites"]:
        up = sum(one["ready"] for one in site["instances"])
        if site["state"] in ("up", "partly") and site["needed"] and up < len(site["instances"]):
            found.append(f"{site['name']}: {up} of {len(site['instances'])} replicas are ready")
    for call in state["calls"]:
        if call["errors"]:
            found.append(f"calls from {call['from']} to {call['to']} fail")
    return found


def _busy(state: dict[str, Any]) -> list[str]:
    found = []
    for module in state["modules"]:
        name, target = module["name"], module["target"]
        if module["travelling"]:
            found.append(f"{name} changes hands: nobody accepts its writes for a moment")
        elif module["state"] in ("begun", "copying"):
            found.append(f"{name} is being copied: {module['source']} → {target}")
        elif module["state"] == "ready":
            found.append(f"{name} is copied, and the copies follow each other: ready to switch")
    for site in state["sites"]:
        if len(site["versions"]) > 1:
            found.append(f"{site['name']}: {' and '.join(sorted(site['versions']))} side by side")
    return found
