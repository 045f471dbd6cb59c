"""The command `forum`."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from monolith.cli import main


@pytest.fixture
def forum(environment: dict[str, str]) -> Callable[..., tuple[int, str]]:
    """Runs `forum WORDS`; answers exit code and output."""

    def run(*words: str, **variables: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, words, env={"DATABASE_URL": environment["DATABASE_URL"], **variables})
        return result.exit_code, result.output

    return run


def test_a_member_is_made_a_moderator_and_back(
    forum: Callable[..., tuple[int, str]], client: FlaskClient, environment: dict[str, str]
) -> None:
    new = {"username": "Riser", "email": "riser@example.org", "password": "correct horse"}
    assert client.post("/api/users", json=new).status_code == 201
    for role in ("moderator", "member"):
        assert forum("grant", "riser", role) == (0, f"riser is a {role}\n")
        with psycopg.connect(environment["DATABASE_URL"]) as connection:
            row = connection.execute("SELECT role FROM users WHERE username = 'Riser'").fetchone()
        assert row == (role,)


@pytest.mark.parametrize(
    ("words", "variables", "complaint"),
    [
        (("grant", "nobody", "moderator"), {}, "there is no user 'nobody'"),
        (("grant", "a\0b", "moderator"), {}, "NUL"),
        (("grant", "nobody", "king"), {}, "is not one of 'member', 'moderator'"),
        (("grant", "x", "member"), {"DATABASE_URL": "postgresql://f:pw@127.0.0.1:1/f"}, "DATABASE_URL"),
        (("grant", "x", "member"), {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        (("seed",), {"DATABASE_URL": "", "SEED_PASSWORD": "long enough"}, "DATABASE_URL is not set"),
        (("seed", "--users", "1"), {"SEED_PASSWORD": "long enough"}, "too small"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_with_exit_2(
    forum: Callable[..., tuple[int, str]], words: tuple[str, ...], variables: dict[str, str], complaint: str
) -> None:
    code, output = forum(*words, **variables)
    assert code == 2
    assert complaint in output
    assert "Traceback" not in output
