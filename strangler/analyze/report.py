"""All that was found, in one piece, for the terminal, for programs and for the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from strangler.analyze.catalogue import NO_MODULE, Catalogue
from strangler.analyze.order import Step, cycles, order
from strangler.analyze.recording import Recording
from strangler.analyze.seams import Finding, Seams


@dataclass
class Report:
    site: str
    catalogue: Catalogue
    recording: Recording | None
    seams: Seams

    def __post_init__(self) -> None:
        modules = sorted(self.catalogue.modules)
        self.order: list[Step] = order(modules, self.seams.findings)
        self.cycles: list[list[str]] = cycles(modules, self.seams.findings)
        tied = any(NO_MODULE in pair for one in self.seams.findings for pair in one.pairs())
        self.nodes: list[str] = [*modules, NO_MODULE] if tied else modules

    def between(self, one: str, other: str) -> list[Finding]:
        """The ties of two modules, in either direction."""
        pair = (min(one, other), max(one, other))
        return [finding for finding in self.seams.findings if pair in finding.pairs()]

    def pairs(self) -> dict[tuple[str, str], list[Finding]]:
        """All pairs of modules that have ties."""
        found: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.seams.findings:
            for pair in finding.pairs():
                found.setdefault(pair, []).append(finding)
        return dict(sorted(found.items()))

    def cell(self, row: str, column: str) -> Counter[str]:
        """Ties by kind: those by which `row` needs `column`, and those without a direction."""
        return Counter(
            one.kind
            for one in self.between(row, column)
            if (row, column) in one.needs or (not one.needs and row in one.modules and column in one.modules)
        )

    def chain(self, group: list[str]) -> str:
        """The ties that make a cycle, as `a needs b, b needs a`."""
        needs = {pair for one in self.seams.findings for pair in one.needs if set(pair) <= set(group)}
        return ", ".join(f"{a} needs {b}" for a, b in sorted(needs))

    def notes(self) -> list[str]:
        """What a reader must know of what was not seen."""
        found = [f"{name} is in strangler.toml but not in the database" for name in self.catalogue.missing()]
        if tables := self.catalogue.without_module():
            found.append(
                f"{len(tables)} tables belong to no module: {', '.join(tables)}; give each a module, or name it in "
                "[analyze] everywhere if every database has one of its own"
            )
        if self.recording is None:
            found.append("no recording: joins and transactions of the application are not known")
            return found
        if self.recording.bad_lines:
            found.append(f"{self.recording.bad_lines} lines of the recording are broken and left out")
        if nameless := self.recording.nameless():
            found.append(f"{nameless} runs of statements whose text is missing from the recording are left out")
        if self.recording.cut:
            found.append(f"{self.recording.cut} transactions had more statements than the recorder keeps")
        if self.seams.rolled_back:
            found.append(
                f"{self.seams.rolled_back} transactions that wrote several modules were rolled back and are not "
                "counted; tests that never commit need --rolled-back"
            )
        if self.seams.schema_changes:
            found.append(f"{self.seams.schema_changes} recorded statements change the schema and are left out")
        for name, count in sorted(self.seams.unknown_tables.items()):
            found.append(f"the recording names {name} ({count} times), which the database does not have")
        for text, why in sorted(self.seams.not_understood.items()):
            found.append(f"not understood ({why}): {' '.join(text.split())[:200]}")
        return found

    def data(self) -> dict[str, Any]:
        """For programs."""
        recording = self.recording and {
            "statements": len(self.recording.statements),
            "runs": sum(self.recording.ran.values()),
            "transactions": sum(self.recording.transactions.values()),
            "bad_lines": self.recording.bad_lines,
            "rolled_back_not_counted": self.seams.rolled_back,
            "unknown_tables": self.seams.unknown_tables,
            "not_understood": self.seams.not_understood,
        }
        return {
            "site": self.site,
            "modules": self.catalogue.modules,
            "matrix": {a: {b: dict(self.cell(a, b)) for b in self.nodes if b != a} for a in self.nodes},
            "order": [asdict(step) for step in self.order],
            "cycles": self.cycles,
            "findings": [asdict(one) for one in self.seams.findings],
            "tables_without_module": self.catalogue.without_module(),
            "tables_missing": self.catalogue.missing(),
            "recording": recording,
            "notes": self.notes(),
        }
