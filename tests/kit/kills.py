"""A verb in a process of its own that is killed at a point of our choice, and what must hold afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

from psycopg.pq import TransactionStatus

from strangler.config import Config
from strangler.database import Database
from strangler.diff import Diff
from strangler.errors import AwayError
from strangler.move import Move
from strangler.sql import changes
from strangler.status import status
from tests.kit.conftest import QuickMove, Shop, Writers

EVERY = int(os.environ.get("KILL_EVERY", "1"))
FIRST = random.randrange(EVERY)
"""`make test` kills at every third point, each time from another one on; `make test-long` at all."""

# One process that has imported everything; each command is a fork of it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.kit.kills"])


def work(config: dict[str, Any], verb: str, options: dict[str, Any], point: int | None) -> None:
    """A verb in a process of its own, which kills itself with -9 at a point, if it comes there."""
    left = count(0 if point is None else point, -1)
    run = Database.run

    def die_here() -> None:
        if point is not None and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: Database, name: str, /, *words: Any, **pieces: Any) -> list[dict[str, Any]]:
        if not changes(name):
            return run(self, name, *words, **pieces)
        die_here()
        found = run(self, name, *words, **pieces)
        if self.connection.info.transaction_status == TransactionStatus.INTRANS:
            die_here()
        return found

    Database.run = counted  # type: ignore[method-assign]
    with QuickMove(Config.model_validate(config), "stock") as move:
        getattr(move, verb)(**options)


def begin(shop: Shop, verb: str, point: int | None = None, **options: Any) -> Any:
    shop.close()
    process = FORKS.Process(target=work, args=(shop.config.model_dump(by_alias=True), verb, options, point))
    process.start()
    return process


def command(shop: Shop, verb: str, point: int | None = None, **options: Any) -> bool:
    """Whether it was killed."""
    process = begin(shop, verb, point, **options)
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), f"{verb} killed at {point} failed; see above"
    return bool(process.exitcode)


def is_free(shop: Shop) -> bool:
    """Of a controller that was killed PostgreSQL knows after a moment."""
    try:
        with Move(shop.config, "stock"):
            return True
    except AwayError:
        return False


def state(shop: Shop) -> tuple[str, str]:
    with Move(shop.config, "stock", exclusive=False) as move:
        found = status(move)
    return found["state"], found["owner"]


def at_each_point(shop: Shop, verb: str, then: Callable[[], None], **options: Any) -> int:
    """Kill `verb` at each point (or one of EVERY), and do `then` every time, which must lead back to the beginning."""
    for point in count(FIRST, EVERY):
        if not command(shop, verb, point, **options):
            return point
        then()
    raise AssertionError


def catalogues(shop: Shop) -> dict[str, Any]:
    return {site: shop.catalogue(site) for site in shop.dsn}


def require_equal(shop: Shop, writers: Writers, owner: str) -> None:
    """I2 and I4, when nobody writes any more."""
    with Move(shop.config, "stock", exclusive=False) as move:
        assert move.owner().owner == owner
        assert list(Diff(move).run()) == []
        move.forward.catch_up(30)
        move.back.catch_up(30)
    assert shop.rows("monolith") == shop.rows("stock")
    writers.check(owner)
