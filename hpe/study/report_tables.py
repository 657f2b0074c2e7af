"""The tables of a report, once as cells of text, written as HTML, Markdown and LaTeX."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpe.io.markdown import markdown_table
from hpe.study.paper import BASELINE_DEG, KINDS, PaperRow, Setting, Settings, best_of_each, distinct
from hpe.study.report_claims import Claim, PaperClaim, count
from hpe.study.report_rows import Row
from hpe.study.statistics import Comparison

SHORT = " (short)"
"""Stands after a latency that was measured for too short a time to count."""
COLUMNS: dict[str, tuple[str, str]] = {  # key: (heading, format); None in a row prints as a dash
    "model": ("model", "{}"),
    "family": ("family", "{}"),
    "pruned_to": ("pruned to", "{}"),
    "n": ("n", "{}"),
    "float_mae_deg": ("MAE float (deg)", "{:.2f}"),
    "int8_mae_deg": ("MAE int8 (deg)", "{:.2f}"),
    "int8_mb": ("int8 MB", "{:.2f}"),
    "int8_gzip_mb": ("gzip", "{:.2f}"),
    "fp32_mb": ("fp32 MB", "{:.2f}"),
    "fp32_gzip_mb": ("gzip", "{:.2f}"),
    "int8_ms": ("int8 ms", "{:.2f}"),
    "fp32_ms": ("fp32 ms", "{:.2f}"),
    "macs": ("MACs", "{:,.0f}"),
    "nonzeros": ("non-zeros", "{:,.0f}"),
    "params": ("parameters", "{:,.0f}"),
}


@dataclass(frozen=True)
class Table:
    """Cells of text under their headings."""

    name: str
    """Of the table in a page and of its label."""
    headings: list[str]
    """One a column."""
    rows: list[list[str]]
    """Cells; a dash where nothing was measured."""
    text: int = 1
    """How many columns from the left are text; the others are numbers."""
    note: str = ""
    """What to know beside it."""
    models: list[str] = field(default_factory=list)
    """The model that each row is about; empty where rows are about others."""

    def markdown(self) -> str:
        """As Markdown, numbers to the right."""
        return markdown_table(self.headings, self.rows, self.text) + "\n"

    def latex(self) -> str:
        """As LaTeX with the rules of the package booktabs."""
        form = "l" * self.text + "r" * (len(self.headings) - self.text)
        rows = "\n".join(" & ".join(map(latex_text, row)) + r" \\" for row in self.rows)
        head = " & ".join(map(latex_text, self.headings)) + r" \\"
        note = f"\\caption{{{latex_text(self.note)}}}\n" if self.note else ""
        return (
            f"\\begin{{table}}\n\\centering\n{note}\\label{{tab:{self.name}}}\n\\begin{{tabular}}{{{form}}}\n\\toprule\n"
            f"{head}\n\\midrule\n{rows}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )

    def html(self) -> str:
        """As HTML that scrolls by itself where it is too wide."""
        sides = ["text"] * self.text + [""] * (len(self.headings) - self.text)
        head = "".join(_cell("th", text, side) for text, side in zip(self.headings, sides, strict=True))
        body = ""
        for index, row in enumerate(self.rows):
            about = f' data-model="{html.escape(self.models[index])}"' if self.models else ""
            cells = "".join(_cell("td", text, side) for text, side in zip(row, sides, strict=True))
            body += f"<tr{about}>{cells}</tr>"
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        return f'{note}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(tag: str, text: str, side: str) -> str:
    kind = f' class="{side}"' if side else ""
    return f"<{tag}{kind}>{html.escape(text)}</{tag}>"


LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "°": r"$^\circ$", "~": r"\textasciitilde{}",
         "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}",
         **{sign: f"\\{sign}" for sign in "&%$#_{}"}}  # fmt: skip


def latex_text(text: str) -> str:
    """Text as LaTeX: what it would take for commands is written out."""
    return "".join(LATEX.get(sign, sign) for sign in text)


def models_table(rows: Sequence[Row]) -> Table:
    """All rows with what COLUMNS say."""
    headings = [heading for heading, _ in COLUMNS.values()]
    cells = [[cell(row, key, form) for key, (_, form) in COLUMNS.items()] for row in rows]
    return Table("models", headings, cells, 3, models=[row["model"] for row in rows])


def cell(row: Row, key: str, form: str) -> str:
    """One value as text: a dash where it was not measured; an error with its spread, or n = 1 where it has none."""
    value = row[key]
    if value is None:
        return "-"
    if key == "family" and row["role"] in ("control", "twin"):
        return f"{value} ({row['role']})"
    text = form.format(value)
    if key.endswith("_deg"):
        sd = row[f"{key}_sd"]
        return f"{text} (n = 1)" if sd is None else f"{text} ± {sd:.2f}"
    return text + (SHORT if row.get(f"{key}_short") else "")


def boards_table(rows: Sequence[Row], board: str) -> Table:
    """What every model costs on one board, by engine."""
    headings = ["model", "engine", "figures", "flash (kB)", "RAM (kB)", "million cycles", "ms", "fits"]
    cells, models = [], []
    for row in rows:
        for engine, cost in row["boards"].get(board, {}).items():
            numbers = [_number(cost["flash_bytes"], 1e3, 0), _number(cost["ram_bytes"], 1e3, 0)]
            numbers += [_number(cost["cycles"], 1e6, 2), _number(cost["ms"], 1, 1), "yes" if cost["fits"] else "no"]
            cells.append([row["model"], engine, cost["source"], *numbers])
            models.append(row["model"])
    return Table(f"board-{board}", headings, cells, 3, models=models)


def _number(value: float | None, unit: float, digits: int) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def claims_table(claims: Sequence[Claim]) -> Table:
    """A against B among our rows."""
    headings = ["question", "A", "B", "n", "A less B (deg)", "95 % interval", "P(A better)", "so"]
    cells = [[c.question, c.a, c.b, f"{c.seeds[0]}, {c.seeds[1]}", *_result(c.result)] for c in claims]
    return Table("comparisons", headings, cells, 3)


def _result(result: Comparison | None) -> list[str]:
    if result is None:
        return ["-", "-", "-", "not tested"]
    so = "undecided" if not result.decided else "A is better" if result.difference_deg < 0 else "B is better"
    so += " (n = 1)" if result.faces_alone and result.decided else ""
    interval = f"{result.low_deg:+.2f} to {result.high_deg:+.2f}"
    return [f"{result.difference_deg:+.2f}", interval, f"{result.probability:.2f}", so]


def paper_claims_table(claims: Sequence[PaperClaim], name: str) -> Table:
    """What the paper concludes, its noise, and what our runs say."""
    headings = ["question", "A", "B", "paper: A less B (deg)", "inside its noise", "ours (deg)", "95 % interval", "n",
                "verdict"]  # fmt: skip
    cells = []
    for claim in claims:
        difference, interval, _, _ = _result(claim.ours)
        inside = "yes" if claim.inside else "no"
        seeds = f"{claim.seeds[0]}, {claim.seeds[1]}" if claim.ours else "-"
        cells.append([claim.question, claim.a, claim.b, f"{claim.paper_deg:+.3f}", inside, difference, interval, seeds,
                      claim.verdict])  # fmt: skip
    return Table(name, headings, cells, 3)


def counts_table(claims: Sequence[PaperClaim]) -> Table:
    """How many of the paper's conclusions are inside its noise, and how many hold here."""
    counts = count(claims)
    headings = ["question", "comparisons", "inside the noise", *list(counts[0])[3:]]
    return Table("counts", headings, [[str(value) for value in row.values()] for row in counts])


def best_table(grid: Sequence[PaperRow], ours: Mapping[Settings, Row], dense: Row | None) -> Table:
    """Table I: the best row of each sparsity and schedule, float and quantised, the paper's beside ours."""
    headings = ["row", "paper float", "paper quantised", "ours float", "ours quantised", "ours int8"]
    cells = [["before pruning", f"{BASELINE_DEG:.2f}", "-", *_ours(dense, "float", "dynamic", "int8")]]
    for s in best_of_each(grid):
        published = [f"{s.mae():.2f} (n = {len(s.rows)})", f"{s.mae('quantized'):.2f}"]
        cells.append([s.name, *published, *_ours(ours.get(s.settings), "float", "dynamic", "int8")])
    return Table("table-1", headings, cells, note="Mean absolute error in degrees. The paper's test faces are others.")


def _ours(row: Row | None, *kinds: str) -> list[str]:
    return ["-" if row is None else cell(row, f"{kind}_mae_deg", "{:.2f}") for kind in kinds]


def files_table(grid: Sequence[PaperRow], ours: Mapping[Settings, Row]) -> Table:
    """Table II: raw and gzipped bytes of each kind of file, the paper's beside ours."""
    headings = ["row", "file", "paper MB", "gzip", "ours MB", "gzip"]
    cells = []
    for s in best_of_each(grid):
        row = ours.get(s.settings)
        kinds = [*zip(KINDS, ("fp32", "sparse", "dynamic"), strict=True), (None, "int8")]
        for theirs, mine in kinds:
            published = ["-", "-"] if theirs is None else [f"{s.mb(theirs, gzip):.2f}" for gzip in (False, True)]
            own = ["-", "-"] if row is None else [cell(row, f"{mine}{end}", "{:.2f}") for end in ("_mb", "_gzip_mb")]
            cells.append([s.name, "full int8" if theirs is None else KINDS[theirs], *published, *own])
    return Table("table-2", headings, cells, 2, "MB: 10^6 bytes. Full int8 files are not in the paper.")


def grid_table(grid: Sequence[PaperRow], ours: Mapping[Settings, Row]) -> Table:
    """Every published row beside ours."""
    headings = ["row", "in the grid", "paper float", "quantised", "gzip MB", "quantised gzip MB", "ours", "ours n",
                "ours float", "ours int8", "int8 gzip MB"]  # fmt: skip
    cells = [[s.name, ", ".join(str(row.line) for row in s.rows), *_published(s), *_repeated(ours.get(s.settings))]
             for s in distinct(grid).values()]  # fmt: skip
    return Table("grid", headings, cells, 2, models=[ours[s]["model"] if s in ours else "" for s in distinct(grid)])


def _published(s: Setting) -> list[str]:
    sizes = [f"{s.mb('pruned', True):.2f}", f"{s.mb('quantized', True):.2f}"]
    return [f"{s.mae():.3f} (n = {len(s.rows)})", f"{s.mae('quantized'):.3f}", *sizes]


def _repeated(row: Row | None) -> list[str]:
    if row is None:
        return ["-"] * 5
    return [row["model"], str(row["n"]), *_ours(row, "float", "int8"), cell(row, "int8_gzip_mb", "{:.2f}")]
