"""One text for all statements that differ only in their values: no literal of a user stays in it.

The result is still SQL for a parser: strings become '?', numbers 0, the driver's parameters $1, $2, ...
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 50_000
"""Characters of a statement that are kept; what is longer ends in `...` and no parser takes it."""

# What PostgreSQL's own lexer tells apart, in the order in which it must be tried.
_TOKEN = re.compile(
    r"""
      (?P<space> (?: \s | --[^\n]* )+ )
    | (?P<comment> /\* )
    | (?P<escaped> [eE]'(?: [^'\\] | \\. | '' )*' )
    | (?P<string> (?: [bBxXnN] | [uU]& )? '(?: [^'] | '' )*' )
    | (?P<open> ' .* )
    | (?P<dollar> \$(?P<tag> (?: [^\W\d]\w* )? )\$ .*? \$(?P=tag)\$ )
    | (?P<parameter> %\(\w+\)[sbt] | %[sbt] (?!\w) | \$\d+ | (?<![:\w]) :[^\W\d]\w* )
    | (?P<name> [uU]&"(?: [^"] | "" )*" | "(?: [^"] | "" )*" | [^\W\d][\w$]* )
    | (?P<number> 0[xXoObB][\da-fA-F_]+ | (?: \d[\d_]*\.?[\d_]* | \.\d+ )(?: [eE][+-]?\d+ )? )
    | (?P<other> %% | :: | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUE = r"(?:\$|0|'\?')(?:::(?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?(?:\([0, ]*\))?(?:\[\])*)?"
_LIST = re.compile(rf"(\b(?:IN|ARRAY) ?[(\[]) ?({_VALUE})(?: ?, ?{_VALUE})+ ?([)\]])", re.IGNORECASE)
_ROWS = re.compile(r"(\((?:[^()]|\([^()]*\))*\))(?: ?, ?\1)+")
_PARAMETER = re.compile(r"\$(?!\w)")


def normalise(statement: str) -> str:
    """`statement` without literals, comments and surplus space; lists of values and rows cut to their first."""
    return _short(statement) if len(statement) <= 10_000 else _normalise(statement)


def _normalise(statement: str) -> str:
    words: list[str] = []
    at = 0
    while at < len(statement):
        found = _TOKEN.match(statement, at)
        assert found is not None, "the last alternative takes anything"
        at = found.end()
        match found.lastgroup:
            case "space":
                words.append(" ")
            case "comment":
                at = _after_comment(statement, found.start())
                words.append(" ")
            case "escaped" | "string" | "open" | "dollar" | "tag":
                words.append("'?'")
            case "parameter":
                words.append("$")
            case "number":
                words.append("0")
            case _:
                words.append("%" if found[0] == "%%" else found[0])
    text = re.sub(" +", " ", "".join(words)).strip().rstrip("; ")
    text = _ROWS.sub(r"\1", _LIST.sub(r"\1\2\3", text))
    numbers = iter(range(1, len(text) + 2))
    text = _PARAMETER.sub(lambda _: f"${next(numbers)}", text)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _after_comment(statement: str, start: int) -> int:
    """Where a block comment ends; they nest."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(statement, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(statement)


_short = lru_cache(maxsize=2000)(_normalise)
