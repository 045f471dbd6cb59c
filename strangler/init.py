"""A first strangler.toml, from the tables of a database and the routes of a Flask application: `strangler init`."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import flask.cli
import psycopg

from strangler.analyze import catalogue as catalogues
from strangler.analyze.order import order
from strangler.analyze.seams import find
from strangler.config import Config
from strangler.database import Database
from strangler.errors import StranglerError
from strangler.propose import SOURCE, Group, Proposal, propose
from strangler.sql import quoted


def load_app(path: str) -> flask.Flask:
    """The application that `flask --app` would load, from the current directory. Raises StranglerError."""
    try:
        return flask.cli.ScriptInfo(app_import_path=path, set_debug_flag=False).load_app()
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        # Flask's own errors say what is wrong, the last line of a traceback included; others need their kind.
        said = lines[-1] if isinstance(error, flask.cli.NoAppException) else f"{type(error).__name__}: {lines[0]}"
        raise StranglerError(
            f"--app {path}: {said.rstrip('.')}; name it as for `flask --app`, and set what it needs to start"
        ) from None


def write(dsn: str, app_path: str, file: Path) -> Proposal:
    """Write the proposal to `file`, which must not be there. Raises StranglerError, having written nothing."""
    if file.exists():
        raise StranglerError(f"{file} is there already; remove it, or name another file with --output")
    app = load_app(app_path)
    try:
        database = Database(SOURCE, dsn, options="")
    except psycopg.ProgrammingError:  # its text would show the password
        raise StranglerError("--dsn: not a connection string; give postgresql://user:password@host/database") from None
    try:
        text, proposal = _proposed(app, database, app_path)
    finally:
        database.close()
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise StranglerError(f"cannot write {file}: {error.strerror}; name another file with --output") from None
    return proposal


def _proposed(app: flask.Flask, database: Database, app_path: str) -> tuple[str, Proposal]:
    catalogue = catalogues.read(database, Config.model_validate({"sites": {}, "modules": {}}))
    proposal = propose(app, catalogue)
    if not proposal.modules:
        raise StranglerError(
            f"no table of the database is called like a route of {app_path}; write strangler.toml by hand (docs/kit.md)"
        )
    for group in proposal.modules:
        for name in group.tables:
            if not database.run("primary_key", {"table": quoted(name)}):
                group.tables[name] += "; it needs a PRIMARY KEY before it can move"
    catalogue.modules = {group.name: list(group.tables) for group in proposal.modules}
    catalogue.everywhere = frozenset(proposal.everywhere)
    steps = [step.module for step in order(list(catalogue.modules), find(catalogue, None).findings)]
    text = _text(proposal, steps, app_path)
    Config.model_validate(tomllib.loads(text))  # never write what would be refused
    return text, proposal


# --- the file -------------------------------------------------------------------------------------------------------


HEAD = """\
# A first proposal, from the tables of the database and the routes of {app}: read it and mend it.
# ${{NAMES}} come from the environment, so no password is in this file; NAME_FILE may name a file instead.

# Sites: places that can own a module, each a database and the application in front of it.
"""
MODULES = """\
# Modules: tables that move in one piece, and the paths of the requests about them. A path belongs to the longest
# route that it begins with, by whole segments. Behind each table stands why it is here.
"""
STAGES = """\
# The way from monolith to services, for `strangler stage`; not needed for moves by hand. The order is the one that
# `strangler analyze` proposes by what is in the catalogue; a recording of the application may show a better.
"""


def _text(proposal: Proposal, steps: list[str], app_path: str) -> str:
    modules = {group.name: group for group in proposal.modules}
    reach = "the kit's connection; the other database subscribes by it", "how the other site's facade reaches this one"
    parts = [HEAD.format(app=_string(app_path)), _site(SOURCE, *reach) + "\n"]
    parts += [_site(name) + "\n" for name in steps]
    parts += [MODULES, *(_module(modules[name]) + "\n" for name in steps)]
    parts += _left("Tables of no module: they stay where they are, unless you give them to one.", proposal.tables_left)
    parts += _left("Routes of no module: they stay with the monolith.", proposal.routes_left)
    parts += [
        STAGES,
        _stage(f"0-{SOURCE}", []),
        "cancel = true   # one database again: no replication, foreign keys back\n",
    ]
    parts += ["\n" + _stage(f"{number}-{name}", steps[:number]) for number, name in enumerate(steps, 1)]
    if proposal.everywhere:
        every = _list(proposal.everywhere)
        parts += [f"\n[analyze]\neverywhere = {every}   # every database has its own: they tie no modules together\n"]
    return "".join(parts)


def _site(name: str, *comments: str) -> str:
    keys = [f'{key} = "${{{name.upper()}_{key.upper()}}}"' for key in ("dsn", "url")]
    says = [f"{key:33} # {comment}" for key, comment in zip(keys, comments, strict=True)] if comments else keys
    return "\n".join([f"[sites.{name}]", *says, ""])


def _module(group: Group) -> str:
    tables = "".join(f"    {_string(table) + ',':30} # {_comment(why)}\n" for table, why in group.tables.items())
    return (
        f'[modules.{group.name}]\nsource = "{SOURCE}"\ntarget = "{group.name}"\n'
        f"tables = [\n{tables}]\nroutes = {_list(group.prefixes)}\n"
    )


def _stage(name: str, moved: list[str]) -> str:
    return f'[stages.{name}]\ndefault = "{SOURCE}"\nmoved = {_list(moved)}\n'


def _left(title: str, found: dict[str, str]) -> list[str]:
    lines = (f"#   {_string(name):30} {_comment(why)}\n" for name, why in found.items())
    return [f"# {title}\n", *lines, "\n"] if found else []


def _string(text: str) -> str:
    """A basic string of TOML. It is JSON's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """Names may hold anything; a comment must not end with them."""
    return re.sub(r"[\x00-\x1f\x7f]", "?", text)


def _list(names: list[str]) -> str:
    return f"[{', '.join(_string(name) for name in names)}]"
