"""The kit's command line, called as a person would type it, with the stack's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from local.errors import LocalError
from local.layout import Layout
from local.state import CHECKOUT, MARKER

Say = Callable[[str], None]


class Kit:
    """`strangler ...` for one stack. What it prints while it works is passed to `say`."""

    def __init__(self, layout: Layout, say: Say) -> None:
        self._layout = layout
        self._say = say

    def move(self, module: str, verb: str) -> dict[str, Any]:
        """Run `strangler move MODULE VERB --json`. Raises LocalError with the kit's own line when it fails."""
        return self.run("move", module, verb, "--json")

    def run(self, *words: str) -> dict[str, Any]:
        environment = os.environ | self._layout.environment() | {MARKER: str(self._layout.state.root)}
        # In a session of its own: Ctrl-C ends us, and we end it, at a point of our choosing.
        with subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "strangler", *words], env=environment, cwd=CHECKOUT, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout
            assert process.stderr
            said: list[str] = []
            listener = threading.Thread(target=self._listen, args=(process.stderr, said), daemon=True)
            listener.start()
            try:
                answer = process.stdout.read()
                listener.join()
            except BaseException:
                process.terminate()
                raise
        found = _last_object(answer)
        if process.returncode:
            differences = found.get("differences", [])
            why = f"{len(differences)} rows differ, the first: {differences[0]}" if differences else " ".join(said[-1:])
            command = " ".join(word for word in words if word != "--json")
            raise LocalError(f"`strangler {command}` failed: {why.removeprefix('strangler: ')}", 1)
        return found

    def _listen(self, stream: IO[str], said: list[str]) -> None:
        for line in stream:
            if line.strip():
                said.append(line.strip())
                self._say(line.strip())


def _last_object(answer: str) -> dict[str, Any]:
    lines = answer.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found
