"""A shop whose tables have keys and columns of every kind, in databases whose settings differ."""

from __future__ import annotations

import psycopg

from strangler.config import Config
from tests.kit.conftest import Shop

NAME = '"Odd Schema"."Zoo Table"'
PARTED = "public.parted"

TYPES = """
CREATE SCHEMA "Odd Schema"; SET search_path = "Odd Schema";
CREATE TYPE mood AS ENUM ('sad', 'happy', 'bored');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN code AS char(5);
"""
KEY = """
"Id" uuid, mood mood, at timestamptz, raw bytea, ratio float8, code code, "the pair" pair,
PRIMARY KEY ("Id", mood, at, raw, ratio, code, "the pair")
"""
COLUMNS = [
    "n int GENERATED ALWAYS AS IDENTITY", "note text", "amount numeric", "tags text[]", "doc jsonb", "span interval",
    '"select" money', "twice bigint GENERATED ALWAYS AS (n * 2) STORED", "yes bool", "ip inet", "seen timestamptz",
    "small real", "big float8", "days int4range", "feeling mood", "two pair", "single char(3)", "k0 text",
]  # fmt: skip
PARTS = """
CREATE TABLE public.parted (id int, region text, note text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE public.parted_n PARTITION OF public.parted FOR VALUES IN ('n');
CREATE TABLE public.parted_s PARTITION OF public.parted FOR VALUES IN ('s');
"""
FILL = """
INSERT INTO "Odd Schema"."Zoo Table" ("Id", mood, at, raw, ratio, code, "the pair", note, amount, tags, doc, span,
    "select", yes, ip, seen, small, big, days, feeling, two, single, k0)
SELECT md5(g::text)::uuid, (ARRAY['sad', 'happy', 'bored'])[1 + g %% 3]::"Odd Schema".mood,
    '2024-03-31 01:30+01'::timestamptz + g * interval '1 hour 1 microsecond', decode(md5('r' || g), 'hex'),
    g / 3.0::float8, 'c' || g %% 10, ROW(g, E'a,"b\\'' || g)::"Odd Schema".pair,
    CASE g %% 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE E'é\\n\\t\\\\' || g END,
    1.0, ARRAY['a', NULL, ''], jsonb_build_object('g', g), interval '1 mon 2 days' * g, g, g %% 2 = 0, '10.0.0.1',
    now() + g * interval '1 us', 0.1, 0.3, int4range(g, g + 5), 'bored', ROW(NULL, g::text)::"Odd Schema".pair, 'x', 'y'
FROM generate_series(1, %(rows)s) g
"""


def make_zoo(shop: Shop, rows: int) -> None:
    """Give the shop a zoo and a partitioned table, the target's columns in another order."""
    for number, site in enumerate(shop.dsn):
        columns = list(reversed(COLUMNS)) if number else COLUMNS
        with psycopg.connect(shop.dsn[site], autocommit=True) as connection:
            connection.execute(TYPES)
            connection.execute(f'CREATE TABLE "Zoo Table" ({", ".join([*columns, KEY])})')
            connection.execute(PARTS)
            for setting, values in {
                "TimeZone": ("'Asia/Kathmandu'", "'America/St_Johns'"), "DateStyle": ("'SQL, DMY'", "German"),
                "IntervalStyle": ("sql_standard", "postgres_verbose"), "extra_float_digits": ("-15", "3"),
                "bytea_output": ("escape", "hex"),
            }.items():  # fmt: skip
                database = connection.info.dbname
                connection.execute(f"ALTER DATABASE {database} SET {setting} = {values[number]}")  # type: ignore[arg-type]
    shop.run("monolith", FILL, {"rows": rows})
    shop.run("monolith", "INSERT INTO public.parted SELECT g, 'n', 'x' FROM generate_series(1, 300) g")
    shop.run("monolith", "INSERT INTO public.parted SELECT g, 's', 'x' FROM generate_series(1, 300) g")
    stock = shop.config.modules["stock"].model_dump(exclude={"name"}) | {"tables": ["Odd Schema.Zoo Table", PARTED]}
    sites = {site: {"dsn": dsn, "url": "http://127.0.0.1:9"} for site, dsn in shop.dsn.items()}
    shop.config = Config.model_validate({"sites": sites, "modules": {"stock": stock}})
