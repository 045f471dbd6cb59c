"""The report on a terminal."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from strangler.analyze.order import counted
from strangler.analyze.report import Report
from strangler.analyze.seams import KINDS, Finding

SHORT = {"foreign key": "fk", "transaction": "tx", "join": "joins", "trigger": "triggers", "view": "views",
         "function": "functions", "sequence": "sequences"}  # fmt: skip
"""What a matrix calls the kinds."""
LONGEST = 300
MOST = 12
"""Findings of two modules and places of a finding that are shown; the rest is in --json and --html."""


def show(report: Report, console: Console) -> None:
    console.print(Text(f"Ties between the modules of {report.site}", style="bold"))
    console.print(_matrix(report))
    console.print(
        Padding(
            Text("A row needs a column, or both use both: fk foreign keys, tx shared transactions.", "dim"),
            (0, 1),
            expand=False,
        )
    )
    for (one, other), findings in report.pairs().items():
        console.print(Text(f"\n{one} and {other}: {counted(findings)}", style="bold"))
        for finding in findings[:MOST]:
            console.print(Padding(_finding(finding), (0, 0, 0, 2), expand=False))
        if len(findings) > MOST:
            console.print(f"  ... and {len(findings) - MOST} more: --json and --html have all", markup=False)
    console.print(Text("\nProposed order", style="bold"))
    for number, step in enumerate(report.order, 1):
        console.print(
            Padding(Text.assemble(f"{number}. ", (step.module, "bold"), f": {step.reason}"), (0, 0, 0, 2), expand=False)
        )
    for group in report.cycles:
        text = f"cycle: {report.chain(group)}; cut a tie before any of them can stand alone"
        console.print(Padding(Text(text, "yellow"), (0, 0, 0, 2), expand=False))
    if notes := report.notes():
        console.print(Text("\nNot seen, or not clear", style="bold"))
        for note in notes:
            console.print(Padding(Text(f"- {note}"), (0, 0, 0, 2), expand=False))


def _matrix(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    table.add_column("")
    for node in report.nodes:
        table.add_column(escape(node))
    for row in report.nodes:
        cells = [
            Text("·", "dim") if row == column else Text(short(report.cell(row, column))) for column in report.nodes
        ]
        table.add_row(Text(row, "bold"), *cells)
    return table


def short(cell: Counter[str]) -> str:
    """`2 fk, 1 join`; nothing for no ties."""
    return ", ".join(some(kind, cell[kind]) for kind in KINDS if cell[kind])


def some(kind: str, count: int) -> str:
    """`1 join`, `2 joins`, `1 fk`."""
    word = SHORT[kind]
    return f"{count} {word.removesuffix('s') if count == 1 else word}"


def _finding(finding: Finding) -> RenderableType:
    times = "" if finding.count is None else f" ({finding.count} times)"
    what = " ".join(finding.what.split())
    what = what if len(what) <= LONGEST else f"{what[: LONGEST // 3]} ... {what[-LONGEST * 2 // 3 :]}"
    guess = " (a guess, by the names in a function's text)" if finding.guess else ""
    first = Text.assemble((f"{finding.kind}{times}{guess}: ", "cyan"), what)
    places = [f"{place} ({count})" for place, count in finding.places.items()]
    if not places:
        return first
    more = f", and {len(places) - MOST} more" if len(places) > MOST else ""
    return Group(first, Padding(Text("at " + ", ".join(places[:MOST]) + more, "dim"), (0, 0, 0, 2), expand=False))
