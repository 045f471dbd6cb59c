"""The table of all runs: in the terminal, as JSON, as Markdown and as one page with the pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.rollouts.measure import Measured, Run, as_json
from loadtest.rollouts.picture import draw
from loadtest.rollouts.strategies import NEVER_UP, NOT_READY, STRATEGIES
from loadtest.rollouts.target import REPLICAS

COLUMNS = (
    "strategy", "version 2", "what came of it", "after", "requests", "failed", "wrong", "longest gap",
    "users who met it",    "extra capacity", "seen?",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    run: Run
    found: Measured
    judged: bool = True

    @property
    def name(self) -> str:
        return f"{self.run.strategy}-{self.run.version}"

    @property
    def surprise(self) -> str | None:
        """What was otherwise than the strategies say of themselves; None: nothing."""
        strategy, run = STRATEGIES[self.run.strategy], self.run
        if not self.judged:
            return None
        if run.outcome.done == (run.version in strategy.sees):
            return f"{self.name}: expected it to be {'turned back' if run.outcome.done else 'done'}; {run.outcome.why}"
        if run.outcome.why == NOT_READY and run.version not in NEVER_UP:
            return f"{self.name}: turned back since it did not get ready in time; the machine was too busy to tell more"
        if run.version == "good" and not strategy.outage and self.found.failed:
            return f"{self.name}: {self.found.failed} requests failed of a good version"
        return None

    @property
    def seen(self) -> str:
        if self.run.version == "good":
            return "-"
        return "NOT SEEN" if self.run.outcome.done else "yes"

    def cells(self) -> list[str]:
        run, found = self.run, self.found
        extra = f"+{found.peak / REPLICAS:.0%}" + (f", {found.mean / REPLICAS:+.0%} on average" if found.peak else "")
        if found.least < REPLICAS:
            extra += f", down to {found.least} of {REPLICAS}"
        return [
            run.strategy, run.version, "done" if run.outcome.done else f"back: {run.outcome.why}",
            f"{found.seconds:.0f} s", str(found.requests), str(found.failed), str(found.wrong), f"{found.gap:.1f} s",
            f"{found.share:.0%}", extra, self.seen,
        ]  # fmt: skip


def note(row: Row, out: Path) -> None:
    """One run's line and picture, as soon as it is over."""
    with (out / "runs.jsonl").open("a") as file:
        file.write(as_json(row.run, row.found) + "\n")
    (out / f"{row.name}.svg").write_text(draw(row.run, row.found))


def report(rows: Sequence[Row], out: Path, figures: dict[str, object], console: Console | None = None) -> None:
    """Write rollouts.json, rollouts.md and rollouts.html into `out`, and print the table."""
    blind = [(name, STRATEGIES[name].blind) for name in dict.fromkeys(row.run.strategy for row in rows)]
    runs = [json.loads(as_json(row.run, row.found)) | {"surprise": row.surprise} for row in rows]
    (out / "rollouts.json").write_text(json.dumps({"load": figures, "runs": runs}, indent=1) + "\n")
    (out / "rollouts.md").write_text(_markdown(rows, blind))
    page = Environment(
        loader=PackageLoader("loadtest.rollouts", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    ).get_template("page.html.j2")  # fmt: skip
    pictures = {row.name: (out / f"{row.name}.svg").name for row in rows}
    html = page.render(columns=COLUMNS, rows=rows, blind=blind, pictures=pictures, figures=figures)
    (out / "rollouts.html").write_text(html)
    console = console or Console(highlight=False)
    console.width = max(console.width, 150)
    table = Table(box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.cells(), style="bold red" if row.seen == "NOT SEEN" else None)
    console.print(table)
    for name, text in blind:
        console.print(f"{name} cannot see {text}.", markup=False, soft_wrap=True)
    for row in rows:
        if row.surprise:
            console.print(f"otherwise than expected: {row.surprise}", markup=False, soft_wrap=True)
    console.print(f"pictures and table: {out / 'rollouts.html'}", markup=False, soft_wrap=True)


def _markdown(rows: Sequence[Row], blind: Sequence[tuple[str, str]]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        name, *rest = row.cells()
        rest[-1] = "**not seen**" if row.seen == "NOT SEEN" else rest[-1]
        lines.append(
            "| " + " | ".join([f"[{name}]({row.name}.svg)", *(cell.replace("|", "/") for cell in rest)]) + " |"
        )
    lines += ["", *(f"- **{name}** cannot see {text}." for name, text in blind)]
    return "\n".join(lines) + "\n"
