"""What a demo says while it runs: a screen that is read from the back row, or plain lines where there is no screen."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.stages import STAGES

LINES = 8
COUNTS_EVERY_SECONDS = 5.0
COLOURS = {"monolith": "yellow", "users": "cyan", "topics": "green", "messages": "magenta", "web": "blue"}


class Narrator:
    """Prints lines, and between them every few seconds how the load fares (`live.json` of the load test)."""

    def __init__(self, title: str, live_file: Path) -> None:
        self.console = Console(highlight=False)
        self._title = title
        self._live_file = live_file
        self._began = time.monotonic()
        self._stage: int | None = None
        self._switches: list[str] = []

    def __enter__(self) -> Narrator:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()
        self.console.print(self._title)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, line: str) -> None:
        self.console.print(f"[{self.seconds():5.1f} s] {line}", markup=False, soft_wrap=True)

    def at(self, stage: int) -> None:
        """The stack has reached a stage."""
        self._stage = stage

    def switched(self, line: str) -> None:
        self._switches.append(line)

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def counts(self) -> dict[str, Any]:
        """The load test's figures so far; empty before it has any."""
        try:
            found: dict[str, Any] = json.loads(self._live_file.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _count(self) -> None:
        while not self._stop.wait(COUNTS_EVERY_SECONDS):
            if counts := self.counts():
                self.say(_in_words(counts))


def _in_words(counts: dict[str, Any]) -> str:
    return (
        f"    {counts['requests']:,} requests, failed {counts['failed']}, stale {counts['stale']}; "
        f"{counts['rps']:.0f} a second, p95 {counts['p95_ms'] or 0:.0f} ms"
    )


class Screen(Narrator):
    """The same on one screen that is drawn again and again."""

    def __enter__(self) -> Screen:
        self._lines: deque[str] = deque(maxlen=LINES)
        self._live = Live(get_renderable=self._draw, console=self.console, refresh_per_second=4)
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def say(self, line: str) -> None:
        self._lines.append(f"{self.seconds():5.0f} s  {line}")

    def _draw(self) -> RenderableType:
        return Panel(
            Group(self._path(), Text(), self._figures(), Text(), self._answers(), Text(), *self._said()),
            title=f"[bold]{self._title}[/]  {self.seconds():.0f} s",
            padding=(1, 2),
        )

    def _path(self) -> Text:
        path = Text()
        for number, name in enumerate(STAGES):
            if number:
                path.append("  >  ", "dim")
            path.append(f" {name} ", "bold reverse green" if number == self._stage else "")
        return path

    def _figures(self) -> Table:
        counts = self.counts()
        table = Table(box=None, expand=True, show_header=True, header_style="dim", padding=(0, 1))
        for name in ("requests", "failed", "stale", "a second", "p95", "switch pauses"):
            table.add_column(name)
        bad = counts.get("failed", 0) + counts.get("stale", 0)
        table.add_row(
            f"[bold]{counts.get('requests', 0):,}[/]",
            f"[bold {'red' if bad else 'green'}]{counts.get('failed', 0)}[/]",
            f"[bold {'red' if bad else 'green'}]{counts.get('stale', 0)}[/]",
            f"{counts.get('rps') or 0:.0f}",
            f"{counts.get('p95_ms') or 0:.0f} ms",
            "[bold]" + (", ".join(self._switches) or "-") + "[/]",
        )
        return table

    def _answers(self) -> Text:
        """Who answered in the last seconds, as a bar."""
        served: dict[str, int] = self.counts().get("served_by", {})
        total = sum(served.values())
        width = max(20, self.console.width - 30)
        bar = Text("answered by  ")
        for site in sorted(served):
            bar.append("█" * round(width * served[site] / total), COLOURS.get(site, "red"))
        bar.append("\n             ")
        for site in sorted(served):
            bar.append(f"{site} {100 * served[site] / total:.0f} %   ", COLOURS.get(site, "red"))
        return bar

    def _said(self) -> list[Text]:
        lines = [Text(line, "dim", overflow="ellipsis", no_wrap=True) for line in self._lines]
        if lines:
            lines[-1].style = "bold"
        return lines + [Text()] * (LINES - len(lines))


def narrator(title: str, live_file: Path) -> Narrator:
    return (Screen if Console().is_terminal else Narrator)(title, live_file)
