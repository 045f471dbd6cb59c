"""What documents tell people to type is typed here, and what they show is compared with what was said.

A document's commands are its blocks fenced as `sh`, and those that are merely indented. A block fenced as `text` that
follows is what they say, all of it and in this order: a line `...` stands for lines, `...` in a line for anything, and
of figures that vary (times, sizes, ports ...) the document shows what one run had. Commands that show nothing must
succeed. In tabs only what is under `HERE` is typed: the others are for machines that may not be there.
"""

from __future__ import annotations

import difflib
import doctest
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from local.state import CHECKOUT

HERE = "On this machine"
MARK = "#-- block "

VARIES = [
    (re.compile(pattern), shown)
    for pattern, shown in (
        (r"\r|\x1b\[[\d;]*m", ""),
        (r"\b127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\d[\d,.]* (?:bytes|[kMG]B)\b", "SIZE"),
        (r"\d[\d,.]*(?= (?:ms|s|rows?|requests|rows compared|acknowledged)\b)", "N"),
        (r"(?<=requests )[\d,]+|(?<=pid )\d+|(?<=pause_ms )[\d.]+|(?<=\w\w@)[\w.-]+", "N"),
        (r"(?m)\d+(?= not \w+| users$)|(?<=Via: 1\.1 )\S+", "N"),
        (r"(?<=rows )\d+\b|\d[\d,.]*(?=/s\b)", "N"),
        (r"\b\d{4}-\d\d-\d\d[ T][\d:.]+Z?|\b\d:\d\d:\d\d\b", "TIME"),
        (r"[ \t]+", " "),
        (r"(?m) $", ""),
    )
]


@dataclass(frozen=True)
class Block:
    """A piece of a document that is no prose."""

    where: str
    """For people: document and line."""
    section: str
    tab: str
    """The tab, or the box with a title, that it is in."""
    kind: str
    """`sh`, `text`, `python` ...; empty for what is merely indented."""
    text: str

    @property
    def typed(self) -> bool:
        return self.kind in ("", "sh")


def blocks(document: Path) -> list[Block]:
    """The fenced and the indented blocks of a document, in order."""
    found: list[Block] = []
    title = tab = ""
    lines = document.read_text().splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        where = f"{document.name}:{number + 1}"
        number += 1
        if line.startswith("#"):
            title, tab = line.lstrip("# "), ""
        elif opened := re.match(r'(?:===|[?!]{3}\+? \w+) "(.*)"', line):
            tab = opened[1]
        elif fence := re.match(r"( *)```(\w*)", line):
            begin = number
            while lines[number] != f"{fence[1]}```":
                number += 1
            text = "".join(f"{each.removeprefix(fence[1])}\n" for each in lines[begin:number])
            number += 1
            found.append(Block(where, title, tab if fence[1] else "", fence[2], text))
        elif line.startswith("    ") and (not found or not lines[number - 2].strip()) and not tab:
            begin = number - 1
            while number < len(lines) and lines[number].startswith("    "):
                number += 1
            found.append(Block(where, title, "", "", "".join(f"{each[4:]}\n" for each in lines[begin:number])))
        elif line and not line.startswith(" "):
            tab = ""
    return found


def section(document: Path, title: str) -> list[Block]:
    """The blocks of a section."""
    found = [each for each in blocks(document) if each.section == title]
    assert any(each.typed for each in found), f"{document} has no commands under {title!r}"
    return found


def checkout(folder: Path) -> Path:
    """A folder that looks like the checkout with its `.venv`, and has no state and no build of its own yet."""
    folder.mkdir(exist_ok=True)
    for entry in CHECKOUT.iterdir():
        if not entry.name.startswith(".") and entry.name != "build":
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return folder


def type_in(found: Iterable[Block], folder: Path, environment: dict[str, str], seconds: float) -> str:
    """All that is to be typed, in one shell in `folder`; fails at the first block that does not go as shown.

    `environment` is all there is of one. Returns what was said.
    """
    wanted = list(paired(each for each in found if each.tab in ("", HERE)))
    script = "".join(
        f"printf '\\n{MARK}{number}\\n'\n{'set +e' if shown else 'set -e'}\n{block.text}"
        for number, (block, shown) in enumerate(wanted)
    )
    with (folder / "said").open("w+") as said:
        try:
            done = subprocess.run(
                ["bash", "-c", f"{script}printf '\\n{MARK}end\\n'"], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, timeout=seconds, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            done = -1
        said.seek(0)
        answers = [each.partition("\n")[2] for each in said.read().split(f"\n{MARK}")[1:]]
    for (block, shown), answer in zip(wanted, answers, strict=False):
        if shown and (wrong := difference(shown.text, answer)):
            raise AssertionError(f"{shown.where}: other than the document shows:\n{wrong}")
        if len(answers) <= len(wanted) and block is wanted[len(answers) - 1][0]:
            raise AssertionError(f"{block.where}: exit code {done} (-1: {seconds} s were over) after:\n{answer}")
    return "".join(answers)


def paired(found: Iterable[Block]) -> Iterable[tuple[Block, Block | None]]:
    """Commands and files to write, each with what it is to say; neighbours that show nothing stay apart."""
    before: Block | None = None
    for each in found:
        if each.kind == "text" and before:
            yield before, each
            before = None
        elif each.typed or each.kind == "python":
            if before:
                yield before, None
            before = each if each.typed else replace(each, text=_file(each.text))
    if before:
        yield before, None


def _file(text: str) -> str:
    """A file is named in its first line."""
    return f"cat > {text.split()[1]} <<'END'\n{text}END\n"


def difference(wanted: str, said: str) -> str:
    """What is not as shown, with what varies put aside; empty when it is."""
    wanted, said = plain(wanted), plain(said)
    if doctest.OutputChecker().check_output(f"\n{wanted}", f"\n{said}", doctest.ELLIPSIS):
        return ""
    return "\n".join(difflib.unified_diff(wanted.splitlines(), said.splitlines(), "shown", "said", lineterm=""))


def plain(text: str) -> str:
    for pattern, shown in VARIES:
        text = pattern.sub(shown, text)
    return text.rstrip("\n") + "\n"
