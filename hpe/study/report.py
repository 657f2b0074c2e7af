"""From result.json files alone to one report: a page, the same as Markdown and LaTeX, tables as CSV, and plots."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpe.io.files import write_csv, write_text
from hpe.io.progress import standard_output
from hpe.study.report_rows import (
    Groups,
    Row,
    choice_spec,
    errors_by_face,
    make_rows,
    on_same_faces,
    plain_groups,
    study_groups,
    timed_alike,
)
from hpe.study.results import ReportError, RunResult, data_specs, read_results, read_study

TITLE = "Head pose on tiny devices"
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


def write_report(
    runs: Sequence[Path], out: Path, pictures: Mapping[str, Path] | None = None, note: str = ""
) -> dict[str, list[Row]]:
    """The report on run folders into `out`; returns its rows by data SPEC.

    `pictures` (title: PNG) and `note` are put on the page as they are.
    """
    results = read_results(runs)
    if not data_specs(results):
        raise ReportError(f"{runs[0]}: nothing evaluated yet; run `hpe evaluate {runs[0]} --data SPEC` first")
    groups = plain_groups(results)
    return _write(groups, data_specs(results), out, TITLE, [note] if note else [], pictures or {})


def write_study_report(folder: Path, out: Path) -> dict[str, list[Row]]:
    """The report on the study in `folder` into `out`, whatever of it is complete; returns its rows by data SPEC."""
    from hpe.study.report_chapters import state_texts

    study = read_study(folder)
    if not study.results:
        failed = f"; {len(study.failed)} failed, see {folder / 'failed'}" if study.failed else ""
        raise ReportError(f"{folder}: no run of the study is complete yet{failed}; go on with `hpe study run`")
    lead = [f"Study {study.plan.name}, planned at commit {study.plan.commit}.", *state_texts(study)]
    tested = list(dict.fromkeys(result.truth.data for result in study.results.values() if result.truth))
    specs = tested or data_specs(study.results)  # a study reports its test faces
    return _write(study_groups(study), specs, out, study.plan.title or TITLE, lead, {})


def _write(
    groups: Groups, specs: Sequence[str], out: Path, title: str, lead: Sequence[str], pictures: Mapping[str, Path]
) -> dict[str, list[Row]]:
    from hpe.study.page import make_page
    from hpe.study.page_data import page_data
    from hpe.study.report_chapters import data_chapters, paper_chapters
    from hpe.study.report_document import Chapter, Drawing, latex, markdown, section, tables

    groups, others = timed_alike(groups)
    results = {f"{name} {seed}": r for name, by_seed in groups.items() for seed, r in by_seed.items()}
    alike = {spec: on_same_faces(groups, spec) for spec in specs}
    sets = [_data(alike[spec], spec) for spec in specs]
    chapters = []
    for index, data in enumerate(sets):
        suffix = f"_{index + 1}" if len(sets) > 1 else ""
        chapters += data_chapters(data, alike[data.spec], out, suffix)
        write_csv(out / f"table{suffix}.csv", [flat(row) for row in data.rows])
    chapters += paper_chapters(alike[specs[0]], sets[0], out)
    for index, (name, path) in enumerate(pictures.items()):
        chapters.append(Chapter(f"picture-{index}", name, [Drawing(name, Path(os.path.relpath(path, out)))]))
    where = measured_where(results, others) + others_left_out(groups, alike)
    chapters.append(Chapter("measured", "How it was measured", where))
    for table in tables(chapters):
        write_csv(out / "tables" / f"{table.name}.csv", [_named(table.headings, row) for row in table.rows])
    machine = timed_on(results) or "unknown"
    models = page_data(sets, machine)
    sections = [section(chapter, out) for chapter in chapters]
    first = "".join(f"<p>{html.escape(line)}</p>" for line in lead)
    facts = "Made by `hpe report` or `hpe study report` from result.json files alone."
    write_text(out / "report.md", markdown(title, lead, chapters))
    write_text(out / "report.tex", latex(title, lead, chapters))
    write_text(out / "report.html", make_page(title, first, sections, models, f"<p>{html.escape(facts)}</p>"))
    return {data.spec: data.rows for data in sets}


def _data(groups: Groups, spec: str) -> Any:
    """Rows, draws and number of faces of one set of test faces."""
    from hpe.study.report_chapters import Data
    from hpe.study.statistics import draw

    errors = errors_by_face(groups, spec)
    evaluated = [e for by_seed in groups.values() for r in by_seed.values() for e in r.evaluations.values()]
    faces = next((e.n for e in evaluated if e.data == spec and e.n is not None), None)
    return Data(spec, make_rows(groups, spec), draw(errors) if errors else None, faces, choice_spec(groups))


def flat(row: Row) -> Row:
    """A row as CSV holds it: what is nested becomes columns of its own."""
    plain = {key: value for key, value in row.items() if key not in ("boards", "twin", "labels", "seeds")}
    plain["seeds"] = " ".join(str(seed) for seed in row["seeds"])
    plain |= {f"twin_{key}": value for key, value in (row["twin"] or {}).items()}
    plain |= {f"label_{key}": value for key, value in row["labels"].items()}
    for board, engines in row["boards"].items():
        for engine, cost in engines.items():
            plain |= {f"{board}_{engine}_{key}": value for key, value in cost.items()}
    return plain


def _named(headings: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """Cells by heading; a heading that was there before gets the one to its left before it."""
    named: dict[str, str] = {}
    for index, (heading, text) in enumerate(zip(headings, row, strict=True)):
        named[heading if heading not in named else f"{headings[index - 1]} {heading}"] = text
    return named


def measured_where(results: Mapping[str, RunResult], others: Sequence[str]) -> list[Any]:
    """Hardware, versions and commits of the runs: each value once, with how many runs have it where they differ.

    `others` are the machines whose times are left out.
    """
    counts: dict[str, dict[str, int]] = {}
    for result in results.values():
        for key, value in result.environment.items():
            by_value = counts.setdefault(key, {})
            by_value[str(value)] = by_value.get(str(value), 0) + 1
    remarks = []
    for key, values in counts.items():
        several = len(values) > 1
        remarks.append(f"{key}: " + ", ".join(f"{v} ({n} runs)" if several else v for v, n in values.items()))
    trained = Counter((r.config.data, r.images) for r in results.values() if r.config.data)
    seeds = sorted({r.study.seed for r in results.values() if r.study})
    remarks += (
        [f"training data: {', '.join(_trained(*on, n, len(trained)) for on, n in trained.items())}"] if trained else []
    )
    remarks += [f"seeds: {', '.join(map(str, seeds))}"] if seeds else []
    if others:
        remarks.append(
            f"times measured on: {timed_on(results)}; those of {', '.join(others)} are left out, for times compare on "
            "one machine alone"
        )
    return [f"{len(results)} runs.", remarks]


def _trained(data: str, images: int | None, runs: int, kinds: int) -> str:
    """Training data with what is known of them; how many runs had them where there were others."""
    known = [f"{images:,} images"] if images is not None else []
    known += [f"{runs} runs"] if kinds > 1 else []
    return f"{data} ({', '.join(known)})" if known else data


def others_left_out(groups: Groups, alike: Mapping[str, Groups]) -> list[str]:
    """A line for each data SPEC that meant other faces for some runs, which are in none of its tables."""
    lines = []
    for spec, known in alike.items():
        left = [
            f"{name} (seed {seed})" for name, runs in groups.items() for seed in runs if seed not in known.get(name, {})
        ]
        if left:
            lines.append(f"Left out of {spec}, for they were tested on other faces of that name: {', '.join(left)}.")
    return lines


def timed_on(results: Mapping[str, RunResult]) -> str:
    """The processor that files were timed on; where none was noted, that of the first run's training."""
    latencies = [latency for result in results.values() for latency in result.latency.values()]
    found = next((latency.processor for latency in latencies if latency.processor), None)
    return found or str(next(iter(results.values())).environment.get("processor", ""))


def print_table(rows: Sequence[Row], title: str) -> None:
    """The rows as a table that fits a terminal of 80 columns: counts in millions; the files say more."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=0, title_justify="left")
    table.add_column("model", overflow="fold")
    for heading, _ in SHORT_COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(escape(row["model"]), *(_short(row, key, unit) for key, (_, unit) in SHORT_COLUMNS.items()))
    standard_output().print(table)
    if any(row["fp32_ms_short"] or row["int8_ms_short"] for row in rows):
        standard_output().print("*: timed for less than 10 seconds, which does not count; see hpe bench --help")


def _short(row: Row, key: str, unit: float) -> str:
    if row[key] is None:
        return "-"
    return f"{row[key] / unit:.2f}" + ("*" if row.get(f"{key}_short") else "")
