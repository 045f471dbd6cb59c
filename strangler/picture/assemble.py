"""The picture as data, from what was seen. What is not known is None, never 0."""

from __future__ import annotations

from collections import Counter
from typing import Any

from strangler.config import Config, Stage
from strangler.picture.scrape import Flow, flows, whole
from strangler.picture.seen import Instance, Seen
from strangler.picture.verdict import verdict

ENTRYPOINT = "traefik_entrypoint_request_duration_seconds"
SERVICE = "traefik_service_request_duration_seconds"


def assemble(config: Config, seen: Seen) -> dict[str, Any]:
    """Everything that the page shows, but its past."""
    served = {site: _served(instances) for site, instances in seen.sites.items()}
    through: dict[str, Flow] = flows(
        seen.gateway.windows, SERVICE, lambda labels: _behind(seen, labels.get("service", "").partition("@")[0])
    )
    door = _door(seen)
    modules = [_module(config, name, seen.modules.get(name)) for name in config.modules]
    stage = _stage(config, seen, modules, door)
    default = stage.default if stage else seen.default
    # Nobody at the door, and yet requests are served: people don't come through the gateway. Once a module has moved
    # they all do, and who is asked then is asked by another application.
    outside = not (seen.came_lately or _moving(door)) and not (stage and stage.moved)
    direct = {site: flow for site, flow in served.items() if outside and flow and site == default and _moving(flow)}
    sites = [
        _site(config, name, seen, served.get(name), None if direct else through.get(name), default, modules)
        for name in _order(config)
    ]
    state: dict[str, Any] = {
        "stages": [{"name": name, "now": stage is not None and name == stage.name} for name in config.stages],
        "stage": stage.name if stage else None,
        "gateway": {"state": _gateway(seen, modules, stage), "door": door if not direct else None},
        "redis": None if seen.redis is None else {"state": "up" if seen.redis else "away"},
        "sites": sites,
        "modules": modules,
        "calls": _calls(seen, {module["name"]: module["owner"] for module in modules}),
        "promises": dict(seen.promises) if seen.promises is not None else None,
        "direct": direct,
    }
    state["flow"] = state["gateway"]["door"] or whole(direct.values())
    return state | {"verdict": verdict(state)}


def _behind(seen: Seen, service: str) -> str:
    return seen.services.get(service, service)


def _moving(flow: Flow | None) -> bool:
    return bool(flow and flow["rps"])


def _door(seen: Seen) -> Flow | None:
    if not seen.gateway.up or not seen.gateway.windows:
        return None
    found: dict[str, Flow] = flows(
        seen.gateway.windows, ENTRYPOINT, lambda labels: "in" if labels.get("entrypoint") in seen.doors else None
    )
    return found.get("in", {"rps": 0.0, "errors": 0.0, "p95_ms": None})


def _served(instances: list[Instance]) -> Flow | None:
    """As the application's own processes measure it."""
    windows = [instance.window for instance in instances if instance.window]
    if not windows:
        return None
    found: dict[str, Flow] = flows(windows, "strangler_request_seconds", lambda _: "in")
    return found.get("in", {"rps": 0.0, "errors": 0.0, "p95_ms": None})


def _order(config: Config) -> list[str]:
    """A source, then what its modules move to, then who has no module at all."""
    order: list[str] = []
    for module in config.modules.values():
        if module.source not in order:
            order.append(module.source)
            order += [
                each.target
                for each in config.modules.values()
                if each.source == module.source and each.target not in order
            ]
    order = list(dict.fromkeys(order))
    return [*order, *(site for site in config.sites if site not in order)]


# --- modules --------------------------------------------------------------------------------------------------------


def _module(config: Config, name: str, found: dict[str, Any] | None) -> dict[str, Any]:
    module = config.modules[name]
    told: dict[str, Any] = {"name": name, "source": module.source, "target": module.target, "routes": module.routes}
    if found is None:
        return told | {
            "state": "unknown", "owner": None, "epoch": None, "travelling": False, "streams": {}, "alarms": [],
            "rows": None, "copied": None,
        }  # fmt: skip
    streams = {way: _stream(stream) for way, stream in found["streams"].items() if stream}
    forward = found["streams"].get("forward")
    tables = forward["tables"] if forward else []
    rows = [row for row in found["sites"].values() if row]
    return told | {
        "state": found["state"],
        "owner": found["owner"],
        "epoch": found["epoch"] or None,
        "travelling": len({row["epoch"] for row in rows}) > 1,
        "streams": streams,
        "alarms": found["alarms"],
        "rows": sum(row["rows"] for row in tables) if tables else None,
        "copied": sum(row["copied"] for row in tables) if tables else None,
    }


def _stream(stream: dict[str, Any]) -> dict[str, Any]:
    kept = ("from", "to", "ready", "working", "behind_bytes", "lag_seconds", "errors")
    return {name: stream[name] for name in kept} | {"conflicts": sum(stream["conflicts"].values())}


# --- sites ----------------------------------------------------------------------------------------------------------


def _site(
    config: Config, name: str, seen: Seen, served: Flow | None, through: Flow | None, default: str | None,
    modules: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    ready = seen.gateway.ready()
    instances = [
        {
            "name": one.name, "version": one.version, "up": one.up,
            "ready": one.up and ready.get(f"http://{one.address}", True),
        }
        for one in seen.sites.get(name, [])
    ]  # fmt: skip
    up = [one for one in instances if one["up"]]
    needed = name == default or name in {module["owner"] for module in modules}
    versions = Counter(str(one["version"]) for one in up if one["version"])
    state = ("up" if len(up) == len(instances) else "partly") if up else ("away" if needed else "absent")
    if name not in seen.sites:
        state = "unknown"
    has_database = name in {site for module in config.modules.values() for site in (module.source, module.target)}
    answers = seen.databases.get(name)
    owns = any(module["owner"] == name for module in modules)
    moving = any(module["state"] not in ("none", "unknown") for module in modules
                 if name in (module["source"], module["target"]))  # fmt: skip
    return {
        "name": name,
        "state": state,
        "needed": needed,
        "instances": instances,
        "versions": dict(versions),
        "flow": through,
        "served": served,
        "database": {"state": "up" if answers else _missing(answers, owns or moving)} if has_database else None,
    }


def _missing(answers: bool | None, needed: bool) -> str:
    if answers is None:
        return "unknown"
    return "away" if needed else "absent"


def _calls(seen: Seen, owners: dict[str, str | None]) -> list[dict[str, Any]]:
    windows = [one.window for instances in seen.sites.values() for one in instances if one.window]
    found: dict[tuple[str, str], Flow] = flows(
        windows, "strangler_call_seconds", lambda labels: (labels.get("site", ""), owners.get(labels["module"]) or "")
    )
    return [
        {"from": caller, "to": callee, **flow}
        for (caller, callee), flow in sorted(found.items())
        if caller in seen.sites and callee and caller != callee and _moving(flow)
    ]


# --- the whole ------------------------------------------------------------------------------------------------------


def _stage(config: Config, seen: Seen, modules: list[dict[str, Any]], door: Flow | None) -> Stage | None:
    """The stage of strangler.toml that this looks like."""
    if any(module["owner"] is None for module in modules):
        return None
    moved = {module["name"] for module in modules if module["owner"] == module["target"]}
    found = [stage for stage in config.stages.values() if set(stage.moved) == moved]
    if len(found) > 1 and seen.default:
        at = [stage for stage in found if seen.default in (stage.default, "default" if stage.spare else stage.default)]
        found = at or found
    if len(found) > 1:
        behind = bool(seen.gateway.up and (seen.default or _moving(door)))
        found = [stage for stage in found if stage.cancel != behind] or found
    if len(found) > 1:
        alive = {site for site, instances in seen.sites.items() if any(one.up for one in instances)}
        found = [stage for stage in found if stage.default in alive] or found
    return found[0] if found else None


def _gateway(seen: Seen, modules: list[dict[str, Any]], stage: Stage | None) -> str:
    if seen.gateway.up is None:
        return "unknown"
    if seen.gateway.up:
        return "up"
    needed = any(module["state"] not in ("none", "unknown") for module in modules) or bool(stage and not stage.cancel)
    return "away" if needed else "absent"
