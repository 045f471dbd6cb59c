"""The timeline as inline SVG: who answered how many requests, how long they took, what failed; stages and switches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from loadtest.measure import Bucket
from loadtest.timeline import Rollout, Stage, Switch

WIDTH = 1600
LEFT, RIGHT = 92, 24
TOP = 64  # stage names
FLAGS = 40  # one row of switch labels
PANELS = {"rate": 300, "latency": 200, "failed": 84}
GAP = 58
# From the first to the last to be cut out of the monolith; anything else comes after.
ORDER = ("monolith", "users", "topics", "messages", "web")
_LATENCY_TITLE = (
    'latency in ms: <tspan class="word95">95 of 100 are faster</tspan>, <tspan class="word50">half are faster</tspan>'
)


@dataclass(frozen=True)
class Frame:
    """Seconds since the load began to x, and the heights of the panels."""

    began: float
    ended: float
    width: float  # of a bucket
    flags: int

    def x(self, t: float) -> float:
        share = (t - self.began) / (self.ended - self.began)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def middle(self, bucket: int) -> float:
        return self.x(self.began + (bucket + 0.5) * self.width)

    def top(self, panel: str) -> float:
        above = list(PANELS)[: list(PANELS).index(panel)]
        return TOP + self.flags * FLAGS + 44 + sum(PANELS[name] + GAP for name in above)

    def bottom(self, panel: str) -> float:
        return self.top(panel) + PANELS[panel]

    @property
    def height(self) -> float:
        return self.bottom("failed") + 52


def nice_ceiling(value: float) -> float:
    """The next number above that a person would put on an axis."""
    if value <= 0:
        return 1.0
    step = 10.0 ** math.floor(math.log10(value))
    return float(next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * factor >= value))


def site_order(buckets: Sequence[Bucket]) -> list[str]:
    total: Counter[str] = Counter()
    for bucket in buckets:
        total.update(bucket.sites)
    return sorted(total, key=lambda site: (ORDER.index(site) if site in ORDER else len(ORDER), site))


def colour(site: str) -> str:
    return site if site in ORDER else "other"


def draw(
    buckets: Sequence[Bucket], width: float, stages: Sequence[Stage], switches: Sequence[Switch],
    rollouts: Sequence[Rollout] = (),
) -> str:  # fmt: skip
    """The whole picture. Colours are CSS classes, so that the page decides on light and dark."""
    began, ended = stages[0].began, stages[-1].ended
    lanes = _lanes(switches, began, ended)
    frame = Frame(began, ended, width, max(lanes, default=-1) + 1)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {frame.height:.0f}" role="img" aria-label="Requests per second by who answered, '
        f'latency and failures over the time of the load, with stages and switches">',
        *_stage_bands(frame, stages),
        *_rate(frame, buckets, width),
        *_latency(frame, buckets),
        *_failed(frame, buckets),
        *_switch_marks(frame, switches, lanes),
        *_rollouts(frame, rollouts),
        *_time_axis(frame),
        f'<line id="cursor" class="cursor" y1="{TOP}" y2="{frame.bottom("failed"):.0f}" x1="-9" x2="-9"/>',
        "</svg>",
    ]
    return "\n".join(parts)


def _lanes(switches: Sequence[Switch], began: float, ended: float) -> list[int]:
    """A row for each switch's label, so that labels close together do not cover each other."""
    free: list[float] = []
    lanes = []
    for switch in switches:
        x = (switch.t - began) / (ended - began) * (WIDTH - LEFT - RIGHT)
        wide = _flag_width(switch)
        start = min(x, WIDTH - LEFT - RIGHT - wide)
        lane = next((n for n, until in enumerate(free) if until <= start), len(free))
        free[lane : lane + 1] = [start + wide + 8]
        lanes.append(lane)
    return lanes


def _flag(switch: Switch) -> str:
    return f"{switch.title} · {switch.pause_ms:.0f} ms"


def _flag_width(switch: Switch) -> float:
    """Room for the label in the widest of the fonts that the page may get."""
    return 13.4 * len(_flag(switch)) + 24


def _stage_bands(frame: Frame, stages: Sequence[Stage]) -> list[str]:
    parts = []
    for number, stage in enumerate(stages):
        left, right = frame.x(stage.began), frame.x(stage.ended)
        title = escape(stage.title)
        parts.append(
            f'<rect class="band band{number % 2}" x="{left:.1f}" y="0" width="{right - left:.1f}" '
            f'height="{frame.bottom("failed"):.1f}"><title>{title}</title></rect>'
        )
        if stage.done is not None and stage.done > stage.began:
            parts.append(
                f'<rect class="moving" x="{left:.1f}" y="{TOP - 8}" height="8" '
                f'width="{frame.x(stage.done) - left:.1f}">'
                f"<title>{title}: moving for {stage.done - stage.began:.1f} s</title></rect>"
            )
        room = int((right - left - 12) / 15.5)
        arrow = "← " if stage.direction == "back" else ""
        for text in (stage.title, arrow + stage.name, arrow + stage.name.partition("-")[0]):
            if len(text) <= room:
                parts.append(f'<text class="stage" x="{left + 10:.1f}" y="38">{escape(text)}</text>')
                break
    return parts


def _rollouts(frame: Frame, rollouts: Sequence[Rollout]) -> list[str]:
    """A bar for each, under the picture."""
    how = {True: "done", False: "back", None: "open"}
    return [
        f'<rect class="rollout {how[one.done]}" x="{frame.x(one.began):.1f}" y="{frame.bottom("failed") + 5:.1f}" '
        f'height="10" width="{max(3.0, frame.x(one.ended) - frame.x(one.began)):.1f}">'
        f"<title>{escape(one.title)}</title></rect>"
        for one in rollouts
    ]


def _panel(frame: Frame, panel: str, title: str, highest: float | None) -> list[str]:
    """Its heading and its scale; without a scale where `highest` is None."""
    parts = [f'<text class="heading" x="{LEFT}" y="{frame.top(panel) - 14:.1f}">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = frame.bottom(panel) - share * PANELS[panel]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if highest is not None:
            parts.append(f'<text class="tick" x="{LEFT - 12}" y="{y + 7:.1f}">{_number(highest * share)}</text>')
    return parts


def _rate(frame: Frame, buckets: Sequence[Bucket], width: float) -> list[str]:
    highest = nice_ceiling(max(bucket.requests for bucket in buckets) / width)
    parts = _panel(frame, "rate", "requests per second, by who answered", highest)
    base, scale = frame.bottom("rate"), PANELS["rate"] / highest / width
    below = [0.0] * len(buckets)
    for site in site_order(buckets):
        above = [low + bucket.sites.get(site, 0) for low, bucket in zip(below, buckets, strict=True)]
        there = [f"{frame.middle(n):.1f},{base - value * scale:.1f}" for n, value in enumerate(above)]
        back = [f"{frame.middle(n):.1f},{base - value * scale:.1f}" for n, value in enumerate(below)][::-1]
        parts.append(
            f'<polygon class="site-{colour(site)}" points="{" ".join(there + back)}">'
            f"<title>{escape(site)}</title></polygon>"
        )
        below = above
    return parts


def _latency(frame: Frame, buckets: Sequence[Bucket]) -> list[str]:
    """p95 and p50. One slow second must not flatten the rest: the axis ends near the 98th percentile of the p95s."""
    values = sorted(bucket.p95 for bucket in buckets if bucket.p95 is not None)
    highest = nice_ceiling(values[int(len(values) * 0.98)] * 1.25 if values else 1.0)
    parts = _panel(frame, "latency", _LATENCY_TITLE, highest)
    base, scale = frame.bottom("latency"), PANELS["latency"] / highest
    for name in ("p50", "p95"):
        runs: list[list[str]] = [[]]
        for n, bucket in enumerate(buckets):
            value = bucket.p50 if name == "p50" else bucket.p95
            if value is None:
                runs.append([])
                continue
            runs[-1].append(f"{frame.middle(n):.1f},{base - min(value, highest) * scale:.1f}")
            if value > highest and name == "p95":
                x = frame.middle(n)
                parts.append(
                    f'<path class="beyond" d="M{x - 7:.1f},{frame.top("latency") + 12:.1f} l7,-12 l7,12 z">'
                    f"<title>{value:.0f} ms</title></path>"
                )
        parts += [f'<polyline class="{name}" points="{" ".join(run)}"/>' for run in runs if run]
    return parts


def _failed(frame: Frame, buckets: Sequence[Bucket]) -> list[str]:
    most = max(bucket.failed for bucket in buckets)
    if not most:
        return _panel(frame, "failed", "failed requests: none", None)
    highest = nice_ceiling(max(4, most))
    parts = _panel(frame, "failed", "failed requests", highest)
    scale = PANELS["failed"] / highest
    wide = max(4.0, frame.middle(1) - frame.middle(0) - 1)
    for n, bucket in enumerate(buckets):
        if bucket.failed:
            high = max(6.0, bucket.failed * scale)
            parts.append(
                f'<rect class="failure" x="{frame.middle(n) - wide / 2:.1f}" y="{frame.bottom("failed") - high:.1f}" '
                f'width="{wide:.1f}" height="{high:.1f}"><title>{bucket.failed} failed</title></rect>'
            )
    return parts


def _switch_marks(frame: Frame, switches: Sequence[Switch], lanes: Sequence[int]) -> list[str]:
    parts = []
    for switch, lane in zip(switches, lanes, strict=True):
        x, y, text = frame.x(switch.t), TOP + lane * FLAGS + 2, _flag(switch)
        wide = _flag_width(switch)
        left = min(x, WIDTH - RIGHT - wide)
        parts.append(
            f'<g class="switch"><line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{frame.bottom("failed"):.1f}"/>'
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{FLAGS - 6}" rx="4"/>'
            f'<text x="{left + 10:.1f}" y="{y + 25:.1f}">{escape(text)}</text></g>'
        )
    return parts


def _time_axis(frame: Frame) -> list[str]:
    seconds = frame.ended - frame.began
    step = next(s for s in (5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 86400) if seconds / s <= 12)
    y = frame.bottom("failed") + 34
    return [
        f'<text class="time" x="{frame.x(frame.began + at):.1f}" y="{y:.1f}">{_clock(at)}</text>'
        for at in range(0, int(seconds - step * 0.3) + 1, step)
    ]


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
