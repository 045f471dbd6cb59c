"""What a forum may look like to the picture: its metrics as text, its moves as `status` tells them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from local.state import CHECKOUT
from strangler.config import Config, load
from strangler.picture.scrape import Series, Window, parse
from strangler.picture.seen import APPLICATION_NAMES, GATEWAY_NAMES, Gateway, Instance, Seen

CONFIG: Config = load(CHECKOUT / "strangler.toml")
SITES = ("monolith", "users", "topics", "messages", "web")
SECONDS = 5.0


def histogram(name: str, labels: str, number: float) -> str:
    """So many, all answered within 8 ms or so."""
    found = {"0.005": number * 0.5, "0.01": number, "0.1": number, "+Inf": number}
    return "".join(f'{name}_bucket{{{labels},le="{bound}"}} {value}\n' for bound, value in found.items())


def window(names: tuple[str, ...], before: str, after: str) -> Window:
    """What the picture makes of two looks, SECONDS apart."""
    now = [0.0]
    series = Series(clock=lambda: now[0])
    series.add(parse(before, names))
    now[0] = SECONDS
    series.add(parse(after, names))
    found = series.window()
    assert found
    return found


def gateway(to: dict[str, float], errors: dict[str, float] | None = None) -> Gateway:
    """`to`, `errors`: site -> requests in the window."""

    def text(part: float) -> str:
        lines = histogram("traefik_entrypoint_request_duration_seconds", 'code="200",entrypoint="public"',
                          sum(to.values()) * part)  # fmt: skip
        for codes, sites in (("200", to), ("503", errors or {})):
            for site, number in sites.items():
                labels = f'code="{codes}",method="GET",service="{site}@redis"'
                lines += histogram("traefik_service_request_duration_seconds", labels, number * part)
        return lines + "go_threads 12\n"

    return Gateway(True, {}, (window(GATEWAY_NAMES, text(0), text(1)),))


def instance(site: str, number: int = 1, version: str = "v1", calls: dict[str, float] | None = None) -> Instance:
    """`calls`: module -> calls in the window."""

    def text(part: float) -> str:
        lines = histogram("strangler_request_seconds", f'site="{site}",module="",status="200"', 50 * part)
        for module, number in (calls or {}).items():
            labels = f'site="{site}",module="{module}",kind="call",status="200"'
            lines += histogram("strangler_call_seconds", labels, number * part)
        return lines

    port = 20000 + 10 * SITES.index(site) + number
    return Instance(f"127.0.0.1:{port}", True, f"{site}-{number}", version, window(APPLICATION_NAMES, text(0), text(1)))


def pair(site: str, **more: Any) -> list[Instance]:
    return [instance(site, 1, **more), instance(site, 2)]


def stream(source: str, target: str, rows: int, copied: int) -> dict[str, Any]:
    done = rows == copied
    return {
        "from": source, "to": target, "ready": done, "working": True, "behind_bytes": 312, "lag_seconds": 0.0021,
        "kept_bytes": 4096, "room_bytes": None, "wal_status": "reserved", "errors": 0, "conflicts": {}, "stranded": [],
        "tables": [{"table": f"public.{target}", "state": "r" if done else "d", "rows": rows, "copied": copied}],
    }  # fmt: skip


def move(name: str, state: str, epoch: int = 0, rows: int = 4000, copied: int | None = None) -> dict[str, Any]:
    """As strangler.status.standing answers."""
    module = CONFIG.modules[name]
    owner = module.target if state in ("switched", "complete") else module.source
    row = {"owner": owner, "epoch": epoch} if epoch else None
    forward = stream(module.source, module.target, rows, rows if copied is None else copied)
    back = stream(module.target, module.source, rows, rows)
    replicated = state != "none"
    return {
        "module": name, "state": state, "owner": owner, "epoch": epoch, "alarms": [],
        "sites": {module.source: row, module.target: row},
        "streams": {
            "forward": forward if replicated else None,
            "back": back if state in ("ready", "switched") else None,
        },
    }  # fmt: skip


KEPT = {"requests": 12408, "failed": 0, "lost": 0, "doubled": 0, "stale": 0, "users": 20}
ABSENT = [Instance(f"127.0.0.1:{port}", up=False) for port in (1, 2)]


def at_stage_1() -> Seen:
    return Seen(
        gateway=gateway({"monolith": 350}), sites={**dict.fromkeys(SITES, ABSENT), "monolith": pair("monolith")},
        modules={name: move(name, "none") for name in CONFIG.modules}, redis=True, default="monolith", promises=KEPT,
        databases={"monolith": True, "users": False, "topics": False, "messages": False},
    )  # fmt: skip


def topics_are_copied() -> Seen:
    seen = at_stage_1()
    sites = {**seen.sites, "monolith": pair("monolith", calls={"users": 40}), "users": pair("users"),
             "topics": [*pair("topics"), instance("topics", 3, "v2")]}  # fmt: skip
    modules = {
        "users": move("users", "switched", 2),
        "topics": move("topics", "copying", 1, rows=100_000, copied=61_250),
        "messages": move("messages", "none"),
    }
    databases = {"monolith": True, "users": True, "topics": True, "messages": False}
    return replace(
        seen, gateway=gateway({"monolith": 290, "users": 60}), sites=sites, modules=modules, databases=databases
    )


def at_stage_5() -> Seen:
    calls = {"web": {"users": 30.0, "topics": 80.0, "messages": 60.0}, "topics": {"users": 15.0},
             "messages": {"topics": 25.0, "users": 8.0}}  # fmt: skip
    return Seen(
        gateway=gateway({"users": 60, "topics": 160, "messages": 130, "web": 90}),
        sites={site: pair(site, calls=calls.get(site)) for site in SITES[1:]} | {"monolith": ABSENT},
        modules={name: move(name, "switched", 2) for name in CONFIG.modules}, redis=True, default="web", promises=KEPT,
        databases=dict.fromkeys(SITES[:4], True),
    )  # fmt: skip


def broken() -> Seen:
    """topics' service is gone, messages' stream is stopped, and people notice."""
    seen = at_stage_5()
    modules = dict(seen.modules)
    messages = move("messages", "switched", 2)
    messages["streams"]["back"]["working"] = False
    modules["messages"] = messages
    return replace(
        seen, modules=modules, sites={**seen.sites, "topics": ABSENT}, promises={**KEPT, "failed": 37},
        gateway=gateway({"users": 60, "messages": 130, "web": 90}, errors={"topics": 160}),
    )  # fmt: skip
