"""Stacks keep out of each other's way, also on ports that they will use later."""

from __future__ import annotations

import random
import socket

import pytest

from local import ports


def test_a_stack_that_is_up_keeps_its_block_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ports.choose(["now", "later"])
    block = mine["now"] // ports.BLOCK
    turns = iter([block, block, block + 1, *range(block + 2, block + 60)])
    monkeypatch.setattr(random, "randrange", lambda *_: next(turns))
    assert ports.choose(["other"])["other"] // ports.BLOCK == block, "nobody listens there, so it is anybody's"
    with socket.create_server(("127.0.0.1", mine["now"])):
        assert ports.choose(["other"])["other"] // ports.BLOCK > block


def test_what_is_chosen_later_is_beside_the_rest_and_not_of_it() -> None:
    mine = ports.choose(["one", "two"])
    more = ports.choose(["three"], mine.values())
    assert more["three"] // ports.BLOCK == mine["one"] // ports.BLOCK
    assert more["three"] not in mine.values()
