"""What the catalogue of the source database says: which tables there are, and what ties them together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from strangler.config import Config
from strangler.database import Database

NO_MODULE = "(no module)"
"""Stands for the tables that no module of strangler.toml has."""


@dataclass(frozen=True)
class Function:
    signature: str
    name: str
    tables: tuple[str, ...]
    guess: bool
    """The tables were found by looking for their names in the source text, not by the catalogue."""


@dataclass
class Catalogue:
    """The source database of the modules, names as `schema.name`."""

    modules: dict[str, list[str]]
    """Tables by module, as strangler.toml has them."""
    everywhere: frozenset[str]
    search_path: list[str]
    kinds: dict[str, str]
    """pg_class.relkind by name."""
    roots: dict[str, str] = field(default_factory=dict)
    """The partitioned table of each partition."""
    foreign_keys: list[dict[str, Any]] = field(default_factory=list)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    view_uses: dict[str, set[str]] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    sequence_uses: dict[str, set[str]] = field(default_factory=dict)

    @cached_property
    def _owners(self) -> dict[str, str]:
        return {table: module for module, tables in self.modules.items() for table in tables}

    @cached_property
    def _schemas(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.kinds:
            schema, _, table = name.partition(".")
            found.setdefault(table, []).append(schema)
        return found

    def module_of(self, table: str) -> str | None:
        """The module of a table, NO_MODULE, or None for what every database has for itself."""
        table = self.roots.get(table, table)
        return None if table in self.everywhere else self._owners.get(table, NO_MODULE)

    def modules_of(self, tables: Iterable[str]) -> dict[str, list[str]]:
        """Tables by module, in order, without those that every database has for itself."""
        found: dict[str, list[str]] = {}
        for table in sorted(set(tables)):
            if (module := self.module_of(table)) is not None:
                found.setdefault(module, []).append(table)
        return dict(sorted(found.items()))

    def resolve(self, schema: str | None, name: str) -> str | None:
        """The relation that a statement means; without a schema by the search path, else the only one of that name."""
        if schema is not None:
            return f"{schema}.{name}" if f"{schema}.{name}" in self.kinds else None
        for place in self.search_path:
            if f"{place}.{name}" in self.kinds:
                return f"{place}.{name}"
        schemas = self._schemas.get(name, [])
        return f"{schemas[0]}.{name}" if len(schemas) == 1 else None

    def is_view(self, relation: str) -> bool:
        return self.kinds.get(relation) in ("v", "m")

    def base_tables(self, relation: str) -> set[str]:
        """The tables behind a view, through other views too; of a table, itself."""
        found: set[str] = set()
        seen: set[str] = set()
        todo = [relation]
        while todo:
            one = todo.pop()
            if one in seen:
                continue
            seen.add(one)
            if self.is_view(one):
                todo.extend(self.view_uses.get(one, ()))
            else:
                found.add(one)
        return found

    def without_module(self) -> list[str]:
        """Tables that belong to no module and are not said to be everywhere."""
        return [
            name
            for name, kind in self.kinds.items()
            if kind in ("r", "p", "f") and name not in self.roots and self.module_of(name) == NO_MODULE
        ]

    def missing(self) -> list[str]:
        """Tables of strangler.toml that the database does not have."""
        return sorted(name for name in self._owners if name not in self.kinds)


def read(database: Database, config: Config) -> Catalogue:
    """The catalogue of a source database. Changes nothing in it."""
    relations = database.run("relations")
    catalogue = Catalogue(
        modules={m.name: list(m.tables) for m in config.modules.values() if m.source == database.site},
        everywhere=frozenset(config.analyze.everywhere),
        search_path=database.value("search_path"),
        kinds={row["name"]: row["kind"] for row in relations},
        roots={row["name"]: row["root"] for row in relations if row["root"]},
        foreign_keys=database.run("foreign_keys"),
        triggers=[row for row in database.run("triggers") if not row["function"].startswith("strangler.")],
        view_uses=_grouped(database.run("view_uses"), "uses"),
        sequence_uses=_grouped(database.run("sequence_uses"), "table"),
    )
    for row in database.run("functions"):
        tables = row["uses"] if row["known"] else named_in(row["source"], catalogue)
        catalogue.functions.append(Function(row["signature"], row["name"], tuple(tables), not row["known"]))
    return catalogue


def _grouped(rows: Iterable[dict[str, Any]], column: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["name"], set()).add(row[column])
    return found


_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_NAME = re.compile(rf"({_WORD})(?:\s*\.\s*({_WORD}))?")


def named_in(source: str, catalogue: Catalogue) -> list[str]:
    """Relations whose names are words of a function's source text: a guess. A column may be called like a table.

    Comments don't count; strings do, since EXECUTE runs them.
    """
    found: set[str] = set()
    for first, second in _NAME.findall(_COMMENT.sub(" ", source)):
        one, two = _fold(first), _fold(second)
        relation = catalogue.resolve(one, two) if two else None
        if relation := relation or catalogue.resolve(None, one):  # `items.id`: a table and its column
            found.add(relation)
    return sorted(found)


def _fold(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()


def tables_behind(catalogue: Catalogue, relations: Collection[str]) -> set[str]:
    """The base tables of all these relations."""
    return set().union(*(catalogue.base_tables(one) for one in relations))
