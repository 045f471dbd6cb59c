"""What the local stack raises, and how a command ends on it: one line that says what is wrong and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
import psycopg


class LocalError(RuntimeError):
    """Ends a command with `code`: 2 when nothing was changed, 1 when something was tried and failed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def run_command(name: str, command: Callable[[], Any], interrupted: str) -> NoReturn:
    """Run a click command to the end of the process. `interrupted`: what to say after Ctrl-C."""
    try:
        code = command()
    except LocalError as error:
        _fail(name, str(error), error.code)
    except click.ClickException as error:
        _fail(name, error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail(name, f"interrupted; {interrupted}", 130)
    except psycopg.OperationalError as error:
        _fail(name, f"a database went away ({error}); run: strangler-local up", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(name: str, message: str, code: int) -> NoReturn:
    click.echo(f"{name}: {' '.join(message.split())}", err=True)
    sys.exit(code)
