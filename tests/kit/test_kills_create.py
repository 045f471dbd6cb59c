"""As test_kills.py, for `create`, which can be killed at most points: in a file, and so a process, of its own."""

from __future__ import annotations

from tests.kit.conftest import Shop, Writers
from tests.kit.kills import at_each_point, catalogues, command, require_equal, state


def test_create(indexed: Shop, few_writers: Writers) -> None:
    before = catalogues(indexed)

    def cancelled() -> None:
        assert not command(indexed, "cancel")
        assert catalogues(indexed) == before
        few_writers.wait_for(2)

    def finished() -> None:
        assert not command(indexed, "create")
        assert state(indexed) == ("ready", "monolith")
        few_writers.wait_for(2)
        cancelled()

    with few_writers:
        assert at_each_point(indexed, "create", cancelled) > 30
        assert not command(indexed, "cancel")
        assert at_each_point(indexed, "create", finished) > 30
        few_writers.wait_for(10)
    require_equal(indexed, few_writers, "monolith")
