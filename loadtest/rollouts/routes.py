"""A route between two versions as Traefik's keys (its manual: "KV Configuration Reference"), beside the kit's own."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.rollouts.target import COOKIE, HEADER, REPLICAS, SITE, Route

NEW_SERVICE, COMPARER = f"{SITE}-new", f"{SITE}-comparer"
MIRRORED = 50
"""Percent of the reads that are asked again, three times each: more would be a load of its own."""
READY = {"path": "/readyz", "interval": "500ms", "timeout": "10s"}


def names(base: dict[str, str]) -> set[str]:
    """Every key that some route has: see strangler.routes."""
    all_routes = (Route(percent=20), Route(percent=100), Route(chosen=True), Route(mirrored=True))
    return {key for route in all_routes for key in keys(base, route, ["some"] * REPLICAS, "some")}


def keys(
    base: dict[str, str], route: Route, new: Sequence[str] = (), comparer: str | None = None,
    old: Sequence[str] | None = None, root: str = "traefik",
) -> dict[str, str]:  # fmt: skip
    """All keys. `base`: those of the stage. `new`, `comparer`: addresses; `old`: other ones than the stage's."""
    found = dict(base)
    services, routers = f"{root}/http/services", f"{root}/http/routers"
    public, inner = f"{routers}/public-api-{SITE}", f"{routers}/internal-{SITE}"

    def balance(name: str, servers: Sequence[str]) -> None:
        at = f"{services}/{name}/loadbalancer"
        for number, server in enumerate(servers):
            found[f"{at}/servers/{number}/url"] = server
        if len(servers) > 1:
            found.update({f"{at}/healthcheck/{name}": value for name, value in READY.items()})

    def router(name: str, rule: str, service: str) -> None:
        at = f"{routers}/public-api-{SITE}-{name}"
        found[f"{at}/rule"] = f"{base[f'{public}/rule']} && ({rule})"
        found[f"{at}/service"] = service
        found[f"{at}/entrypoints/0"] = "public"

    if old is not None:
        found = {key: value for key, value in found.items() if not key.startswith(f"{services}/{SITE}/")}
        balance(SITE, old)
    if new:
        balance(NEW_SERVICE, new)
    if route.percent == 100:
        found[f"{public}/service"] = found[f"{inner}/service"] = NEW_SERVICE
    elif route.percent:
        both = f"{services}/{SITE}-both/weighted/services"
        for number, (name, weight) in enumerate(((SITE, 100 - route.percent), (NEW_SERVICE, route.percent))):
            found[f"{both}/{number}/name"], found[f"{both}/{number}/weight"] = name, str(weight)
        found[f"{public}/service"] = f"{SITE}-both"
    if route.chosen:
        cookie = rf"HeaderRegexp(`Cookie`, `(^|;\s*){COOKIE[0]}={COOKIE[1]}(;|$)`)"
        router("chosen", f"Header(`{HEADER[0]}`, `{HEADER[1]}`) || {cookie}", NEW_SERVICE)
    if route.mirrored and comparer:
        balance(COMPARER, [comparer])
        at = f"{services}/{SITE}-mirrored/mirroring"
        found |= {
            f"{at}/service": SITE,
            f"{at}/mirrors/0/name": COMPARER,
            f"{at}/mirrors/0/percent": str(MIRRORED),
        }
        router("reads", "Method(`GET`)", f"{SITE}-mirrored")
    return found
