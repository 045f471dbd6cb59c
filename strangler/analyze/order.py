"""Which module to move first: the one with the fewest ties to what is left then, and so on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from strangler.analyze.catalogue import NO_MODULE
from strangler.analyze.seams import KINDS, Finding


@dataclass(frozen=True)
class Step:
    module: str
    ties: int
    """Findings that tie it to what has not moved before it: each must be cut for its move."""
    inbound: int
    """Of these, in which others need it."""
    outbound: int
    """Of these, in which it needs others."""
    reason: str


def order(modules: list[str], findings: list[Finding]) -> list[Step]:
    """Every module, the one with the fewest ties to what is left first; equals by name."""
    left = sorted(modules)
    steps: list[Step] = []
    while left:
        ranked = {name: _ties(name, left, findings) for name in left}
        first = min(left, key=lambda name: (len(ranked[name]), name))
        steps.append(_step(first, ranked))
        left.remove(first)
    return steps


def _ties(module: str, left: list[str], findings: list[Finding]) -> list[Finding]:
    stay = {*left, NO_MODULE}
    return [one for one in findings if any(module in pair and stay.issuperset(pair) for pair in one.pairs())]


def _step(module: str, ranked: dict[str, list[Finding]]) -> Step:
    ties = ranked[module]
    stay = {*ranked, NO_MODULE}
    inbound = sum(any(b == module and a in stay for a, b in one.needs) for one in ties)
    outbound = sum(any(a == module and b in stay for a, b in one.needs) for one in ties)
    equals = sorted(name for name in ranked if name != module and len(ranked[name]) == len(ties))
    others = sorted((len(found), name) for name, found in ranked.items() if name != module)
    if not ties:
        reason = "nothing ties it to what is left"
    else:
        reason = f"{counted(ties)} to cut; {inbound} by which others need it, {outbound} by which it needs others"
    if len(ranked) == 1:
        reason += "; the last one"
    elif equals:
        reason += f"; as many as {', '.join(equals)}, so by name"
    elif others:
        reason += f"; the next, {others[0][1]}, has {others[0][0]}"
    return Step(module, len(ties), inbound, outbound, reason)


def counted(findings: list[Finding]) -> str:
    """`2 foreign keys, 1 join`."""
    kinds = Counter(one.kind for one in findings)
    return ", ".join(f"{kinds[kind]} {kind}{'s' * (kinds[kind] > 1)}" for kind in KINDS if kinds[kind])


def cycles(modules: list[str], findings: list[Finding]) -> list[list[str]]:
    """Groups of modules of which each needs every other, directly or through others: no order frees them."""
    needs = {name: {b for one in findings for a, b in one.needs if a == name} for name in modules}
    reach = {name: _reachable(name, needs) for name in modules}
    groups: list[list[str]] = []
    for name in sorted(modules):
        group = sorted(other for other in reach[name] if name in reach.get(other, ()))
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def _reachable(start: str, needs: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for other in needs.get(todo.pop(), ()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found
