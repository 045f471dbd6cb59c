"""`create` looks at everything before it changes anything: each finding one line with its mend."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from strangler import preflight
from strangler.config import Config
from strangler.diff import Diff
from strangler.errors import StranglerError
from strangler.move import Move
from tests.kit.conftest import QuickMove, Shop
from tests.kit.test_cli import strangler


@pytest.mark.parametrize(
    ("site", "damage", "says"),
    [
        ("stock", "ALTER TABLE items DROP COLUMN note", "stock: public.items lacks the column note; add it (text)"),
        ("stock", "ALTER TABLE items ALTER weight TYPE numeric", "weight is numeric nullable, at monolith double"),
        ("stock", "ALTER TABLE items ALTER note SET NOT NULL", "note is text not null, at monolith text nullable"),
        ("stock", 'ALTER TABLE items ALTER note TYPE text COLLATE "POSIX"', "collation"),
        ("stock", "ALTER TABLE items ADD more int", "has a column more that monolith lacks"),
        ("stock", "ALTER TABLE places DROP CONSTRAINT places_pkey", "another primary key"),
        ("stock", "DROP TABLE places", "there is no table public.places; create it"),
        ("stock", "INSERT INTO items (name) VALUES ('early')", "has rows; empty it first"),
        ("stock", "ALTER TABLE items ADD CHECK (weight > 0)", "which monolith lacks: a row could fail it; drop it"),
        ("stock", "CREATE UNIQUE INDEX ON items (note)", "UNIQUE INDEX USING btree (note), which monolith lacks"),
        (
            "stock",
            "ALTER TABLE items ALTER id DROP IDENTITY",
            "stock: public.items.id counts by a sequence at monolith",
        ),
        ("monolith", "ALTER TABLE items ALTER id DROP IDENTITY", "monolith: public.items.id counts by a sequence at s"),
        ("monolith", "ALTER TABLE places DROP CONSTRAINT places_pkey", "has no primary key; add one"),
        ("monolith", "ALTER TABLE places SET UNLOGGED", "is unlogged and would not replicate; ALTER TABLE"),
        ("monolith", "ALTER TABLE places REPLICA IDENTITY NOTHING", "has REPLICA IDENTITY NOTHING; ALTER TABLE"),
        ("monolith", "CREATE TABLE more () INHERITS (places)", "inheritance"),
        (
            "monolith",
            "CREATE SEQUENCE own; ALTER TABLE places ALTER slot SET DEFAULT nextval('own')",
            "ALTER SEQUENCE public.own OWNED BY public.places.slot",
        ),
        (
            "stock",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER t AFTER INSERT ON items EXECUTE FUNCTION f(); ALTER TABLE items ENABLE ALWAYS TRIGGER t",
            "trigger t of public.items fires for replicated rows too",
        ),
    ],
)
def test_refused_before_anything_is_changed(shop: Shop, site: str, damage: str, says: str) -> None:
    shop.run(site, damage)
    before = {site: shop.catalogue(site) for site in shop.dsn}
    with pytest.raises(StranglerError, match=re.escape(says)) as refused:
        shop.move().create()
    assert "\n" not in str(refused.value)
    assert {site: shop.catalogue(site) for site in shop.dsn} == before


@pytest.mark.parametrize(
    ("here", "there", "says"),
    [
        (
            "TYPE t AS ENUM ('a', 'b')",
            "TYPE t AS ENUM ('b', 'a')",
            "type public.t is ('b', 'a'), at monolith ('a', 'b')",
        ),
        (
            "DOMAIN t AS text CHECK (VALUE <> '')",
            "DOMAIN t AS text",
            "type public.t is (text), at monolith (text CHECK",
        ),
        ("TYPE t AS (a int, b text)", "TYPE t AS (a int, b varchar)", "(a integer, b character varying)"),
    ],
)
def test_types_of_ones_own_are_compared_all_the_way_down(shop: Shop, here: str, there: str, says: str) -> None:
    for site, definition in (("monolith", here), ("stock", there)):
        shop.run(site, f"CREATE {definition}")
        shop.run(site, "ALTER TABLE items ADD more t[]")
    with pytest.raises(StranglerError, match=re.escape(says)):
        shop.move().create()


def test_both_sites_in_one_database_are_refused(shop: Shop) -> None:
    data = shop.config.model_dump(by_alias=True)
    data["sites"]["stock"]["dsn"] = shop.dsn["monolith"]
    with (
        pytest.raises(StranglerError, match="are one database"),
        Move(Config.model_validate(data), "stock", exclusive=False) as move,
    ):
        move.create()


def test_settings_that_do_not_do_are_named_with_the_mend(shop: Shop) -> None:
    """As the catalogue would answer on a server that is set up otherwise."""
    move = shop.move()
    settings = move.source.one("settings")
    assert settings is not None
    cases = {
        "version": (150004, "PostgreSQL 15 is too old; upgrade to 16 or later"),
        "wal_level": ("replica", "set wal_level = logical and restart"),
        "free_slots": (1, "raise it by 1 and restart"),
        "free_senders": (0, "max_wal_senders but 2 needed"),
        "free_workers": (1, "max_logical_replication_workers but 2 needed"),
        "free_origins": (1, "max_replication_slots, but 2 needed"),
        "sync_workers": (0, "max_sync_workers_per_subscription is 0"),
        "may_replicate": (False, "ALTER ROLE postgres REPLICATION"),
        "may_subscribe": (False, "GRANT pg_create_subscription TO postgres"),
        "may_watch": (False, "GRANT pg_monitor TO postgres"),
        "may_create": (False, "GRANT CREATE ON DATABASE"),
    }
    assert preflight._server(move.source, settings).refusals == []
    for name, (value, says) in cases.items():
        (line,) = preflight._server(move.source, {**settings, name: value}).refusals
        assert says in line
    (line,) = preflight._server(move.source, {**settings, "version": 170004}).refusals
    assert "can lose rows in a first copy; update PostgreSQL 17" in line
    (line,) = preflight._server(move.source, {**settings, "slot_timeout": "1h"}).notices
    assert "idle_replication_slot_timeout" in line


def test_what_to_know_is_told_but_stops_nobody(shop: Shop) -> None:
    shop.run(
        "monolith",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER audit AFTER INSERT ON items EXECUTE FUNCTION f()",
    )
    shop.run("stock", "ALTER TABLE items DROP CONSTRAINT items_name_key")
    move = shop.move()
    notices = "\n".join(preflight.check(move.module, move.source, move.target).notices)
    assert "stock: public.items lacks trigger audit" in notices
    assert "stock: public.items lacks UNIQUE (name) of monolith" in notices
    assert "monolith: public.orders loses orders_item (FOREIGN KEY (item_id) REFERENCES public.items(id)" in notices
    move.create()


ZOO = """
CREATE SCHEMA "Back Office";
CREATE TYPE "Back Office".mood AS ENUM ('glad', 'sad');
CREATE DOMAIN "Back Office".amount AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TABLE "Back Office"."Order Lines" (
    "Order Id" uuid, line int GENERATED ALWAYS AS IDENTITY, "Mood" "Back Office".mood NOT NULL, tags text[] NOT NULL,
    doc jsonb, price "Back Office".amount, twice numeric GENERATED ALWAYS AS (price * 2) STORED,
    parent uuid, parent_line int,
    PRIMARY KEY ("Order Id", line), FOREIGN KEY (parent, parent_line) REFERENCES "Back Office"."Order Lines"
);
CREATE INDEX "Mood Index" ON "Back Office"."Order Lines" (("doc" ->> 'it''s {odd} 100%')) WHERE "Mood" = 'sad';
CREATE TABLE visits (at date, n serial, who text, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
CREATE TABLE visits_old PARTITION OF visits FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
"""


@pytest.fixture
def zoo(shop: Shop) -> QuickMove:
    """Every kind of column, key and name; a table that is partitioned otherwise at the target."""
    for site in shop.dsn:
        shop.run(site, ZOO)
    for half, (begin, end) in enumerate((("2020-01-01", "2022-01-01"), ("2022-01-01", "2040-01-01"))):
        part = f"CREATE TABLE visits_{half} PARTITION OF visits FOR VALUES FROM ('{begin}') TO ('{end}')"
        shop.run("monolith", part)
    shop.run("stock", "CREATE TABLE visits_new PARTITION OF visits FOR VALUES FROM ('2020-01-01') TO ('2040-01-01')")
    data = shop.config.model_dump(by_alias=True)
    data["modules"]["stock"]["tables"] = ["Back Office.Order Lines", "public.visits"]
    shop.config = Config.model_validate(data)
    shop.run(
        "monolith",
        """INSERT INTO "Back Office"."Order Lines" ("Order Id", "Mood", tags, doc, price)
           SELECT gen_random_uuid(), 'sad', ARRAY['a', NULL, '"}'], '{"k": [1, null]}', g
           FROM generate_series(1, 50) g""",
    )
    shop.run(
        "monolith", "INSERT INTO visits (at, who) SELECT '2019-12-01'::date + g * 50, 'x' FROM generate_series(1, 60) g"
    )
    return shop.move()


def test_all_kinds_of_tables_go_there_and_back(shop: Shop, zoo: QuickMove) -> None:
    before = {site: shop.catalogue(site) for site in shop.dsn}
    zoo.create()
    zoo.switch()
    lines = '"Back Office"."Order Lines" ("Order Id", "Mood", tags)'
    added = f"INSERT INTO {lines} VALUES (gen_random_uuid(), 'glad', '{{}}')"
    assert shop.run("stock", f"{added} RETURNING line") == [(51,)]
    assert shop.run("stock", "INSERT INTO visits (at) VALUES ('2023-01-01') RETURNING n") == [(61,)]
    zoo.reverse()
    assert shop.run("monolith", f"{added} RETURNING line") == [(52,)]
    zoo.forward.catch_up(30)
    assert list(Diff(zoo).run()) == []
    zoo.cancel()
    assert {site: shop.catalogue(site) for site in shop.dsn} == before


def test_partitions_are_fenced_one_by_one(shop: Shop, zoo: QuickMove) -> None:
    zoo.create()
    zoo.switch()
    for name in ("visits", "visits_0", "visits_old"):
        with pytest.raises(psycopg.Error, match="is owned by stock"):
            shop.run("monolith", f"UPDATE {name} SET who = 'y'")


def test_a_partition_that_came_later_is_noticed_before_a_switch(shop: Shop, zoo: QuickMove) -> None:
    zoo.create()
    shop.run(
        "monolith", "CREATE TABLE visits_later PARTITION OF visits FOR VALUES FROM ('2040-01-01') TO ('2050-01-01')"
    )
    with pytest.raises(StranglerError, match=r"\[fence\] monolith: no fence on public.visits_later"):
        zoo.switch()
    zoo.create()
    zoo.switch()


def test_a_role_that_is_no_superuser_will_do(shop: Shop) -> None:
    """What preflight asks for is enough for everything from create to cancel."""
    role = f"mover_{shop.dsn['stock'].rsplit('/', 1)[1]}"
    data = shop.config.model_dump(by_alias=True)
    for site, tables in (("monolith", "items places orders"), ("stock", "items places")):
        shop.run(site, f"CREATE ROLE {role} LOGIN PASSWORD 'secret' REPLICATION")
        shop.run(site, f"GRANT pg_create_subscription, pg_monitor TO {role}")
        for name in tables.split():
            shop.run(site, f"ALTER TABLE {name} OWNER TO {role}")
        data["sites"][site]["dsn"] = shop.dsn[site].replace("postgres:secret@", f"{role}:secret@")
    shop.config = Config.model_validate(data)
    for grant in (f"DATABASE {shop.dsn['stock'].rsplit('/', 1)[1]}", "SCHEMA public"):
        with pytest.raises(StranglerError, match=f"GRANT CREATE ON {grant} TO {role}"):
            shop.move_again().create()
        for site in shop.dsn:
            shop.run(site, f"GRANT CREATE ON {grant} TO {role}")
    for verb in ("create", "switch", "reverse", "cancel"):
        getattr(shop.move_again(), verb)()


def test_dry_run_tells_every_statement_that_create_then_runs(shop: Shop, tmp_path: Path) -> None:
    shop.run("stock", "CREATE INDEX by_note ON items (note)")
    dsn = {"SHOP_SOURCE": shop.dsn["monolith"], "SHOP_TARGET": shop.dsn["stock"]}
    before = {site: shop.catalogue(site) for site in shop.dsn}
    done = strangler(tmp_path, "move", "stock", "create", "--dry-run", **dsn)
    assert done.returncode == 0, done.stderr
    assert {site: shop.catalogue(site) for site in shop.dsn} == before
    order = [
        "-- at monolith", "CREATE SCHEMA IF NOT EXISTS strangler", 'ALTER TABLE "public"."orders" DROP CONSTRAINT',
        'CREATE PUBLICATION "strangler_stock_forward"', 'DROP INDEX "public"."by_note"',
        "pg_create_logical_replication_slot", 'CREATE SUBSCRIPTION "strangler_stock_forward"', "\nCREATE INDEX by_note",
        'CREATE SUBSCRIPTION "strangler_stock_back"', 'ANALYZE "public"."items"', "nothing was changed",
    ]  # fmt: skip
    places = [done.stdout.find(text) for text in order]
    assert -1 not in places, done.stdout
    assert places == sorted(places)
    assert "secret" not in done.stdout
    assert "password=********" in done.stdout
