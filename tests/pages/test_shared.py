"""Reads that wait together share one call, and none that began before they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from forum.pages.shared import Shared, Told
from tests.servers import wait_for


class Module:
    """Answers when it is let: `calls` are those that wait for it."""

    def __init__(self) -> None:
        self.etag = "one"
        self.calls: list[Future[None]] = []
        self.others: list[int] = []
        self.kept: list[str] = []
        self.lock = threading.Lock()

    def call(self, what: str) -> Callable[[int, Told[str] | None], Told[str]]:
        def ask(others: int, kept: Told[str] | None) -> Told[str]:
            let: Future[None] = Future()
            with self.lock:
                self.calls.append(let)
                self.others.append(others)
                self.kept.append(kept.value if kept else "")
            let.result(30)
            return Told(f"{what} at {self.etag}", self.etag, True)

        return ask

    def answer(self, number: int, error: Exception | None = None) -> None:
        wait_for(lambda: len(self.calls) > number, f"call {number}")
        if error:
            self.calls[number].set_exception(error)
        else:
            self.calls[number].set_result(None)


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.fixture
def shared(module: Module, monkeypatch: pytest.MonkeyPatch) -> Shared:
    """All waits for others are long here; `a` and `b` have been read."""
    monkeypatch.setattr("forum.pages.shared.WAIT_SECONDS", 30)
    shared = Shared()
    with ThreadPoolExecutor() as threads:
        for number, what in enumerate("ab"):
            read = threads.submit(shared.read, what, module.call(what))
            module.answer(number)
            read.result(30)
    return shared


def _all_wait(shared: Shared, count: int) -> None:
    """Until one asks and `count` wait for their turn; there is no way to see that but that nothing more happens."""
    wait_for(lambda: shared.waiting == count, f"{count} that wait")


def test_who_waits_shares_the_next_call(shared: Shared, module: Module) -> None:
    with ThreadPoolExecutor() as threads:
        first = threads.submit(shared.read, "a", module.call("a"))
        wait_for(lambda: len(module.calls) == 3, "the first to ask")
        others = [threads.submit(shared.read, what, module.call(what)) for what in "abab"]
        _all_wait(shared, 4)
        module.answer(2)
        assert first.result(30) == "a at one"
        assert not any(other.done() for other in others), "that call began before they came"
        module.answer(3)
        assert sorted(other.result(30) for other in others) == ["a at one", "a at one", "b at one", "b at one"]
    assert len(module.calls) == 4
    told = module.others[2:]
    with ThreadPoolExecutor() as threads:
        for number, what in enumerate("ab", 4):
            read = threads.submit(shared.read, what, module.call(what))
            module.answer(number)
            read.result(30)
    assert sum(told + module.others[4:]) == 3, "who was shown it without a call is counted by the next"


def test_when_something_was_written_everybody_asks(shared: Shared, module: Module) -> None:
    with ThreadPoolExecutor() as threads:
        first = threads.submit(shared.read, "a", module.call("a"))
        wait_for(lambda: len(module.calls) == 3, "the first to ask")
        others = [threads.submit(shared.read, what, module.call(what)) for what in "ab"]
        _all_wait(shared, 2)
        module.etag = "two"
        for number in range(2, 5):
            module.answer(number)
        assert first.result(30) == "a at two"
        assert sorted(other.result(30) for other in others) == ["a at two", "b at two"]
    assert sorted(module.kept) == ["", "", "a at one", "a at one", "b at one"], "who asks can say what is kept"


def test_a_call_that_fails_fails_nobody_else(shared: Shared, module: Module) -> None:
    with ThreadPoolExecutor() as threads:
        first = threads.submit(shared.read, "a", module.call("a"))
        wait_for(lambda: len(module.calls) == 3, "the first to ask")
        other = threads.submit(shared.read, "a", module.call("a"))
        _all_wait(shared, 1)
        module.answer(2, ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            first.result(30)
        module.answer(3)
        assert other.result(30) == "a at one"


def test_nobody_waits_long_for_a_module_that_is_slow(
    shared: Shared, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forum.pages.shared.WAIT_SECONDS", 0.01)
    with ThreadPoolExecutor() as threads:
        reads = [threads.submit(shared.read, "a", module.call("a")) for _ in range(5)]
        wait_for(lambda: len(module.calls) == 7, "each to ask for itself")
        for number in range(2, 7):
            module.answer(number)
        assert [read.result(30) for read in reads] == ["a at one"] * 5


def _crowd(shared: Shared, module: Module, threads: ThreadPoolExecutor) -> list[Future[str]]:
    """One who asks, whose call has been answered, and two who came meanwhile: their call is to be the next."""
    first = threads.submit(shared.read, "a", module.call("a"))
    wait_for(lambda: len(module.calls) == 3, "the first to ask")
    others = [threads.submit(shared.read, what, module.call(what)) for what in "ab"]
    _all_wait(shared, 2)
    module.answer(2)
    first.result(30)
    return others


def test_a_crowd_has_the_module_asked_once_in_a_while(
    shared: Shared, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes again before that shares the call with those who came earlier."""
    pause, let = 0.0, threading.Event()

    def sleep(seconds: float) -> None:
        nonlocal pause
        pause = seconds
        assert let.wait(30)

    monkeypatch.setattr("forum.pages.shared.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    monkeypatch.setattr("forum.pages.shared.PACE_SECONDS", 1000)
    with ThreadPoolExecutor() as threads:
        others = _crowd(shared, module, threads)
        wait_for(lambda: pause > 0, "a pause")
        assert 900 < pause < 1000
        others.append(threads.submit(shared.read, "b", module.call("b")))
        _all_wait(shared, 2)
        assert len(module.calls) == 3
        let.set()
        module.answer(3)
        assert sorted(other.result(30) for other in others) == ["a at one", "b at one", "b at one"]
    assert len(module.calls) == 4


def test_without_pauses_who_comes_again_comes_too_late(
    shared: Shared, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr("forum.pages.shared.PACE_SECONDS", 0)
    with ThreadPoolExecutor() as threads:
        others = _crowd(shared, module, threads)
        wait_for(lambda: len(module.calls) == 4, "the next call")
        others.append(threads.submit(shared.read, "b", module.call("b")))
        _all_wait(shared, 2)
        module.answer(3)
        module.answer(4)
        assert sorted(other.result(30) for other in others) == ["a at one", "b at one", "b at one"]
    assert len(module.calls) == 5


def test_who_is_alone_is_never_kept_waiting(shared: Shared, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("forum.pages.shared.time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))
    with ThreadPoolExecutor() as threads:
        for number in range(2, 6):
            read = threads.submit(shared.read, "a", module.call("a"))
            module.answer(number)
            assert read.result(30) == "a at one"
    assert pauses == []


@pytest.mark.parametrize(("etag", "short"), [("", True), ("one", False)])
def test_what_has_no_etag_or_is_long_is_asked_for_each_time(etag: str, short: bool) -> None:
    shared, calls = Shared(), []

    def call(others: int, _: Told[str] | None) -> Told[str]:
        calls.append(others)
        return Told("x", etag, short)

    for _ in range(3):
        shared.read("c", call)
    assert calls == [0, 0, 0]
