"""The report as one page: no network, its picture inline, light and dark, readable from the back row."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jinja2

from loadtest.chart import LEFT, RIGHT, WIDTH, colour, draw, site_order
from loadtest.story import Story


def render(story: Story, facts: dict[str, Any]) -> str:
    """`report.html`; `facts` is what `report.json` says, so that both say the same."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["ms"] = _milliseconds
    environment.filters["thousands"] = lambda value: f"{value:,}"
    template = environment.from_string((files("loadtest") / "report.html.j2").read_text())
    buckets = story.measures.buckets
    return template.render(
        facts=facts,
        figures=[(name, facts[name]) for name in ("requests", "failed", "lost", "doubled", "stale")],
        chart=draw(buckets, story.measures.width, story.stages, story.switches, story.rollouts),
        sites=[(site, colour(site)) for site in site_order(buckets)],
        # What the pointer shows: one row per bucket.
        points=json.dumps([[b.requests, b.failed, b.p50, b.p95, b.sites] for b in buckets]).replace("<", "\\u003c"),
        geometry={"width": WIDTH, "left": LEFT, "right": RIGHT, "bucket": story.measures.width,
                  "seconds": story.stages[-1].ended - story.stages[0].began},
    )  # fmt: skip


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
