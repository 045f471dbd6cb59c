"""The ties between modules: one finding for each thing that reaches over the line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from strangler.analyze.catalogue import Catalogue, tables_behind
from strangler.analyze.recording import Recording

if TYPE_CHECKING:
    from strangler.analyze.tables import Name, Uses

KINDS = ("foreign key", "join", "transaction", "trigger", "view", "function", "sequence")
"""In the order in which they are shown. A join is a statement that names tables of several modules."""


@dataclass(frozen=True)
class Finding:
    kind: str
    """One of KINDS."""
    what: str
    """A name and what it does, or the statements."""
    modules: dict[str, list[str]]
    """The tables it touches, by module."""
    needs: tuple[tuple[str, str], ...] = ()
    """(a, b): module a cannot work without b's tables. Empty when the tie has no direction."""
    count: int | None = None
    """How often it ran while recorded; None for what is in the catalogue."""
    places: dict[str, int] = field(default_factory=dict)
    """Counts by place in the code."""
    guess: bool = False
    """Found by the names in a function's source text."""

    def pairs(self) -> Iterator[tuple[str, str]]:
        """The two modules of each tie, by name."""
        if self.needs:
            yield from sorted({(min(pair), max(pair)) for pair in self.needs})
        else:
            yield from combinations(sorted(self.modules), 2)


@dataclass
class Seams:
    findings: list[Finding]
    unknown_tables: dict[str, int] = field(default_factory=dict)
    """Names in recorded statements that the database does not have, with how often they ran."""
    not_understood: dict[str, str] = field(default_factory=dict)
    """Recorded statements that the parser does not take, with what it says."""
    schema_changes: int = 0
    """Recorded statements that change the schema; they are not ties."""
    rolled_back: int = 0
    """Transactions that wrote several modules but were rolled back, and so are not counted."""


def find(catalogue: Catalogue, recording: Recording | None, rolled_back: bool = False) -> Seams:
    """Every tie, those of the catalogue first. `rolled_back`: transactions that were rolled back count too."""
    seams = Seams([*_foreign_keys(catalogue), *_triggers(catalogue), *_views(catalogue), *_functions(catalogue),
                   *_sequences(catalogue)])  # fmt: skip
    if recording is not None:
        _Recorded(catalogue, recording, seams).find(rolled_back)
    seams.findings.sort(key=lambda one: (KINDS.index(one.kind), -(one.count or 0), one.what))
    return seams


def _foreign_keys(catalogue: Catalogue) -> Iterator[Finding]:
    for row in catalogue.foreign_keys:
        modules = catalogue.modules_of([row["table"], row["referenced"]])
        if len(modules) > 1:
            ends = (catalogue.module_of(row["table"]) or "", catalogue.module_of(row["referenced"]) or "")
            yield Finding("foreign key", f"{row['table']}: {row['name']} {row['definition']}", modules, (ends,))


def _triggers(catalogue: Catalogue) -> Iterator[Finding]:
    functions = {one.signature: one for one in catalogue.functions}
    for row in catalogue.triggers:
        function = functions.get(row["function"])
        home = catalogue.module_of(row["table"])
        if function is None or home is None:
            continue
        modules = catalogue.modules_of({row["table"], *tables_behind(catalogue, function.tables)})
        needs = tuple((home, other) for other in modules if other != home)
        if needs:
            what = f"{row['table']}: {row['name']} runs {row['function']}"
            yield Finding("trigger", what, modules, needs, guess=function.guess)


def _views(catalogue: Catalogue) -> Iterator[Finding]:
    for name in filter(catalogue.is_view, catalogue.kinds):
        modules = catalogue.modules_of(catalogue.base_tables(name))
        if len(modules) > 1:
            kind = "materialized view" if catalogue.kinds[name] == "m" else "view"
            yield Finding("view", f"{kind} {name}", modules)


def _functions(catalogue: Catalogue) -> Iterator[Finding]:
    for function in catalogue.functions:
        modules = catalogue.modules_of(tables_behind(catalogue, function.tables))
        if len(modules) > 1:
            yield Finding("function", f"function {function.signature}", modules, guess=function.guess)


def _sequences(catalogue: Catalogue) -> Iterator[Finding]:
    for name, tables in sorted(catalogue.sequence_uses.items()):
        modules = catalogue.modules_of(tables)
        if len(modules) > 1:
            yield Finding("sequence", f"sequence {name}", modules)


@dataclass
class _Touched:
    """What a recorded statement does, as tables of the catalogue."""

    text: str
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    """Locked rows count: a lock does not reach into another database either."""
    guess: bool = False


class _Recorded:
    """The ties that the application makes by what it runs."""

    def __init__(self, catalogue: Catalogue, recording: Recording, seams: Seams) -> None:
        self.catalogue = catalogue
        self.recording = recording
        self.seams = seams
        self.touched: dict[str, _Touched] = {}
        self.functions = {
            one.name.lower(): one
            for one in catalogue.functions
            if catalogue.modules_of(tables_behind(catalogue, one.tables))
        }

    def find(self, rolled_back: bool) -> None:
        from strangler.analyze.tables import NotUnderstoodError, uses_of

        runs: Counter[str] = Counter()
        for (number, _), count in self.recording.ran.items():
            runs[number] += count
        for number, text in self.recording.statements.items():
            try:
                uses = uses_of(text)
            except NotUnderstoodError as error:
                self.seams.not_understood[text] = str(error)
                continue
            if uses is None:
                self.seams.schema_changes += 1
            else:
                self.touched[number] = self._touched(text, uses, runs[number])
        self.seams.findings += [*self._joins(), *self._transactions(rolled_back)]

    def _touched(self, text: str, uses: Uses, runs: int) -> _Touched:
        one = _Touched(text, self._tables(uses.reads, runs), self._tables(uses.writes | uses.locks, runs))
        for function in filter(None, map(self.functions.get, uses.functions)):
            one.reads |= tables_behind(self.catalogue, function.tables)
            one.guess |= function.guess
        return one

    def _tables(self, names: Iterable[Name], runs: int) -> set[str]:
        found: set[str] = set()
        for schema, name in names:
            if schema in ("pg_catalog", "information_schema", "strangler") or name.startswith("pg_"):
                continue
            relation = self.catalogue.resolve(schema, name)
            if relation is None:
                called = f"{schema}.{name}" if schema else name
                self.seams.unknown_tables[called] = self.seams.unknown_tables.get(called, 0) + runs
            else:
                found |= self.catalogue.base_tables(relation)
        return found

    def _joins(self) -> Iterator[Finding]:
        places: dict[str, dict[str, int]] = {}
        for (number, place), count in self.recording.ran.items():
            places.setdefault(number, {})[place] = count
        for number, one in self.touched.items():
            modules = self.catalogue.modules_of(one.reads | one.writes)
            if len(modules) > 1 and number in places:
                written = self.catalogue.modules_of(one.writes)
                needs = tuple((a, b) for a in written for b in modules if b not in written)
                if len(written) > 1:
                    needs = ()  # each needs the other
                found = _most(places[number])
                yield Finding("join", one.text, modules, needs, sum(found.values()), found, one.guess)

    def _transactions(self, rolled_back: bool) -> Iterator[Finding]:
        """Those that write several modules, as one where they write by the same statements."""
        kinds: Counter[frozenset[tuple[str, str]]] = Counter()
        for (uses, end), count in self.recording.transactions.items():
            writing = frozenset(use for use in uses if use[0] in self.touched and self._written([use]))
            if len(self._written(writing)) > 1:
                if end == "commit" or rolled_back:
                    kinds[writing] += count
                else:
                    self.seams.rolled_back += count
        same: dict[str, list[tuple[frozenset[tuple[str, str]], int]]] = {}
        for writing, count in kinds.items():
            text = ";\n".join(sorted({self.touched[number].text for number, _ in writing}))
            same.setdefault(text, []).append((writing, count))
        for text, variants in same.items():
            modules = self._written(variants[0][0])
            places: Counter[str] = Counter()
            for writing, count in variants:
                places.update(dict.fromkeys((place for _, place in writing), count))
            yield Finding("transaction", text, modules, (), sum(count for _, count in variants), _most(places))

    def _written(self, uses: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
        """The tables that these statements write or lock, by module."""
        return self.catalogue.modules_of(set().union(*(self.touched[number].writes for number, _ in uses)))


def _most(places: dict[str, int]) -> dict[str, int]:
    return dict(sorted(places.items(), key=lambda item: (-item[1], item[0])))
