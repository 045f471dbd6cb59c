"""`strangler analyze`: each kind of tie is found where it is, and nothing where it is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import count
from pathlib import Path

import psycopg
import pytest

from strangler.analyze import catalogue as catalogues
from strangler.analyze.catalogue import NO_MODULE, Catalogue
from strangler.analyze.order import cycles, order
from strangler.analyze.page import page
from strangler.analyze.recording import Recording
from strangler.analyze.report import Report
from strangler.analyze.seams import Finding, Seams, find
from strangler.config import Config
from strangler.database import Database
from tests.kit.test_cli import strangler

# Three modules and a table of none. Nothing here reaches over a line.
SHOP = """
CREATE TABLE items (id int PRIMARY KEY, name text);
CREATE TABLE places (id int PRIMARY KEY, item_id int REFERENCES items);
CREATE TABLE orders (id serial PRIMARY KEY, item_id int, buyer_id int);
CREATE TABLE order_lines (order_id int REFERENCES orders, item_id int) PARTITION BY HASH (order_id);
CREATE TABLE order_lines_0 PARTITION OF order_lines FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE order_lines_1 PARTITION OF order_lines FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE SCHEMA people;
CREATE TABLE people."Buyer" (id int PRIMARY KEY, name text);
CREATE TABLE audit (at timestamptz, what text);
CREATE TABLE outbox (id int);
CREATE VIEW item_places AS SELECT i.name, p.id FROM items i JOIN places p ON p.item_id = i.id;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE places SET id = id; RETURN NEW; END';
CREATE TRIGGER touch AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION touch();
"""
MODULES = {
    "stock": ["public.items", "public.places"],
    "sales": ["public.orders", "public.order_lines"],
    "people": ["people.Buyer"],
}


def config(dsn: str = "${SHOP}") -> Config:
    module = {"source": "monolith", "target": "other"}
    return Config.model_validate(
        {
            "sites": {"monolith": {"dsn": dsn}, "other": {"dsn": "${ELSEWHERE}"}},
            "modules": {name: {**module, "tables": tables, "routes": [f"/{name}"]} for name, tables in MODULES.items()},
            "analyze": {"everywhere": ["public.outbox"]},
        }
    )


@pytest.fixture
def shop(new_database: Callable[[], str]) -> str:
    dsn = new_database()
    run(dsn, SHOP)
    return dsn


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type, unused-ignore]


def read(dsn: str) -> Catalogue:
    database = Database("monolith", dsn, options="")
    try:
        return catalogues.read(database, config(dsn))
    finally:
        database.close()


def ties(dsn: str, recording: Recording | None = None, rolled_back: bool = False) -> list[Finding]:
    return find(read(dsn), recording, rolled_back).findings


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, [one.what for one in found]
    return found[0]


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_crosses(shop: str) -> None:
    assert ties(shop) == []


def test_foreign_keys_in_both_directions(shop: str) -> None:
    run(
        shop,
        "ALTER TABLE orders ADD CONSTRAINT of_item FOREIGN KEY (item_id) REFERENCES items",
        "ALTER TABLE items ADD order_id int CONSTRAINT last_order REFERENCES orders",
        "ALTER TABLE order_lines ADD CONSTRAINT of_buyer FOREIGN KEY (item_id) REFERENCES people.\"Buyer\"",
    )  # fmt: skip
    found = ties(shop)
    assert {one.kind for one in found} == {"foreign key"}
    assert sorted(one.needs for one in found) == [
        (("sales", "people"),),  # once, not once for each partition
        (("sales", "stock"),),
        (("stock", "sales"),),
    ]
    assert "public.orders: of_item FOREIGN KEY (item_id) REFERENCES items(id)" in {one.what for one in found}


def test_a_trigger_that_writes_elsewhere(shop: str) -> None:
    run(
        shop,
        "CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO orders (item_id) VALUES (NEW.id); RETURN NEW; END'",
        "CREATE TRIGGER log AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION log()",
    )
    found = only(ties(shop))
    assert (found.kind, found.what) == ("trigger", "public.items: log runs log()")
    assert (found.needs, found.guess) == ((("stock", "sales"),), True)


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_views_also_through_other_views(shop: str, kind: str) -> None:
    run(
        shop,
        f"CREATE {kind} sold AS SELECT o.id, p.name FROM orders o, item_places p",
        "CREATE VIEW of_sold AS SELECT id FROM sold",
    )
    found = ties(shop)
    assert {one.what for one in found} == {f"{kind.lower()} public.sold", "view public.of_sold"}
    assert found[0].modules == {"sales": ["public.orders"], "stock": ["public.items", "public.places"]}


def test_a_function_is_known_or_guessed(shop: str) -> None:
    run(
        shop,
        "CREATE FUNCTION known() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM items, orders; END",
        "CREATE FUNCTION guessed() RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN EXECUTE 'DELETE FROM items'; DELETE FROM people.\"Buyer\"; END $$",
    )  # fmt: skip
    assert {(one.what, one.guess, tuple(one.modules)) for one in ties(shop)} == {
        ("function known()", False, ("sales", "stock")),
        ("function guessed()", True, ("people", "stock")),
    }


def test_a_function_that_only_speaks_of_a_table_is_none(shop: str) -> None:
    run(
        shop,
        "CREATE FUNCTION fine() RETURNS void LANGUAGE plpgsql AS $$ BEGIN\n"
        "-- not orders\n/* nor \"Buyer\" */ DELETE FROM items; PERFORM 'Buyer', orders_total; END $$",
        'CREATE FUNCTION folded() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM items; DELETE FROM "ORDERS";'
        " END $$",
    )
    assert ties(shop) == []


def test_a_sequence_of_two_modules(shop: str) -> None:
    run(shop, "ALTER TABLE items ALTER id SET DEFAULT nextval('orders_id_seq')")
    found = only(ties(shop))
    assert (found.kind, found.what) == ("sequence", "sequence public.orders_id_seq")
    assert found.modules == {"sales": ["public.orders"], "stock": ["public.items"]}


def test_tables_of_no_module_and_tables_that_are_missing(shop: str) -> None:
    run(shop, "DROP TABLE places CASCADE")
    with psycopg.connect(shop, autocommit=True) as somebody:
        somebody.execute("CREATE TEMP TABLE mine (id int)")
        catalogue = read(shop)
    assert catalogue.without_module() == ["public.audit"]  # neither partitions nor the outbox
    assert catalogue.missing() == ["public.places"]


def test_what_the_kit_and_extensions_own_is_left_out(shop: str) -> None:
    run(
        shop,
        "CREATE SCHEMA strangler",
        "CREATE TABLE strangler.ownership (module text)",
        "CREATE FUNCTION strangler.fence() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM FROM items, orders; END'",
        "CREATE TRIGGER fence BEFORE INSERT ON items EXECUTE FUNCTION strangler.fence()",
    )
    assert ties(shop) == []
    assert read(shop).without_module() == ["public.audit"]


# --- what the application does ----------------------------------------------------------------------------------------


def recording(*transactions: list[str], end: str = "commit", times: int = 1) -> Recording:
    """Transactions of statements; the place of a statement is its number among all."""
    made = Recording()
    places = (f"app.py:{number}" for number in count(1))
    for statements in transactions:
        uses = []
        for statement in statements:
            made.statements[statement] = statement
            uses.append((statement, next(places)))
            made.ran[uses[-1]] += times
        made.transactions[frozenset(uses), end] += times
    return made


def test_a_statement_of_two_modules(shop: str) -> None:
    statement = "SELECT * FROM orders JOIN items ON items.id = orders.item_id"
    found = only(ties(shop, recording([statement], times=3)))
    assert (found.kind, found.what, found.count) == ("join", statement, 3)
    assert found.modules == {"sales": ["public.orders"], "stock": ["public.items"]}
    assert (found.needs, found.places) == ((), {"app.py:1": 3})


def test_one_that_writes_needs_what_it_reads(shop: str) -> None:
    assert only(ties(shop, recording(["INSERT INTO orders SELECT id FROM items"]))).needs == (("sales", "stock"),)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM items JOIN places ON places.item_id = items.id",
        "SELECT * FROM item_places",
        "WITH orders AS (SELECT * FROM items) SELECT * FROM orders",
        "SELECT 'orders' FROM items",
        "SELECT * FROM items, pg_stat_activity, information_schema.tables, strangler.ownership",
        "INSERT INTO outbox SELECT id FROM items",
        "CREATE TABLE new AS SELECT * FROM items, orders",
    ],
)
def test_a_statement_of_one_module_is_no_tie(shop: str, statement: str) -> None:
    assert ties(shop, recording([statement])) == []


def test_names_are_found_as_postgresql_finds_them(shop: str) -> None:
    run(shop, "CREATE SCHEMA other", "CREATE TABLE other.items (id int)", "CREATE TABLE other.alone (id int)")
    catalogue = read(shop)
    assert catalogue.resolve(None, "items") == "public.items"
    assert catalogue.resolve("other", "items") == "other.items"
    assert catalogue.resolve(None, "Buyer") == "people.Buyer"
    assert catalogue.resolve(None, "buyer") is None
    assert catalogue.resolve(None, "alone") == "other.alone"
    assert catalogue.resolve("public", "alone") is None


def test_quoted_names_partitions_and_views_belong_to_their_module(shop: str) -> None:
    found = only(ties(shop, recording(['SELECT * FROM "people"."Buyer", PUBLIC.Order_Lines_0, item_places'])))
    assert found.modules == {
        "people": ["people.Buyer"],
        "sales": ["public.order_lines_0"],
        "stock": ["public.items", "public.places"],
    }


def test_a_called_function_brings_its_tables(shop: str) -> None:
    run(shop, "CREATE FUNCTION sold(int) RETURNS bigint LANGUAGE plpgsql AS"
              " 'BEGIN RETURN (SELECT count(*) FROM orders WHERE item_id = $1); END'")  # fmt: skip
    found = only(ties(shop, recording(["SELECT sold(id) FROM items"])))
    assert (set(found.modules), found.guess) == ({"sales", "stock"}, True)


WRITE_ITEM, WRITE_ORDER = "UPDATE items SET name = '?'", "INSERT INTO orders VALUES ($1)"


def test_a_transaction_that_writes_two_modules(shop: str) -> None:
    found = only(ties(shop, recording([WRITE_ITEM, WRITE_ORDER, "SELECT 0 FROM places"], times=2)))
    assert (found.kind, found.count) == ("transaction", 2)
    assert found.what == f"{WRITE_ORDER};\n{WRITE_ITEM}"
    assert found.places == {"app.py:1": 2, "app.py:2": 2}


def test_transactions_that_write_by_the_same_statements_are_one(shop: str) -> None:
    made = recording([WRITE_ITEM, WRITE_ORDER], [WRITE_ITEM, WRITE_ORDER, "SELECT 0 FROM places"])
    assert only(ties(shop, made)).count == 2


def test_a_row_lock_counts_as_a_write(shop: str) -> None:
    assert only(ties(shop, recording(["SELECT * FROM items FOR UPDATE", WRITE_ORDER]))).kind == "transaction"


@pytest.mark.parametrize(
    "transactions",
    [
        [[WRITE_ITEM], [WRITE_ORDER]],
        [[WRITE_ITEM, "SELECT * FROM orders"]],
        [[WRITE_ITEM, "UPDATE places SET id = 0"]],
        [[WRITE_ITEM, "INSERT INTO outbox VALUES (0)"]],
    ],
)
def test_no_shared_transaction(shop: str, transactions: list[list[str]]) -> None:
    assert ties(shop, recording(*transactions)) == []


def test_rolled_back_transactions_count_only_when_asked_for(shop: str) -> None:
    made = recording([WRITE_ITEM, WRITE_ORDER], end="rollback")
    made.transactions.update(recording([WRITE_ITEM], end="rollback").transactions)
    seams = find(read(shop), made)
    assert (seams.findings, seams.rolled_back) == ([], 1)
    assert only(ties(shop, made, rolled_back=True)).kind == "transaction"


def test_a_table_of_no_module_ties_too(shop: str) -> None:
    assert only(ties(shop, recording([WRITE_ITEM, "INSERT INTO audit VALUES (now())"]))).modules == {
        NO_MODULE: ["public.audit"],
        "stock": ["public.items"],
    }


def test_what_is_unknown_or_not_understood_is_said(shop: str) -> None:
    made = recording(["SELECT * FROM gone, items"], ["LOCK TABLE items"], times=4)
    made.ran["no text", "app.py:9"] = 5
    made.transactions[frozenset({("no text", "app.py:9")}), "commit"] = 5
    seams = find(read(shop), made)
    assert (seams.findings, seams.unknown_tables) == ([], {"gone": 4})
    assert list(seams.not_understood) == ["LOCK TABLE items"]
    notes = "\n".join(Report("monolith", read(shop), made, seams).notes())
    for said in ("names gone (4 times)", "LOCK is not understood", "5 runs of statements whose text is missing"):
        assert said in notes


# --- the order --------------------------------------------------------------------------------------------------------


def tie(one: str, other: str, kind: str = "foreign key", directed: bool = True) -> Finding:
    return Finding(
        kind, f"{one} {other}", {one: [f"s.{one}"], other: [f"s.{other}"]}, ((one, other),) if directed else ()
    )


def names(modules: list[str], findings: list[Finding]) -> list[str]:
    return [step.module for step in order(modules, findings)]


def test_the_fewest_ties_go_first_and_equals_by_name() -> None:
    findings = [tie("a", "b"), tie("a", "c", "join", directed=False), tie("a", "d"), tie("c", "d")]
    steps = order(["d", "c", "b", "a"], findings)
    assert [(one.module, one.ties) for one in steps] == [("b", 1), ("a", 2), ("c", 1), ("d", 0)]
    assert steps[0].reason == (
        "1 foreign key to cut; 1 by which others need it, 0 by which it needs others; the next, c, has 2"
    )
    assert "as many as c, d, so by name" in steps[1].reason
    assert steps[3].reason == "nothing ties it to what is left; the last one"


def test_ties_that_are_cut_already_do_not_count() -> None:
    findings = [tie("hub", one) for one in ("a", "b", "c")] + [tie("c", "d"), tie("c", "d", "join")]
    assert names(["a", "b", "c", "d", "hub"], findings) == ["a", "b", "hub", "c", "d"]


def test_tables_of_no_module_stay_behind() -> None:
    assert names(["a", "b"], [tie("a", NO_MODULE)]) == ["b", "a"]


def test_a_finding_of_three_modules_is_one_tie() -> None:
    view = Finding("view", "v", {"a": [], "b": [], "c": []})
    assert [step.ties for step in order(["a", "b", "c"], [view])] == [1, 1, 0]


def test_cycles_are_named() -> None:
    findings = [tie("a", "b"), tie("b", "c"), tie("c", "a"), tie("c", "d"), tie("d", "e", directed=False)]
    assert cycles(["a", "b", "c", "d", "e"], findings) == [["a", "b", "c"]]
    assert cycles(["a", "b", "c"], findings[:2]) == []


# --- the command ------------------------------------------------------------------------------------------------------

TOML = """
[sites.monolith]
dsn = "${SHOP}"
[sites.other]
[modules.stock]
source = "monolith"
target = "other"
tables = ["public.items", "public.places"]
routes = ["/stock"]
[modules.sales]
source = "monolith"
target = "other"
tables = ["public.orders", "public.order_lines"]
routes = ["/sales"]
[analyze]
everywhere = ["public.outbox", "public.audit", "people.Buyer"]
"""


@pytest.fixture
def tied(shop: str) -> str:
    run(shop, "ALTER TABLE orders ADD CONSTRAINT of_item FOREIGN KEY (item_id) REFERENCES items")
    return shop


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines: list[object] = [
        {"statement": "s", "sql": "SELECT '?' AS \"<script>alert(1)</script>\" FROM items, orders"},
        {"ran": "s", "at": "app/<b>.py:7", "count": 5},
        {"transaction": [["s", "app/<b>.py:7"]], "end": "commit", "count": 5},
    ]
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"ran": "s", "at"')
    return path


def test_the_command_as_json(tied: str, file: Path, tmp_path: Path) -> None:
    done = strangler(tmp_path, "analyze", "--recording", str(file), "--json", toml=TOML, SHOP=tied)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["matrix"] == {
        "sales": {"stock": {"foreign key": 1, "join": 1}},
        "stock": {"sales": {"join": 1}},
    }
    assert [step["module"] for step in found["order"]] == ["sales", "stock"]
    assert [one["kind"] for one in found["findings"]] == ["foreign key", "join"]
    assert found["findings"][1]["places"] == {"app/<b>.py:7": 5}
    assert found["recording"]["bad_lines"] == 1


def test_the_command_on_a_terminal(tied: str, file: Path, tmp_path: Path) -> None:
    done = strangler(tmp_path, "analyze", "--recording", str(file), toml=TOML, SHOP=tied, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    for said in (
        "1 fk, 1 join", "public.orders: of_item FOREIGN KEY", "join (5 times)", "at app/<b>.py:7 (5)", "1. sales:",
        "1 lines of the recording are broken",
    ):  # fmt: skip
        assert said in done.stdout


def test_without_a_recording_it_says_what_is_not_known(tied: str, tmp_path: Path) -> None:
    done = strangler(tmp_path, "analyze", toml=TOML, SHOP=tied)
    assert done.returncode == 0, done.stderr
    assert "no recording: joins and transactions of the application are not known" in done.stdout


class Page(HTMLParser):
    """Tags, targets of links and ids of a page; fails when tags don't match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        values = {name: value or "" for name, value in attributes}
        self.links |= {values[name] for name in ("href", "src") if name in values}
        self.ids |= {values["id"]} if "id" in values else set()

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_escapes_everything_and_needs_nothing_from_elsewhere(tied: str, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "seams.html"
    done = strangler(tmp_path, "analyze", "--recording", str(file), "--html", str(path), toml=TOML, SHOP=tied)
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    made = Page(text)
    assert not {"script", "link", "img", "b>"} & set(made.tags)
    assert made.links
    assert all(link.startswith("#") and link[1:] in made.ids for link in made.links)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "app/&lt;b&gt;.py:7" in text
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_of_any_number_of_modules() -> None:
    for number in range(1, 15):
        modules = [f"m{one}" for one in range(number)]
        tables = {one: [f"s.{one}"] for one in modules}
        catalogue = Catalogue(tables, frozenset(), [], {f"s.{one}": "r" for one in modules})
        findings = [tie(one, other) for one in modules for other in modules if one != other]
        text = page(Report("shop", catalogue, None, Seams(findings)))
        Page(text)
        assert text.count('<g class="node">') == number
        assert not re.search(r"\bnan\b|\binf\b", text)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--recording", "gone.jsonl"], "cannot read gone.jsonl: No such file or directory; name a file that"),
        (["--recording", "/"], "cannot read /: Is a directory"),
        (["--recording", __file__], "nothing in it was recorded; call `record()`"),
        (["--site", "mars"], "--site mars: no module has it as its source; there is: monolith"),
        (["--html", "/gone/x.html"], "cannot write /gone/x.html: No such file or directory"),
        (["--fly"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(shop: str, tmp_path: Path, words: list[str], says: str) -> None:
    done = strangler(tmp_path, "analyze", *words, toml=TOML, SHOP=shop)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_several_sources_need_a_site(shop: str, tmp_path: Path) -> None:
    toml = TOML.replace('[modules.sales]\nsource = "monolith"\ntarget = "other"',
                        '[modules.sales]\nsource = "other"\ntarget = "monolith"')  # fmt: skip
    done = strangler(tmp_path, "analyze", toml=toml, SHOP=shop)
    assert done.returncode == 2
    assert "modules have several sources (monolith, other); say which with --site" in done.stderr
    assert strangler(tmp_path, "analyze", "--site", "monolith", toml=toml, SHOP=shop).returncode == 0


def test_a_missing_parser_is_one_line_and_exit_2(tied: str, file: Path, tmp_path: Path) -> None:
    (tmp_path / "sqlglot.py").write_text("raise ImportError('no such thing')")
    environment = {"SHOP": tied, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    done = strangler(tmp_path, "analyze", "--recording", str(file), toml=TOML, **environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'strangler[analyze]'" in done.stderr
    assert strangler(tmp_path, "analyze", toml=TOML, **environment).returncode == 0


def test_the_kit_does_without_the_parser() -> None:
    words = (
        "import sys, strangler.cli, strangler.recorder; sys.exit(bool({'sqlglot', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
