"""What must hold before ownership changes hands: each guard says its mend and can be overridden by name, but one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strangler.config import Config
from strangler.diff import Diff
from strangler.errors import NotYetError, StranglerError
from strangler.guards import NAMES
from strangler.handover import Limits
from strangler.repair import Repair
from tests.kit.conftest import QuickMove, Shop, passing
from tests.servers import free_port


def compared(move: QuickMove) -> None:
    assert list(Diff(move).run()) == []


@pytest.fixture
def move(shop: Shop) -> QuickMove:
    one = shop.move()
    one.create()
    return one


def test_with_all_of_them_holding_it_goes_there_and_back(move: QuickMove) -> None:
    compared(move)
    assert move.switch(Limits()).owner == "stock"
    assert move.reverse(Limits()).owner == "monolith"


def unready(shop: Shop, move: QuickMove) -> None:
    data = shop.config.model_dump(by_alias=True)
    data["sites"]["stock"]["url"] = f"http://127.0.0.1:{free_port()}"
    move.config = Config.model_validate(data)


SPOILT: dict[str, tuple[Callable[[Shop, QuickMove], object], str]] = {
    "fence": (
        lambda shop, _: shop.run("stock", "ALTER TABLE places DISABLE TRIGGER strangler_fence"),
        "stock: no fence on public.places; run `strangler move stock create`",
    ),
    "schema": (
        lambda shop, _: shop.run("monolith", "ALTER TABLE items ADD later text"),
        r"stock: public.items lacks the column later; add it \(text\)",
    ),
    "lag": (lambda *_: None, "stock is [0-9,]+ bytes behind, more than 0"),
    "service": (unready, "http://127.0.0.1:[0-9]+/readyz does not answer"),
    "foreign-keys": (
        lambda shop, _: shop.run(
            "monolith", "ALTER TABLE orders ADD CONSTRAINT again FOREIGN KEY (item_id) REFERENCES items"
        ),
        "monolith: foreign key again of public.orders crosses the line",
    ),
    "diff": (
        lambda *_: None,
        "the copies have not been compared since monolith owns them; run `strangler move stock diff`",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_one_that_does_not_hold_stops_the_switch_and_can_be_overridden_by_its_name(
    shop: Shop, move: QuickMove, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spoil, says = SPOILT[name]
    if name != "diff":
        compared(move)
    spoil(shop, move)
    limits = Limits()
    if name == "lag":
        monkeypatch.setattr(type(move.forward), "behind", lambda _: 12_345)
        limits = Limits(max_lag=0)
    with pytest.raises(NotYetError, match=rf"nothing has changed: \[{name}\] {says}.*--override NAME"):
        move.switch(limits)
    assert move.owner().owner == "monolith"
    assert move.switch(Limits(max_lag=limits.max_lag, override=frozenset({name}))).owner == "stock"
    (event,) = [event for event in move.events.all() if event["action"] == "switch"]
    assert event["detail"]["overridden"] == [name]


@pytest.mark.parametrize(("name", "stream"), [("stream", "forward"), ("reverse", "back")])
def test_a_stream_without_a_worker_stops_the_switch(
    move: QuickMove, monkeypatch: pytest.MonkeyPatch, name: str, stream: str
) -> None:
    """A worker may be about to come back, so it is waited for."""
    monkeypatch.setattr("strangler.guards.WORKER_SECONDS", 0.5)
    monkeypatch.setattr(type(move.forward), "wake", lambda _: None)
    getattr(move, stream).rest()
    with pytest.raises(NotYetError, match=rf"\[{name}\] .* has no apply worker; the PostgreSQL log of"):
        move.switch()
    monkeypatch.undo()
    assert move.switch().owner == "stock"


def test_differences_stop_it_until_they_are_repaired_and_compared_again(shop: Shop, move: QuickMove) -> None:
    shop.damage("stock", "DELETE FROM items WHERE id IN (7, 8)")
    assert all(outcome.repaired for outcome in Repair(move).run(Diff(move).run()))
    with pytest.raises(NotYetError, match=r"\[diff\] 2 rows differed at the last comparison"):
        move.switch(Limits())
    compared(move)
    assert move.switch(Limits()).owner == "stock"


def test_a_comparison_grows_old(shop: Shop, move: QuickMove) -> None:
    compared(move)
    shop.run("monolith", "UPDATE strangler.diff_run SET finished = finished - interval '25 hours'")
    with pytest.raises(NotYetError, match=r"\[diff\] the last comparison is 25.0 h old"):
        move.switch(Limits())
    assert move.switch(Limits(max_diff_age_seconds=26 * 3600)).owner == "stock"


def test_the_way_back_asks_for_no_new_comparison_however_long_ago(shop: Shop, move: QuickMove) -> None:
    compared(move)
    move.switch(Limits())
    shop.run("monolith", "UPDATE strangler.diff_run SET finished = finished - interval '60 days'")
    assert move.reverse(Limits()).owner == "monolith"


def test_rows_that_are_not_there_yet_cannot_be_overridden(shop: Shop, move: QuickMove) -> None:
    with pytest.raises(StranglerError, match="'tables' cannot be overridden"):
        move.switch(passing("tables"))
    with pytest.raises(StranglerError, match="there is no guard 'tabels'; there are: tables, fence, schema"):
        move.switch(passing("tabels"))
    shop.run("stock", "UPDATE pg_subscription_rel SET srsubstate = 'd' WHERE srrelid = 'places'::regclass")
    with pytest.raises(NotYetError, match=r"\[tables\] rows are being copied"):
        move.switch(passing(*(name for name in NAMES if name != "tables")))


def test_a_dry_run_of_a_switch_changes_nothing(shop: Shop) -> None:
    shop.move().create()
    shop.close()
    plan: list[object] = []
    with QuickMove(shop.config, "stock", plan=plan) as move:  # type: ignore[arg-type]
        move.switch()
        assert move.owner().owner == "monolith"
    texts = [planned.text for planned in plan]  # type: ignore[attr-defined]
    (update,) = (n for n, text in enumerate(texts) if "UPDATE strangler.ownership SET owner = 'stock'" in text)
    assert "ENABLE TRIGGER strangler_fence" in texts[0]
    assert "BEGIN;" in texts[:update]
    assert "COMMIT;" in texts[update:]
    assert "DISABLE TRIGGER strangler_fence" in texts[-1]


def test_a_pause_longer_than_the_budget_is_not_begun(move: QuickMove, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a row takes to the other side is known before the lock is asked for."""
    compared(move)
    monkeypatch.setattr(type(move.forward), "round_trip", lambda *_: 0.4)
    locked = []
    run = type(move.source).run
    monkeypatch.setattr(
        type(move.source), "run", lambda self, name, *a, **k: locked.append(name) or run(self, name, *a, **k)
    )
    with pytest.raises(NotYetError, match="a row takes 400 ms to stock and the pause may be 500 ms"):
        move.switch(Limits(tries=2))
    assert "lock_exclusive" not in locked
    assert move.events.all()[-1]["action"] == "switch given up"
