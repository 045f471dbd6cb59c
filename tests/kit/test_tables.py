"""Which tables a statement reads, writes and locks; and what is left of it when its values are out."""

from __future__ import annotations

import pytest

from strangler.analyze.tables import NotUnderstoodError, Uses, uses_of
from strangler.normalise import LONGEST, normalise


def names(found: set[tuple[str | None, str]]) -> set[str]:
    return {f"{schema}.{name}" if schema else name for schema, name in found}


def uses(statement: str) -> Uses:
    found = uses_of(normalise(statement))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("statement", "reads", "writes"),
    [
        ("SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON c.x = a.x", "a b c", ""),
        ("SELECT * FROM a, b WHERE a.id = b.id", "a b", ""),
        ("SELECT (SELECT max(x) FROM b) FROM a WHERE EXISTS (SELECT FROM c) AND y IN (SELECT y FROM d)", "a b c d", ""),
        ("SELECT 1 FROM a UNION ALL SELECT 1 FROM b", "a b", ""),
        ("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x) q", "a b", ""),
        ("TABLE a", "a", ""),
        ("VALUES (1)", "", ""),
        ("INSERT INTO a (x) VALUES (1) RETURNING id", "", "a"),
        ("INSERT INTO a (x) SELECT x FROM b", "b", "a"),
        ("INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = excluded.x, y = (SELECT y FROM b)", "b", "a"),
        ("INSERT INTO a DEFAULT VALUES", "", "a"),
        ("UPDATE a AS z SET x = 1 WHERE z.y = 'b'", "", "a"),
        ("UPDATE a SET x = b.x FROM b JOIN c ON c.i = b.i WHERE a.i = b.i RETURNING (SELECT 1 FROM d)", "b c d", "a"),
        ("UPDATE a SET x = (SELECT max(x) FROM a)", "a", "a"),
        ("DELETE FROM a USING b, c WHERE a.i = b.i", "b c", "a"),
        ("DELETE FROM a WHERE i IN (SELECT i FROM b) RETURNING a.*", "b", "a"),
        ("MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN DELETE", "b", "a"),
        ("TRUNCATE a, b CASCADE", "", "a b"),
        ("COPY a (x, y) FROM STDIN", "", "a"),
        ("COPY a TO STDOUT", "a", ""),
        ("COPY (SELECT * FROM a) TO STDOUT", "a", ""),
        ("SELECT * INTO a FROM b", "b", "a"),
        ("WITH q AS (SELECT * FROM a) SELECT * FROM q JOIN b ON true", "a b", ""),
        ("WITH q AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM q", "", "a b"),
        # The query hides the table outside, but not in itself; unless it is recursive.
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a", ""),
        ("WITH RECURSIVE q AS (SELECT 1 FROM a UNION ALL SELECT 1 FROM q JOIN b ON true) SELECT * FROM q", "a b", ""),
        ("WITH q AS (SELECT 1) SELECT * FROM q, shop.q", "shop.q", ""),
        ('SELECT * FROM "Order Lines" JOIN Public.ITEMS ON true', "Order Lines public.items", ""),
        ('UPDATE "Shop"."Order" SET x = 1', "", "Shop.Order"),
        ("SELECT 'FROM b' FROM a -- JOIN c\n /* , d */ WHERE x = $$ FROM e $$", "a", ""),
        ("SELECT x ->> 'k', j @> %(v)s::jsonb FROM a WHERE d > now() - interval '1 day' LIMIT 10", "a", ""),
        ("SELECT unnest(x) FROM a, unnest(%s::bigint[]) AS ids", "a", ""),
        ("SET LOCAL search_path = b", "", ""),
        ("SAVEPOINT sa_savepoint_1", "", ""),
    ],
)  # fmt: skip
def test_reads_and_writes(statement: str, reads: str, writes: str) -> None:
    found = uses(statement)
    wanted = set(reads.replace("Order Lines", "Order_Lines").split())
    assert {name.replace(" ", "_") for name in names(found.reads)} == wanted
    assert names(found.writes) == set(writes.split())


@pytest.mark.parametrize(
    ("statement", "locks"),
    [
        ("SELECT * FROM a JOIN b ON true FOR UPDATE", {"a", "b"}),
        ("SELECT * FROM a AS one JOIN b ON true FOR NO KEY UPDATE OF one SKIP LOCKED", {"a"}),
        ("SELECT * FROM a WHERE x IN (SELECT x FROM b FOR SHARE)", {"b"}),
        ("SELECT * FROM a JOIN b ON true", set()),
    ],
)
def test_row_locks(statement: str, locks: set[str]) -> None:
    assert names(uses(statement).locks) == locks


def test_functions_that_are_called() -> None:
    assert uses("SELECT place_order(1, lower(x)) FROM a").functions == {"place_order"}
    assert uses("SELECT * FROM shop.Report(1) AS r").functions == {"report"}
    assert uses("CALL close_month(2)").functions == {"close_month"}


@pytest.mark.parametrize("statement", ["CREATE TABLE a (x int)", "ALTER TABLE a ADD x int", "DROP TABLE a"])
def test_changes_of_the_schema_are_no_ties(statement: str) -> None:
    assert uses_of(statement) is None


@pytest.mark.parametrize(
    "statement", ["SELEC 1", "LOCK TABLE a", "DO $$ BEGIN END $$", "SELECT " + "(" * 5000, "INSERT INTO a VALUES ('x"]
)
def test_what_the_parser_does_not_take_is_said(statement: str) -> None:
    with pytest.raises(NotUnderstoodError):
        uses_of(statement)


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT 'O''Brien', E'it\\'s', 1.5e3, 0xFF, $x$ a 'b' $x$, U&'d'", "SELECT '?', '?', 0, 0, '?', '?'"),
        ("SELECT  x\n FROM a -- secret 'one\n WHERE y = 1;", "SELECT x FROM a WHERE y = 0"),
        ("SELECT /* a /* b */ secret */ 1", "SELECT 0"),
        ("SELECT 'never closed secret", "SELECT '?'"),
        ("SELECT 1 WHERE x = %(x_1)s AND y = %s AND z %% 2 = 0", "SELECT 0 WHERE x = $1 AND y = $2 AND z % 0 = 0"),
        ("SELECT x::numeric(10, 2), y1 FROM t1", "SELECT x::numeric(0, 0), y1 FROM t1"),
        ('SELECT "we\'ird ""1""" FROM a', 'SELECT "we\'ird ""1""" FROM a'),
        ("SELECT date '2020-01-01'", "SELECT date '?'"),
        ("SELECT 1 WHERE x IN (1, 2, 3)", "SELECT 0 WHERE x IN (0)"),
        ("SELECT 1 WHERE x = ANY (ARRAY[%s::int, %s::int])", "SELECT 0 WHERE x = ANY (ARRAY[$1::int])"),
        ("SELECT 1 WHERE x IN (%(a_1)s::BIGINT, %(a_2)s::BIGINT)", "SELECT 0 WHERE x IN ($1::BIGINT)"),
        ("INSERT INTO a VALUES (%s, lower(%s)), (%s, lower(%s))", "INSERT INTO a VALUES ($1, lower($2))"),
    ],
)  # fmt: skip
def test_values_are_taken_out(statement: str, text: str) -> None:
    assert normalise(statement) == text
    assert normalise(text) == text


def test_a_very_long_statement_is_cut_and_then_not_understood() -> None:
    text = normalise("SELECT " + ", ".join(f"column_{number}" for number in range(LONGEST)) + " FROM a")
    assert len(text) <= LONGEST + 3
    with pytest.raises(NotUnderstoodError):
        uses_of(text)


def test_many_rows_are_one_statement() -> None:
    one, many = (
        "INSERT INTO a (x, y) VALUES (%s, 'x')",
        "INSERT INTO a (x, y) VALUES " + "(%s, 'x'), " * 999 + "(%s, 'y')",
    )
    assert normalise(one) == normalise(many)
