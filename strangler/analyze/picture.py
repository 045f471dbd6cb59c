"""Modules as nodes on a ring, ties as edges between them: an SVG drawing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from strangler.analyze.catalogue import NO_MODULE
from strangler.analyze.report import Report
from strangler.analyze.seams import Finding

KIND_CLASS = {
    "foreign key": "fk", "join": "join", "transaction": "tx", "trigger": "other", "view": "other", "function": "other",
    "sequence": "other",
}  # fmt: skip
WIDTH = 1100
Point = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A box around its middle."""

    name: str
    x: float
    y: float
    scale: float
    """1 where there is room, less where there are many."""

    @property
    def letters(self) -> float:
        """The size of the name's."""
        return self.scale * min(25.0, 260 / (0.64 * len(self.name)))

    @property
    def width(self) -> float:
        return max(195.0 * self.scale, 0.64 * self.letters * len(self.name) + 36 * self.scale)

    @property
    def height(self) -> float:
        return 76.0 * self.scale

    def edge_towards(self, point: Point) -> Point:
        """Just outside the box, on the way to a point."""
        dx, dy = point[0] - self.x, point[1] - self.y
        share = min(
            (self.width / 2 + 4) / abs(dx) if dx else math.inf, (self.height / 2 + 4) / abs(dy) if dy else math.inf, 1.0
        )
        return (self.x + dx * share, self.y + dy * share)


def picture(report: Report) -> str:
    """Each colour is a kind of tie; an arrow leads from the module that needs to the one that is needed."""
    many = len(report.nodes)
    height = 300 if many < 3 else 600 + 60 * max(0, many - 6)
    nodes = {node.name: node for node in _ring(report.nodes, height)}
    middle = (WIDTH / 2, height / 2)
    drawn = [_edges(nodes[pair[0]], nodes[pair[1]], findings, middle) for pair, findings in report.pairs().items()]
    lines, counts = ("".join(part) for part in zip(*drawn, strict=True)) if drawn else ("", "")
    turns = {step.module: number for number, step in enumerate(report.order, 1)}
    boxes = "".join(_node(node, report, turns.get(node.name)) for node in nodes.values())
    markers = "".join(
        f'<marker id="to-{kind}" class="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="15" '
        'markerHeight="15" markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        '<path class="head" d="M0 0L10 5L0 10z"/></marker>'
        for kind in sorted(set(KIND_CLASS.values()))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Modules and the ties between them">'
        f"<defs>{markers}</defs>{lines}{boxes}{counts}</svg>"
    )


def _ring(names: list[str], height: float) -> Iterator[Node]:
    """On an ellipse that fills the drawing, whatever their number."""
    start = math.pi if len(names) == 2 else -math.pi / 2
    angles = [start + 2 * math.pi * number / len(names) for number in range(len(names))]
    rises = [math.sin(angle) for angle in angles]
    low, high = min(rises, default=0.0), max(rises, default=0.0)
    for name, angle, rise in zip(names, angles, rises, strict=True):
        x = WIDTH / 2 + math.cos(angle) * (WIDTH / 2 - 170)
        y = 55 + (rise - low) / (high - low) * (height - 110) if high - low > 0.1 else height / 2
        yield Node(name, x, y, max(0.65, min(1.0, 8 / len(names))))


def _node(node: Node, report: Report, turn: int | None) -> str:
    tables = report.catalogue.modules.get(node.name) or report.catalogue.without_module()
    under = f"{len(tables)} table{'' if len(tables) == 1 else 's'}" + (f", moves {_ordinal(turn)}" if turn else "")
    return (
        f'<g class="{"node none" if node.name == NO_MODULE else "node"}">'
        f"<title>{escape(f'{node.name}: ' + ', '.join(tables))}</title>"
        f'<rect x="{node.x - node.width / 2:.1f}" y="{node.y - node.height / 2:.1f}" width="{node.width:.1f}" '
        f'height="{node.height:.1f}" rx="18"/>'
        f'<text class="name" x="{node.x:.1f}" y="{node.y - 4 * node.scale:.1f}" '
        f'font-size="{node.letters:.1f}">{escape(node.name)}</text>'
        f'<text class="under" x="{node.x:.1f}" y="{node.y + 22 * node.scale:.1f}" '
        f'font-size="{16 * node.scale:.1f}">{under}</text></g>'
    )


def _ordinal(number: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def _edges(one: Node, other: Node, findings: list[Finding], centre: Point) -> tuple[str, str]:
    """The curves of all kinds of ties of two modules, and the counts that belong on top of everything."""
    kinds = Counter(KIND_CLASS[finding.kind] for finding in findings)
    lines, counts = "", ""
    for number, (kind, count) in enumerate(sorted(kinds.items())):
        offset = (number - (len(kinds) - 1) / 2) * 92
        start, control, end = _curve(one, other, offset, centre)
        x, y = (start[at] / 4 + control[at] / 2 + end[at] / 4 for at in (0, 1))
        needs = {pair for finding in findings if KIND_CLASS[finding.kind] == kind for pair in finding.needs}
        arrows = f' marker-start="url(#to-{kind})"' if (other.name, one.name) in needs else ""
        arrows += f' marker-end="url(#to-{kind})"' if (one.name, other.name) in needs else ""
        lines += (
            f'<g class="edge {kind}"><path d="M{start[0]:.1f} {start[1]:.1f}Q{control[0]:.1f} {control[1]:.1f} '
            f'{end[0]:.1f} {end[1]:.1f}" stroke-width="{2.5 + min(6.0, math.log2(count) * 1.4):.1f}"{arrows}/></g>'
        )
        counts += (
            f'<g class="edge {kind}"><circle cx="{x:.1f}" cy="{y:.1f}" r="{17 * one.scale:.1f}"/>'
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{19 * one.scale:.1f}">{count}</text></g>'
        )
    return lines, counts


def _curve(one: Node, other: Node, offset: float, centre: Point) -> tuple[Point, Point, Point]:
    """Start, control point and end: beside the straight line by half of `offset`.

    Where there are many nodes it bends towards the centre, away from the nodes between.
    """
    dx, dy = other.x - one.x, other.y - one.y
    length = math.hypot(dx, dy)
    pull = (1 - one.scale) * 1.5
    middle = ((one.x + other.x) / 2, (one.y + other.y) / 2)
    control = (
        middle[0] + (centre[0] - middle[0]) * pull - dy / length * offset,
        middle[1] + (centre[1] - middle[1]) * pull + dx / length * offset,
    )
    return one.edge_towards(control), control, other.edge_towards(control)
