"""From result.json files to one table (Markdown, CSV), Pareto plots and one HTML page. Reads JSON only."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpe.io.files import write_csv, write_text, write_whole
from hpe.io.progress import standard_output
from hpe.model.lineage import Lineage
from hpe.study.results import ReportError, RunResult, data_specs, read_results

Row = dict[str, Any]

COLUMNS: dict[str, tuple[str, str]] = {  # key: (heading, format); None in a row prints as a dash
    "model": ("model", "{}"),
    "family": ("family", "{}"),
    "pruned_to": ("pruned to", "{}"),
    "params": ("parameters", "{:,}"),
    "nonzeros": ("non-zeros", "{:,}"),
    "macs": ("MACs", "{:,}"),
    "fp32_mb": ("fp32 MB", "{:.2f}"),
    "fp32_gzip_mb": ("gzip", "{:.2f}"),
    "int8_mb": ("int8 MB", "{:.2f}"),
    "int8_gzip_mb": ("gzip", "{:.2f}"),
    "float_mae_deg": ("MAE float (deg)", "{:.2f}"),
    "int8_mae_deg": ("MAE int8 (deg)", "{:.2f}"),
    "fp32_ms": ("fp32 ms", "{:.2f}"),
    "int8_ms": ("int8 ms", "{:.2f}"),
}
SHORT_COLUMNS: dict[str, tuple[str, float]] = {  # for the terminal: key: (heading, unit)
    "params": ("params\nM", 1e6),
    "nonzeros": ("nonzero\nM", 1e6),
    "macs": ("MACs\nM", 1e6),
    "fp32_mb": ("fp32\nMB", 1),
    "fp32_gzip_mb": ("fp32\ngzip", 1),
    "int8_mb": ("int8\nMB", 1),
    "int8_gzip_mb": ("int8\ngzip", 1),
    "float_mae_deg": ("float\ndeg", 1),
    "int8_mae_deg": ("int8\ndeg", 1),
    "fp32_ms": ("fp32\nms", 1),
    "int8_ms": ("int8\nms", 1),
}
FAMILIES = {"dense": "#4c566a", "magnitude": "#d9822b", "channel": "#2b6cb0", "block": "#2f855a"}
"""Colour of each family in the plots."""
MIXED = "#805ad5"
"""Colour of what was pruned in several ways."""
SHORT = " (short)"
"""Stands after a latency that was measured for too short a time to count."""


def table_rows(results: Mapping[str, RunResult], spec: str) -> list[Row]:
    """One row a run: what its result.json holds for the data `spec`; what was not measured is None."""
    rows = []
    for name, result in results.items():
        mae = {e.file: e.mae_deg["mean"] for e in result.evaluations.values() if e.data == spec}
        lineage = result.config.lineage
        row: Row = {"model": name, "family": lineage.family, "pruned_to": pruned_to(lineage)}
        row |= {"params": result.params, "nonzeros": result.nonzeros, "macs": result.macs}
        for kind in ("fp32", "int8"):
            file = f"model_{kind}.tflite"
            size, latency = result.files.get(file), result.latency.get(file)
            row[f"{kind}_mb"] = None if size is None else size.size_bytes / 1e6
            row[f"{kind}_gzip_mb"] = None if size is None else size.gzip_bytes / 1e6
            row[f"{kind}_ms"] = None if latency is None else latency.median_ms
            row[f"{kind}_ms_short"] = None if latency is None else not latency.valid
        row["float_mae_deg"] = mae.get("model.safetensors", mae.get("model_fp32.tflite"))
        row["int8_mae_deg"] = mae.get("model_int8.tflite")
        rows.append(row)
    return rows


def pruned_to(lineage: Lineage) -> str | None:
    """What the last pruning was asked for, in words; None where nobody pruned, or blocks were dropped."""
    if lineage.target:
        limits = (f"{n:,} {name.replace('_', ' ')}" if isinstance(n, int) else n for name, n in lineage.target.items())
        return ", ".join(limits)
    return None if lineage.sparsity is None else f"{lineage.sparsity:.1%} sparsity"


def _cells(row: Row) -> list[str]:
    return [_cell(row, key, form) for key, (_, form) in COLUMNS.items()]


def _cell(row: Row, key: str, form: str, unit: float = 1) -> str:
    """One value as text: a dash where it was not measured, with a mark where it was measured for too short a time."""
    if row[key] is None:
        return "-"
    value = row[key] if isinstance(row[key], str) else row[key] / unit if unit != 1 else row[key]
    return form.format(value) + (SHORT if row.get(f"{key}_short") else "")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, numbers to the right."""
    headings = [heading for heading, _ in COLUMNS.values()]
    lines = ["| " + " | ".join(headings) + " |", "|---|---|---|" + "---:|" * (len(headings) - 3)]
    return "\n".join(lines + ["| " + " | ".join(_cells(row)) + " |" for row in rows]) + "\n"


def print_table(rows: Sequence[Row], title: str) -> None:
    """The rows as a table that fits a terminal of 80 columns: counts in millions; the files say more."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=0, title_justify="left")
    table.add_column("model", overflow="fold")
    for heading, _ in SHORT_COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [_cell(row, key, "{:.2f}", unit).replace(SHORT, "*") for key, (_, unit) in SHORT_COLUMNS.items()]
        table.add_row(row["model"], *cells)
    standard_output().print(table)
    if any(row["fp32_ms_short"] or row["int8_ms_short"] for row in rows):
        standard_output().print("*: timed for less than 10 seconds, which does not count; see hpe bench --help")


def pareto(rows: Sequence[Row], x: str, y: str) -> list[Row]:
    """The rows that no other one beats in both columns, by rising `x`; rows without either number are left out."""
    known = sorted((r for r in rows if r[x] is not None and r[y] is not None), key=lambda r: (r[x], r[y]))
    front: list[Row] = []
    for row in known:
        if not front or row[y] < front[-1][y]:
            front.append(row)
    return front


def plot_pareto(rows: Sequence[Row], path: Path, spec: str) -> Path:
    """Error of the int8 files against bytes (raw, gzip) and latency, with the Pareto front of each, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes_of = {"int8_mb": "int8 file (MB)", "int8_gzip_mb": "int8 file, gzip -9 (MB)", "int8_ms": "latency, int8 (ms)"}
    families = sorted({r["family"] for r in rows}, key=[*FAMILIES, *(r["family"] for r in rows)].index)
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), sharey=True, layout="constrained")
    for axis, (x, label) in zip(axes, axes_of.items(), strict=True):
        front = pareto(rows, x, "int8_mae_deg")
        axis.plot([r[x] for r in front], [r["int8_mae_deg"] for r in front], "-", color="#b8c0cc", zorder=1)
        for family in families:
            known = [r for r in rows if r["family"] == family and r[x] is not None and r["int8_mae_deg"] is not None]
            values = [r["int8_mae_deg"] for r in known]
            axis.scatter([r[x] for r in known], values, s=60, color=FAMILIES.get(family, MIXED), label=family, zorder=2)
            for row in known:
                place = {"xytext": (6, 6), "textcoords": "offset points", "fontsize": 8}
                axis.annotate(row["model"], (row[x], row["int8_mae_deg"]), **place)
        axis.set(xlabel=label, xlim=(0, None))
        axis.margins(x=0.25, y=0.2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("mean absolute error, int8 (degrees)")
    axes[0].legend(frameon=False)
    figure.suptitle(f"Lower left is better. Line: Pareto front. Data: {spec}", fontsize=10)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=130))
    plt.close(figure)
    return path


def write_report(
    runs: Sequence[Path], out: Path, pictures: Mapping[str, Path] | None = None, note: str = ""
) -> dict[str, list[Row]]:
    """Tables, plots and report.html of run folders into `out`; returns the rows by data SPEC.

    `pictures` (title: PNG) and `note` are put on the page as they are.
    """
    results = read_results(runs)
    specs = data_specs(results)
    if not specs:
        raise ReportError(f"{runs[0]}: nothing evaluated yet; run `hpe evaluate {runs[0]} --data SPEC` first")
    tables = {spec: table_rows(results, spec) for spec in specs}
    sections, text = [], ""
    for index, (spec, rows) in enumerate(tables.items()):
        suffix = f"_{index + 1}" if len(tables) > 1 else ""
        write_csv(out / f"table{suffix}.csv", rows)
        plot = plot_pareto(rows, out / f"pareto{suffix}.png", spec)
        text += f"Data: {spec}\n\n{markdown(rows)}\n"
        sections.append(f"<h2>Data: {html.escape(spec)}</h2>{_html_table(rows)}{_html_picture(plot, 'Pareto')}")
    write_text(out / "table.md", text)
    sections += [
        f"<h2>{html.escape(title)}</h2>{_html_picture(path, title)}" for title, path in (pictures or {}).items()
    ]
    first = next(iter(results.values()))
    write_text(out / "report.html", _page(sections, note, first.environment))
    return tables


def _html_table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading, _ in COLUMNS.values())
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row)) + "</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _html_picture(path: Path, title: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1f2933;max-width:80rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .5rem;text-align:right;white-space:nowrap}
th{border-bottom:2px solid #9aa5b1}td{border-bottom:1px solid #e4e7eb}
th:nth-child(-n+3),td:nth-child(-n+3){text-align:left}
img{max-width:100%;margin-top:1rem}footer{margin-top:2rem;color:#616e7c;font-size:.8rem}
"""


def _page(sections: Sequence[str], note: str, environment: Mapping[str, Any]) -> str:
    legend = (
        "MAE: mean absolute error over yaw, pitch and roll; samples with an angle beyond 99 degrees are left out. "
        "MB: 10^6 bytes; gzip: level 9. ms: median latency of one image; short: timed for less than 10 seconds, which "
        "does not count. Family: how the network or one that it came from was pruned. A dash: not measured."
    )
    facts = ", ".join(f"{key} {value}" for key, value in environment.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Head pose on tiny devices</title><style>{STYLE}</style><h1>Head pose on tiny devices</h1>"
        f"<p>{html.escape(note)}</p>{''.join(sections)}<footer><p>{html.escape(legend)}</p>"
        f"<p>{html.escape(facts)}</p></footer></html>\n"
    )
