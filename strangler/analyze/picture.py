"""Modules as nodes on a ring, ties as edges between them: an SVG drawing."""

from __future__ import annotations

import math
from collections import Counter
from html import escape

from strangler.analyze.catalogue import NO_MODULE
from strangler.analyze.report import Report
from strangler.analyze.seams import Finding

KIND_CLASS = {
    "foreign key": "fk", "join": "join", "transaction": "tx", "trigger": "other", "view": "other", "function": "other",
    "sequence": "other",
}  # fmt: skip
WIDTH, HEIGHT = 1100, 640
Point = tuple[float, float]


def picture(report: Report) -> str:
    """Each colour is a kind of tie; an arrow leads from the module that needs to the one that is needed."""
    places = _places(report.nodes)
    radius = max(38.0, min(86.0, 460 / max(4, len(report.nodes))))
    edges = "".join(_edges(pair, findings, places, radius) for pair, findings in report.pairs().items())
    turn = {step.module: number for number, step in enumerate(report.order, 1)}
    nodes = "".join(_node(name, report, places[name], radius, turn.get(name)) for name in report.nodes)
    markers = "".join(
        f'<marker id="to-{kind}" class="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="15" '
        'markerHeight="15" markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        '<path class="head" d="M0 0L10 5L0 10z"/></marker>'
        for kind in sorted(set(KIND_CLASS.values()))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Modules and the ties between them">'
        f"<defs>{markers}</defs>{edges}{nodes}</svg>"
    )


def _places(nodes: list[str]) -> dict[str, Point]:
    middle_x, middle_y = WIDTH / 2, HEIGHT / 2
    if len(nodes) == 1:
        return {nodes[0]: (middle_x, middle_y)}
    start = math.pi if len(nodes) == 2 else -math.pi / 2
    steps = {name: start + 2 * math.pi * number / len(nodes) for number, name in enumerate(nodes)}
    ring = {name: (math.cos(angle), math.sin(angle)) for name, angle in steps.items()}
    # Stretched to fill the drawing, whatever the number of nodes.
    low_y, high_y = min(y for _, y in ring.values()), max(y for _, y in ring.values())
    height = high_y - low_y if high_y - low_y > 0.1 else 1.0
    shift = low_y if high_y - low_y > 0.1 else -0.5
    return {
        name: (middle_x + x * (WIDTH / 2 - 140), 105 + (y - shift) / height * (HEIGHT - 210))
        for name, (x, y) in ring.items()
    }


def _node(name: str, report: Report, place: Point, radius: float, turn: int | None) -> str:
    x, y = place
    tables = report.catalogue.modules.get(name) or report.catalogue.without_module()
    size = max(13.0, min(26.0, 2.1 * radius / max(6, len(name)) * 1.5))
    count = f"{len(tables)} table{'' if len(tables) == 1 else 's'}"
    under = count if turn is None else f"{count}, moves {_ordinal(turn)}"
    kind = "node none" if name == NO_MODULE else "node"
    small = max(12.0, radius / 5.6)
    return (
        f'<g class="{kind}"><title>{escape(f"{name}: " + ", ".join(tables))}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text class="name" x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{escape(name)}</text>'
        f'<text class="under" x="{x:.1f}" y="{y + size:.1f}" font-size="{small:.1f}">{under}</text></g>'
    )


def _ordinal(number: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def _edges(pair: tuple[str, str], findings: list[Finding], places: dict[str, Point], radius: float) -> str:
    kinds = Counter(KIND_CLASS[one.kind] for one in findings)
    lines = []
    for number, (kind, count) in enumerate(sorted(kinds.items())):
        directions = {
            needs for one in findings if KIND_CLASS[one.kind] == kind for needs in one.needs if set(needs) == set(pair)
        }
        offset = (number - (len(kinds) - 1) / 2) * 92
        lines.append(_edge(pair, places, radius, offset, kind, count, directions))
    return "".join(lines)


def _edge(
    pair: tuple[str, str], places: dict[str, Point], radius: float, offset: float, kind: str, count: int,
    directions: set[tuple[str, str]],
) -> str:  # fmt: skip
    """A curve that passes beside the straight line by half of `offset`, its count in the middle."""
    (ax, ay), (bx, by) = places[pair[0]], places[pair[1]]
    length = math.hypot(bx - ax, by - ay)
    control = ((ax + bx) / 2 - (by - ay) / length * offset, (ay + by) / 2 + (bx - ax) / length * offset)
    start, end = _towards((ax, ay), control, radius + 4), _towards((bx, by), control, radius + 4)
    middle = (start[0] / 4 + control[0] / 2 + end[0] / 4, start[1] / 4 + control[1] / 2 + end[1] / 4)
    arrows = "".join(
        f' marker-{side}="url(#to-{kind})"'
        for side, direction in (("start", (pair[1], pair[0])), ("end", pair))
        if direction in directions
    )
    width = 2.5 + min(6.0, math.log2(count) * 1.4)
    return (
        f'<g class="edge {kind}"><path d="M{start[0]:.1f} {start[1]:.1f}Q{control[0]:.1f} {control[1]:.1f} '
        f'{end[0]:.1f} {end[1]:.1f}" stroke-width="{width:.1f}"{arrows}/>'
        f'<circle cx="{middle[0]:.1f}" cy="{middle[1]:.1f}" r="17"/>'
        f'<text x="{middle[0]:.1f}" y="{middle[1]:.1f}">{count}</text></g>'
    )


def _towards(start: Point, end: Point, distance: float) -> Point:
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    return (start[0] + (end[0] - start[0]) / length * distance, start[1] + (end[1] - start[1]) / length * distance)
