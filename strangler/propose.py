"""A first guess at the modules of an application: its routes in groups, and to each group the tables it is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flask import Flask
from werkzeug.routing import Rule

from strangler.analyze.catalogue import Catalogue
from strangler.flask import HEALTH

FORMAL = re.compile(r"api|rest|json|rpc|v\d+(\.\d+)*", re.IGNORECASE)
"""Segments of a path that say nothing of what it is about."""
CATCH_ALL = FORMAL.pattern + r"|app|core|frontend|home|index|main|pages|public|root|routes|site|views|web"
"""Names of blueprints that say as little."""
EVERYWHERE = {"alembic_version"}
"""Tables that every database has for itself."""
SOURCE = "monolith"

Words = tuple[str, ...]


@dataclass
class Group:
    """Routes that go together, and the tables found for them."""

    name: str
    prefixes: list[str]
    subjects: list[Words]
    """What the routes and the blueprint are called."""
    details: list[Words]
    """What further segments of its paths are called."""
    tables: dict[str, str] = field(default_factory=dict)
    """With the reason of each."""


@dataclass
class Proposal:
    modules: list[Group]
    tables_left: dict[str, str]
    """Tables of no module, with the reason."""
    routes_left: dict[str, str]
    everywhere: list[str]


def propose(app: Flask, catalogue: Catalogue) -> Proposal:
    """Modules by the routes of `app` and the tables of `catalogue`. Only what has both is one."""
    groups, routes_left = _groups(app)
    everywhere, tables_left, tables = [], {}, []
    for name, kind in catalogue.kinds.items():
        if kind not in ("r", "p", "f") or name in catalogue.roots:
            continue
        if name.count(".") != 1:
            tables_left[name] = "strangler.toml has no way to write a name with a dot in it; rename it if it is to move"
        elif kind == "f":
            tables_left[name] = "a foreign table; its rows are elsewhere"
        elif name.partition(".")[2] in EVERYWHERE:
            everywhere.append(name)
        else:
            tables.append(name)
    tables_left |= _match(groups, tables, catalogue)
    for group in groups:
        if not group.tables:
            routes_left |= dict.fromkeys(group.prefixes, "no table is called like it")
    return Proposal([group for group in groups if group.tables], tables_left, routes_left, everywhere)


# --- routes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Path:
    prefix: str
    """Up to and with the first segment that says something."""
    subject: str
    details: tuple[str, ...]
    blueprint: str


def _groups(app: Flask) -> tuple[list[Group], dict[str, str]]:
    paths, left = [], {}
    for rule in app.url_map.iter_rules():
        if rule.build_only or rule.endpoint.rpartition(".")[2] == "static" or rule.endpoint in HEALTH:
            continue
        found = _path(rule)
        if isinstance(found, _Path):
            paths.append(found)
        else:
            left[rule.rule] = found
    together = _together(paths)
    if len(together) == 1 and len({path.prefix for path in paths}) > 1:  # one blueprint for everything says nothing
        together = _together([_Path(path.prefix, path.subject, path.details, "") for path in paths])
    groups: list[Group] = []
    for members in together:
        blueprints = sorted({path.blueprint for path in members if path.blueprint}, key=lambda name: (len(name), name))
        subjects = sorted({path.subject for path in members}, key=lambda name: (-len(name), name))
        name = _name(blueprints[0] if blueprints else subjects[0], {SOURCE, *(group.name for group in groups)})
        groups.append(
            Group(
                name, sorted({path.prefix for path in members}),
                [words(one) for one in (*subjects, *blueprints)],
                [words(one) for one in sorted({detail for path in members for detail in path.details})],
            )
        )  # fmt: skip
    return sorted(groups, key=lambda group: group.name), left


def _path(rule: Rule) -> _Path | str:
    """What a rule says of its module, or why it says nothing."""
    static, variable, _ = rule.rule.partition("<")
    if variable:
        static = static[: static.rfind("/") + 1]  # whole segments only
    parts = [part for part in static.split("/") if part]
    at = next((n for n, part in enumerate(parts) if not FORMAL.fullmatch(part)), None)
    if at is None:
        return "its path begins with nothing that a module could be known by"
    prefix = "/" + "/".join(parts[: at + 1])
    if re.search(r"[\s`]", prefix):
        return "strangler.toml takes no spaces and no backticks in routes"
    further = [part for part in re.sub(r"<[^>]*>", "", rule.rule).split("/") if words(part)]
    blueprint = next(
        (part for part in rule.endpoint.split(".")[:-1] if not re.fullmatch(CATCH_ALL, part, re.IGNORECASE)), ""
    )
    return _Path(prefix, parts[at], tuple(further[at + 1 :]), blueprint)


def _together(paths: Iterable[_Path]) -> list[list[_Path]]:
    """Paths that share a blueprint, or begin alike (singular or plural, under whatever version)."""

    def akin(one: _Path, other: _Path) -> bool:
        same = one.blueprint and one.blueprint == other.blueprint
        return bool(same) or alike(words(one.subject), words(other.subject))

    together: list[list[_Path]] = []
    for path in paths:
        same = [members for members in together if any(akin(path, other) for other in members)]
        together = [members for members in together if members not in same]
        together.append([path, *(other for members in same for other in members)])
    return together


def _name(wanted: str, taken: set[str]) -> str:
    """A name that strangler.toml takes for a module."""
    stem = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_0123456789")[:24].rstrip("_") or "module"
    return next(name for n in range(1, 1000) if (name := stem if n == 1 else f"{stem}_{n}") not in taken)


# --- tables ---------------------------------------------------------------------------------------------------------


def _match(groups: list[Group], tables: list[str], catalogue: Catalogue) -> dict[str, str]:
    """Give the tables to the groups; answers those that none got, with the reason."""
    left: dict[str, str] = {}
    owner: dict[str, Group] = {}
    for table in tables:
        found, reason = _by_name(groups, words(table.partition(".")[2]))
        if len(found) == 1:
            owner[table] = found[0]
            found[0].tables[table] = reason
        else:
            left[table] = f"may be of {_and(found, 'or')}" if found else "no route is called like it"
    keys = _Keys(catalogue)
    while step := keys.step(left, owner):
        table, group, reason = step
        owner[table] = group
        group.tables[table] = reason
        del left[table]
    for table in left:
        neighbours = {owner[other].name: owner[other] for other in keys.around(table) if other in owner}
        if len(neighbours) > 1:
            left[table] = f"foreign keys tie it to {_and(neighbours.values())}"
    for group in groups:
        group.tables = dict(sorted(group.tables.items()))
    return left


def _by_name(groups: list[Group], table: Words) -> tuple[list[Group], str]:
    """The groups that a table is called like, by the first rule that knows any; of several the longest name counts."""
    rules: tuple[tuple[Callable[[Words], bool], str, str], ...] = (
        (lambda name: alike(table, name), "subjects", "called like a route"),
        (lambda name: alike(table, name), "details", "called like a part of a route"),
        (lambda name: alike(table[: len(name)], name), "subjects", "its name begins like a route"),
        (lambda name: alike(table[-len(name) :], name), "subjects", "its name ends like a route"),
    )
    for fits, kind, reason in rules:
        lengths = [
            max((len(name) for name in getattr(group, kind) if name and fits(name)), default=0) for group in groups
        ]
        if longest := max(lengths, default=0):
            return [group for group, length in zip(groups, lengths, strict=True) if length == longest], reason
    return [], ""


class _Keys:
    """Foreign keys between tables; those of partitions are their table's."""

    def __init__(self, catalogue: Catalogue) -> None:
        roots = catalogue.roots
        self._keys = {
            (roots.get(row["table"], row["table"]), roots.get(row["referenced"], row["referenced"]))
            for row in catalogue.foreign_keys
        }

    def parents(self, table: str) -> list[str]:
        return sorted(b for a, b in self._keys if a == table and b != table)

    def children(self, table: str) -> list[str]:
        return sorted(a for a, b in self._keys if b == table and a != table)

    def around(self, table: str) -> list[str]:
        return [*self.parents(table), *self.children(table)]

    def step(self, tables: Iterable[str], owner: dict[str, Group]) -> tuple[str, Group, str] | None:
        """A table that refers to one module only; else one that only one module refers to; else the same but for
        tables of no module."""
        for others_of, all_known, reason in (
            (self.parents, True, "it refers to"),
            (self.children, True, "referred to only by"),
            (self.parents, False, "it refers to"),
        ):
            for table in tables:
                others = others_of(table)
                known = [other for other in others if other in owner]
                if len({owner[other].name for other in known}) == 1 and (known == others or not all_known):
                    return table, owner[known[0]], f"{reason} {', '.join(known)}"
        return None


def _and(groups: Iterable[Group], word: str = "and") -> str:
    return f" {word} ".join(sorted(group.name for group in groups))


# --- words ----------------------------------------------------------------------------------------------------------


def words(name: str) -> Words:
    """The words of a name: WorkHistory, work_history and work-history have the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(word.lower() for word in re.findall(r"[^\W_]+", spaced))


def alike(one: Words, other: Words) -> bool:
    """Word by word the same, but for singular and plural."""
    return len(one) == len(other) and all(set(_forms(a)) & set(_forms(b)) for a, b in zip(one, other, strict=True))


def _forms(word: str) -> Iterator[str]:
    """The word, and what it may be the plural of."""
    yield IRREGULAR.get(word, word)
    for ending, singular in (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f")):
        if len(word) > len(ending) + 1 and word.endswith(ending):
            yield word.removesuffix(ending) + singular


IRREGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman", "indices": "index"}
