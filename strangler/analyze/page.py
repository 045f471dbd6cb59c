"""The report as one page: no script, nothing from elsewhere, light and dark, large enough for a projector."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from strangler.analyze.catalogue import NO_MODULE
from strangler.analyze.order import counted
from strangler.analyze.picture import KIND_CLASS, picture
from strangler.analyze.report import Report
from strangler.analyze.seams import KINDS, Finding
from strangler.analyze.text import some


def page(report: Report) -> str:
    """The whole page. Every name and every statement in it is escaped."""
    site = escape(report.site)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Seams of {site}</title>
<style>
{files("strangler.analyze").joinpath("page.css").read_text()}</style>
</head>
<body>
<header>
<h1>Seams of {site}</h1>
<p>{_summary(report)}</p>
</header>
<main>
<figure>
{picture(report)}
<figcaption>{_legend()}</figcaption>
</figure>
{_order(report)}
<section>
<h2>Who needs whom</h2>
{_matrix(report)}
<p class="quiet">A row needs a column, or both use both: <b>fk</b> foreign keys, <b>tx</b> shared transactions.</p>
</section>
{"".join(_pair(pair, findings, report) for pair, findings in report.pairs().items())}
{_notes(report)}
</main>
</body>
</html>
"""


def _summary(report: Report) -> str:
    modules, ties = len(report.catalogue.modules), len(report.seams.findings)
    text = f"{_number(modules, 'module')}, {_number(ties, 'tie')} between them; "
    if report.recording is None:
        return text + "nothing recorded."
    runs, transactions = sum(report.recording.ran.values()), sum(report.recording.transactions.values())
    return text + f"{_number(runs, 'statement')} and {_number(transactions, 'transaction')} recorded."


def _order(report: Report) -> str:
    steps = "".join(f"<li><strong>{escape(step.module)}</strong>: {escape(step.reason)}</li>" for step in report.order)
    warnings = "".join(
        f'<p class="warning">Cycle: {escape(report.chain(group))}. Cut a tie before any of them can stand alone.</p>'
        for group in report.cycles
    )
    return f'<section><h2>Proposed order</h2><ol class="order">{steps}</ol>{warnings}</section>'


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _legend() -> str:
    names = {"foreign key": "foreign keys", "join": "joins", "transaction": "shared transactions",
             "trigger": "triggers, views, functions, sequences"}  # fmt: skip
    chips = "".join(f'<span class="chip {KIND_CLASS[kind]}">{name}</span>' for kind, name in names.items())
    return f'{chips}<span class="quiet">an arrow leads to what is needed</span>'


def _anchor(pair: tuple[str, str], report: Report) -> str:
    return "-".join(["ties", *(str(report.nodes.index(one)) for one in pair)])


def _matrix(report: Report) -> str:
    head = "".join(f'<th scope="col">{escape(node)}</th>' for node in report.nodes)
    rows = []
    for row in report.nodes:
        cells = "".join(_cell(row, column, report) for column in report.nodes)
        rows.append(f'<tr><th scope="row">{escape(row)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell(row: str, column: str, report: Report) -> str:
    if row == column:
        return '<td class="self"></td>'
    found = report.cell(row, column)
    anchor = _anchor((min(row, column), max(row, column)), report)
    chips = "".join(
        f'<a class="chip {KIND_CLASS[kind]}" href="#{anchor}">{some(kind, found[kind])}</a>'
        for kind in KINDS
        if found[kind]
    )
    return f"<td>{chips}</td>"


def _pair(pair: tuple[str, str], findings: list[Finding], report: Report) -> str:
    one, other = (escape(name) for name in pair)
    listed = "".join(_finding(finding) for finding in findings)
    return f"""<section id="{_anchor(pair, report)}">
<h2>{one} and {other}</h2>
<p class="quiet">{escape(counted(findings))}</p>
{listed}
</section>
"""


def _finding(finding: Finding) -> str:
    times = "" if finding.count is None else f"<b>{_number(finding.count, 'time')}</b>"
    guess = '<span class="quiet">a guess, by the names in a function\'s text</span>' if finding.guess else ""
    needs = "; ".join(f"{a} needs {b}" for a, b in finding.needs)
    tables = "; ".join(f"{module}: {', '.join(tables)}" for module, tables in finding.modules.items())
    places = "".join(f"<li><code>{escape(place)}</code> {count}</li>" for place, count in finding.places.items())
    return f"""<article>
<p><span class="chip {KIND_CLASS[finding.kind]}">{finding.kind}</span> {times} {escape(needs)} {guess}</p>
<pre>{escape(finding.what)}</pre>
<p class="quiet">{escape(tables)}</p>
{f'<ul class="places">{places}</ul>' if places else ""}
</article>
"""


def _notes(report: Report) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes())
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(', '.join(tables))}</dd>"
        for name, tables in sorted(report.catalogue.modules.items())
    )
    if left := report.catalogue.without_module():
        rows += f"<dt>{NO_MODULE}</dt><dd>{escape(', '.join(left))}</dd>"
    head = f"<h2>Not seen, or not clear</h2><ul>{notes}</ul>" if notes else ""
    return f"<section>{head}<h2>Tables</h2><dl>{rows}</dl></section>"
