"""Which tables a statement reads, writes and locks: by a parser of PostgreSQL's SQL, not by looking for words.

The parser is sqlglot, which comes with the extra `analyze`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from strangler.errors import StranglerError

try:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
except ImportError:
    raise StranglerError(
        "reading a recording needs sqlglot, which is not installed; pip install 'strangler[analyze]'"
    ) from None

Name = tuple[str | None, str]
"""Schema, or None where the statement gives none, and name, as PostgreSQL folds them."""

NO_TABLES = frozenset(
    {
        "abort", "begin", "checkpoint", "close", "commit", "deallocate", "discard", "end", "fetch", "listen", "move",
        "notify", "release", "reset", "rollback", "savepoint", "set", "show", "start", "unlisten",
    }
)  # fmt: skip
SCHEMA_CHANGES = frozenset(
    {
        "alter", "analyze", "cluster", "comment", "create", "drop", "grant", "import", "reassign", "refresh", "reindex",
        "revoke", "security", "vacuum",
    }
)  # fmt: skip


class NotUnderstoodError(Exception):
    """The parser does not take the statement."""


@dataclass
class Uses:
    """What one statement does. A table that is written is in `reads` only when it is also read from elsewhere."""

    reads: set[Name] = field(default_factory=set)
    writes: set[Name] = field(default_factory=set)
    locks: set[Name] = field(default_factory=set)
    """Of SELECT ... FOR UPDATE and the like; these are in `reads` too."""
    functions: set[str] = field(default_factory=set)
    """Called, and not PostgreSQL's own as far as the parser knows them."""


def uses_of(statement: str) -> Uses | None:
    """The tables of a statement, or None when it changes the schema. Raises NotUnderstoodError."""
    words = statement.split(None, 1)
    first = words[0].lower().rstrip(";") if words else ""
    if first in NO_TABLES:
        return Uses()
    if first in SCHEMA_CHANGES:
        return None
    if first == "call" and len(words) == 2:
        statement = f"SELECT {words[1]}"
    logger = logging.getLogger("sqlglot")
    level, found = logger.level, Uses()
    logger.setLevel(logging.CRITICAL)
    try:
        for tree in sqlglot.parse(statement, read="postgres"):
            if tree is not None:
                _visit(tree, frozenset(), found)
    except (SqlglotError, RecursionError) as error:
        raise NotUnderstoodError(str(error).splitlines()[0] if str(error) else "too deep") from None
    finally:
        logger.setLevel(level)
    return found


def _visit(node: exp.Expr, names: frozenset[str], found: Uses) -> None:
    """`names` are those of the WITH queries in sight, which hide tables of the same name."""
    if isinstance(node, exp.Command):
        raise NotUnderstoodError(f"{str(node.this).upper()} is not understood")
    names = _with(node, names, found)
    skipped: set[int] = set()
    if isinstance(node, exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.TruncateTable | exp.Into):
        for target in _targets(node):
            found.writes.add(_name(target))
            skipped.add(id(target))
    elif isinstance(node, exp.Copy) and isinstance(node.this, exp.Table | exp.Schema):
        target = _table(node.this)
        (found.writes if node.args.get("kind") else found.reads).add(_name(target))
        skipped.add(id(target))
    elif isinstance(node, exp.Lock):
        found.locks.update(_locked(node, names))
        skipped.update(id(one) for one in node.expressions)
    elif isinstance(node, exp.Anonymous):
        found.functions.add(str(node.name).lower())
    for child in node.iter_expressions():
        if isinstance(child, exp.Table) and id(child) not in skipped and isinstance(child.this, exp.Identifier):
            name = _name(child)
            if name[0] is not None or name[1] not in names:
                found.reads.add(name)
        if not isinstance(child, exp.With):
            _visit_inside(child, skipped, names, found)


def _visit_inside(child: exp.Expr, skipped: set[int], names: frozenset[str], found: Uses) -> None:
    if isinstance(child, exp.Schema) and isinstance(child.this, exp.Table) and id(child.this) in skipped:
        return  # the columns of an INSERT or a COPY
    _visit(child, names, found)


def _with(node: exp.Expr, names: frozenset[str], found: Uses) -> frozenset[str]:
    clause = node.args.get("with_")
    if not isinstance(clause, exp.With):
        return names
    for query in clause.expressions:
        alias = _folded(query.args["alias"].this)
        _visit(query.this, names | {alias} if clause.args.get("recursive") else names, found)
        names |= {alias}
    return names


def _targets(node: exp.Expr) -> Iterator[exp.Table]:
    for one in node.expressions if isinstance(node, exp.TruncateTable) else [node.this]:
        target = _table(one)
        if target is not None:
            yield target


def _table(node: Any) -> Any:
    """The table itself, of a table or of one with its columns."""
    inner = node.this if isinstance(node, exp.Schema) else node
    return inner if isinstance(inner, exp.Table) else None


def _locked(lock: exp.Lock, names: frozenset[str]) -> Iterator[Name]:
    """The tables of the SELECT around it, or those that FOR UPDATE OF names."""
    select = lock.parent
    if not isinstance(select, exp.Select):
        return
    only = {_folded(table.this) for table in lock.expressions}
    for source in (select.args.get("from_"), *select.args.get("joins", ())):
        table = source.this if source is not None else None
        if isinstance(table, exp.Table) and isinstance(table.this, exp.Identifier):
            name = _name(table)
            alias = table.args.get("alias")
            called = _folded(alias.this) if alias is not None and alias.this is not None else name[1]
            if (not only or called in only) and (name[0] is not None or name[1] not in names):
                yield name


def _name(table: exp.Table) -> Name:
    schema = table.args.get("db")
    return (_folded(schema) if schema is not None else None, _folded(table.this))


def _folded(identifier: Any) -> str:
    name = str(identifier.name)
    return name if identifier.args.get("quoted") else name.lower()
