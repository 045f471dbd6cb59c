"""One rollout as an SVG that stands alone: requests by version, what failed or was wrong, instances."""

from __future__ import annotations

from html import escape

from loadtest.chart import nice_ceiling
from loadtest.rollouts.measure import NOBODY, WIDTH, Measured, Run
from loadtest.rollouts.target import NEW, OLD

WIDE, LEFT, RIGHT = 960, 60, 16
TOP, LANE, LANES = 66, 20, 3
RATE, BAD, INSTANCES, GAP = 190, 46, 44, 34

STYLE = """
:root { color-scheme: light dark; }
svg { font: 14px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.paper { fill: #ffffff; } .ink { fill: #16191d; } .soft { fill: #59626d; } .grid { stroke: #dfe3e8; }
.v1 { fill: #9aa3ae; } .v2 { fill: #2f6fdb; } .nobody { fill: #f0b4ae; } .failed { fill: #c4231c; }
.wrong { fill: #a81d9a; } .mark { stroke: #16191d; stroke-dasharray: 4 4; }
.title { font-size: 18px; font-weight: 650; }
.good { fill: #0b7a4b; } .bad { fill: #c4231c; } .end { text-anchor: end; }
.label { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #14171b; } .ink { fill: #f1f3f5; } .soft { fill: #a3acb7; } .grid { stroke: #333a43; }
  .v1 { fill: #78828e; } .v2 { fill: #5b95f5; } .nobody { fill: #6b3733; } .failed { fill: #ff7a70; }
  .wrong { fill: #f08be4; } .mark { stroke: #f1f3f5; } .good { fill: #4fce95; } .bad { fill: #ff7a70; }
  .label { stroke: #14171b; }
}
"""


class Picture:
    def __init__(self, run: Run, found: Measured) -> None:
        self.run, self.found = run, found
        self.rate_top = TOP + LANES * LANE
        self.rate_bottom = self.rate_top + RATE
        self.bad_bottom = self.rate_bottom + GAP + BAD
        self.instances_bottom = self.bad_bottom + GAP + INSTANCES
        self.high = self.instances_bottom + 34

    def x(self, t: float) -> float:
        share = (t - self.run.began) / max(1.0, self.run.until - self.run.began)
        return LEFT + min(1.0, max(0.0, share)) * (WIDE - LEFT - RIGHT)

    def draw(self) -> str:
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {self.high}" role="img" '
            f'aria-label="{escape(self._headline())}">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDE}" height="{self.high}"/>',
            *self._heading(), *self._rate(), *self._bad(), *self._instances(), *self._marks(), *self._axis(), "</svg>",
        ]) + "\n"  # fmt: skip

    def _headline(self) -> str:
        run = self.run
        how = "done" if run.outcome.done else "turned back"
        return f"{run.strategy}, version 2 {run.version}: {how} after {self.found.seconds:.0f} s"

    def _heading(self) -> list[str]:
        right = self.run.outcome.done == (self.run.version == "good")
        return [
            f'<text class="title {"good" if right else "bad"}" x="{LEFT}" y="26">{escape(self._headline())}</text>',
            f'<text class="soft" x="{LEFT}" y="48">{escape(self.run.outcome.why)} · {self.found.requests} requests, '
            f"{self.found.failed} failed, {self.found.wrong} wrong answers seen by the load</text>",
        ]

    def _panel(self, title: str, top: float, bottom: float) -> list[str]:
        return [
            f'<text class="soft label" x="{LEFT}" y="{top - 7:.0f}">{title}</text>',
            f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{bottom}" y2="{bottom}"/>',
        ]

    def _tick(self, value: float, y: float) -> str:
        return f'<text class="soft end" x="{LEFT - 8}" y="{y + 5:.0f}">{value:g}</text>'

    def _rate(self) -> list[str]:
        series = [self.found.buckets[name] for name in (OLD, NEW, NOBODY) if name in self.found.buckets]
        highest = nice_ceiling(max([sum(column) for column in zip(*series, strict=True)] or [0]) / WIDTH)
        title = ('requests per second about topics, by who answered: <tspan class="v1">■ version 1</tspan> '
                 '<tspan class="v2">■ version 2</tspan> <tspan class="nobody">■ nobody</tspan>')  # fmt: skip
        parts = [*self._panel(title, self.rate_top, self.rate_bottom)]
        parts += [self._tick(highest, self.rate_top + 4), self._tick(0, self.rate_bottom)]
        scale = RATE / highest / WIDTH
        below = [0.0] * (len(series[0]) if series else 0)
        for name in (OLD, NEW, NOBODY):
            if name not in self.found.buckets:
                continue
            above = [low + value for low, value in zip(below, self.found.buckets[name], strict=True)]
            upper = [self._point(n, value * scale) for n, value in enumerate(above)]
            lower = [self._point(n, value * scale) for n, value in enumerate(below)][::-1]
            parts.append(f'<polygon class="{name}" points="{" ".join([*upper, *lower])}"/>')
            below = above
        return parts

    def _point(self, bucket: int, high: float) -> str:
        return f"{self.x(self.run.began + (bucket + 0.5) * WIDTH):.1f},{self.rate_bottom - high:.1f}"

    def _bad(self) -> list[str]:
        top = self.bad_bottom - BAD
        most = max([a + b for a, b in zip(self.found.failures, self.found.wrongs, strict=True)] or [0])
        what = '<tspan class="failed">■ failed</tspan> <tspan class="wrong">■ wrong, as only the ledger knows</tspan>'
        parts = self._panel(f"per half second: {what}" if most else "failed or wrong: none", top, self.bad_bottom)
        if most:
            parts.append(self._tick(most, top + 4))
        wide = self.x(self.run.began + WIDTH) - LEFT - 1
        for n, (failed, wrong) in enumerate(zip(self.found.failures, self.found.wrongs, strict=True)):
            y: float = self.bad_bottom
            for name, value in (("failed", failed), ("wrong", wrong)):
                if value:
                    high = max(3.0, value / most * BAD)
                    y -= high
                    x = self.x(self.run.began + n * WIDTH)
                    parts.append(
                        f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{max(2.0, wide):.1f}" '
                        f'height="{high:.1f}"><title>{value} {name}</title></rect>'
                    )
        return parts

    def _instances(self) -> list[str]:
        top = self.instances_bottom - INSTANCES
        parts = self._panel("instances", top, self.instances_bottom)
        most = max([sum(running.values()) for _, running in self.run.instances] or [1]) or 1
        parts.append(self._tick(most, top + 4))
        following = [*(t for t, _ in self.run.instances), self.run.until][1:]
        for (t, running), until in zip(self.run.instances, following, strict=True):
            y: float = self.instances_bottom
            for name in (OLD, NEW):
                high = running.get(name, 0) / most * INSTANCES
                y -= high
                if high:
                    x = self.x(t)
                    parts.append(
                        f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{self.x(until) - x + 0.3:.1f}" '
                        f'height="{high:.1f}"/>'
                    )
        return parts

    def _marks(self) -> list[str]:
        """A line for each step; the labels in lanes, so that those close together do not cover each other."""
        parts: list[str] = []
        free = [0.0] * LANES
        for t, label in self.run.marks:
            x, wide = self.x(t), 8.2 * len(label) + 10
            start = max(LEFT, min(x + 4, WIDE - RIGHT - wide))
            lane = next((n for n, until in enumerate(free) if until <= start), min(range(LANES), key=free.__getitem__))
            free[lane] = start + wide
            y = TOP + lane * LANE
            parts.append(
                f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 10}" y2="{self.instances_bottom}"/>'
                f'<text class="ink label" x="{start:.1f}" y="{y + 2}">{escape(label)}</text>'
            )
        return parts

    def _axis(self) -> list[str]:
        seconds = self.run.until - self.run.began
        step = 5 if seconds < 60 else 20
        return [
            f'<text class="soft" text-anchor="middle" x="{self.x(self.run.began + at):.1f}" '
            f'y="{self.instances_bottom + 22}">{at} s</text>'
            for at in range(0, int(seconds) + 1, step)
        ]


def draw(run: Run, found: Measured) -> str:
    return Picture(run, found).draw()
