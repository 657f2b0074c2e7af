"""The chapters of a report: plots, comparisons, tables, the paper beside ours, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpe.study.paper import PaperRow, Settings, contradictions, paper_noise, quantising_noise, read_grid
from hpe.study.plots_paper import FIGURES, SIZES, plot_question, plot_sizes
from hpe.study.plots_pareto import costs, plot_pareto
from hpe.study.report_claims import QUANTISE, PaperClaim, our_rows, paper_claims, paper_means, study_claims
from hpe.study.report_document import Chapter, Drawing, Folded
from hpe.study.report_rows import Groups, Row
from hpe.study.report_tables import (
    Table,
    best_table,
    boards_table,
    claims_table,
    counts_table,
    files_table,
    grid_table,
    models_table,
    paper_claims_table,
)
from hpe.study.results import Study
from hpe.study.statistics import DRAWS, Draws, Noise

PLOTS = Path("plots")
"""Folder of the drawings in the report's."""
BEST_OF_TEN = 1.54
"""Standard deviations that the best of ten equal normal values lies from their mean, on average."""
LEGEND = (
    "MAE: mean absolute error over yaw, pitch and roll, in degrees, with a wrap of 360; samples with an angle beyond "
    "99 degrees are left out; crops by the k = 0.2 rule. After ±: the standard deviation over seeds; n = 1: trained "
    "once, so that nothing says how much is chance. MB: 10^6 bytes; gzip: level 9. ms: median latency of one image on "
    "one thread; short: timed for less than 10 seconds, which does not count. A dash: not measured."
)


@dataclass(frozen=True)
class Data:
    """What was found on one set of test faces."""

    spec: str
    """SPEC of the data."""
    rows: list[Row]
    """The models."""
    draws: Draws | None
    """None where poses were not noted face by face."""
    faces: int | None
    """How many; None where it was not noted."""
    chosen_by: str | None
    """SPEC of the validation data by which the best rows are chosen; None: by the errors that are told."""


def data_chapters(data: Data, groups: Groups, out: Path, suffix: str) -> list[Chapter]:
    """Plots, comparisons, models and boards on one set of test faces; `suffix` tells several sets apart."""
    boards = list(dict.fromkeys(board for row in data.rows for board in row["boards"]))
    drawings = []
    for name, (label, cost) in costs(data.rows, boards[0] if boards else None).items():
        file = PLOTS / f"{name}{suffix}"
        svg = plot_pareto(data.rows, out / file, label, cost)
        drawings.append(Drawing(f"Error over {label}", file.with_suffix(".png"), svg))
    on = f" on {data.spec}" if suffix else ""
    chapters = []
    if drawings:
        about = (
            "Lower left is better. Coloured steps: what each family offers; the wide grey step: the best of all. Bars: "
            "the standard deviation over seeds; a point without a bar was trained once. Hollow: a control."
        )
        chapters.append(Chapter(f"plots{suffix}", f"Error against cost{on}", [about, drawings]))
    claims = study_claims(data.rows, data.draws)
    if claims:
        table = _named(claims_table(claims), suffix)
        chapters.append(Chapter(f"comparisons{suffix}", f"What is better than what{on}", [_tested(data), table]))
    items = [
        f"Data: {data.spec}" + (f", {data.faces} faces." if data.faces else "."),
        _named(models_table(data.rows), suffix),
    ]
    items += [Folded(f"On {board}, by engine", _named(boards_table(data.rows, board), suffix)) for board in boards]
    chapters.append(Chapter(f"models{suffix}", f"All models{on}", [*items, LEGEND]))
    return chapters


def _named(table: Table, suffix: str) -> Table:
    return replace(table, name=table.name + suffix)


def _tested(data: Data) -> str:
    if data.draws is None:
        return "Poses were not noted face by face, so differences are not tested."
    return (
        f"Errors of the int8 files. The interval holds 95 % of {DRAWS:,} draws of faces (a paired bootstrap: both rows "
        f"get the same ones){_seeds_drawn(data.draws.run_noise('int8'))} {_chosen(data)}"
    )


def _seeds_drawn(runs: Noise) -> str:
    if not runs.freedom:
        return (
            ". Where it holds 0, the difference may be chance. No row was trained twice, so it covers the choice of "
            "faces alone: it compares two networks, not two recipes, and another seed may turn it round."
        )
    return (
        f" and of what another seed would change (Student's t; a run's standard deviation, {runs.sd_deg:.2f} degrees, "
        f"is that of all rows with several seeds together, {runs.freedom} degrees of freedom, and holds for rows with "
        "one, too). Where it holds 0, the difference may be chance."
    )


def _chosen(data: Data) -> str:
    if data.chosen_by in (None, data.spec):
        return "The best of a family was chosen by these very errors, so that it looks a little better than it is."
    return f"The best of a family was chosen by its error on {data.chosen_by}, not by these."


def paper_chapters(groups: Groups, data: Data, out: Path) -> list[Chapter]:
    """The paper's tables, conclusions and figures beside ours; none where no run repeats one of its rows."""
    grid = read_grid()
    names = our_rows(groups, grid)
    if not names:
        return []
    by_name = {row["model"]: row for row in data.rows}
    ours = {settings: by_name[name] for settings, name in names.items()}
    baselines = [row for row in data.rows if row["role"] == "baseline" and not row["twin"]]
    dense = next((row for row in baselines if row["family"] == "dense"), None)
    claims = paper_claims(grid, groups, data.draws)
    rows = [row for row in data.rows if row["model"] in names.values()]
    tables = Chapter("paper", "The paper beside ours", [
        "The published figures come from the paper's grid of 39 rows (TENCON 2022), 35 distinct ones. Its test faces, "
        "training faces and crops are others, so compare differences, not levels.",
        "Table I, the best row of each sparsity and schedule:", best_table(grid, ours, dense),
        "Table II, what each kind of file weighs:", files_table(grid, ours),
        Folded("All rows of the grid", grid_table(grid, ours)),
        "Where the paper contradicts itself:", contradictions(grid),
    ])  # fmt: skip
    conclusions = Chapter("conclusions", "What of the paper holds", [
        *_noise_texts(grid, claims, data.draws),
        counts_table(claims), Folded("Every comparison", paper_claims_table(claims, "conclusions")),
        "Taken together, which chance changes less: the mean over all comparisons of one question and sparsity.",
        paper_claims_table(paper_means(grid, groups, data.draws), "conclusions-means"),
    ])  # fmt: skip
    return [
        tables,
        conclusions,
        Chapter("figures", "The paper's figures 2 to 8, and ours", _figures(grid, ours, rows, out)),
    ]


def _noise_texts(grid: Sequence[PaperRow], claims: Sequence[PaperClaim], draws: Draws | None) -> list[str]:
    noise, quantising = paper_noise(grid), quantising_noise(grid)
    trained = [claim for claim in claims if claim.question != QUANTISE]
    inside = sum(claim.inside for claim in trained)
    half = [claim.inside for claim in trained if " 50 %" in claim.a and " 50 %" in claim.b]
    costs = sorted(claim.paper_deg for claim in claims if claim.question == QUANTISE)
    return [
        f"Four rows of the grid stand twice: the only measure of the paper's own noise. A run repeated differs by a "
        f"standard deviation of {noise.sd_deg:.3f} degrees ({noise.freedom} degrees of freedom), so that two single "
        f"runs must differ by {noise.limit_deg():.2f} degrees before chance is left below 5 %. Of {len(trained)} "
        f"comparisons between rows, {inside} differ by less; of the {len(half)} at 50 % sparsity, which its advice on "
        f"schedules rests on, {sum(half)}.",
        "And the best of ten windows was chosen by the same figures that then compare it: among ten equal ones, the "
        f"best would seem {BEST_OF_TEN * noise.sd_deg:.2f} degrees better than their mean by chance alone.",
        f"Quantising costs {costs[0]:.2f} to {costs[-1]:.2f} degrees there; both files come from one network, so "
        f"training noise falls out, and what is left is {quantising.sd_deg:.3f} degrees.",
        "Agrees: ours differ in the same direction, and the interval leaves out 0. Undecided here: it holds 0."
        + ("" if draws is None else f" It holds 95 % of draws of faces{_seeds_drawn(draws.run_noise('float'))}"),
    ]


def _figures(grid: Sequence[PaperRow], ours: Mapping[Settings, Row], rows: Sequence[Row], out: Path) -> list:
    about = (
        "Float models; bars: the standard deviation of a run, in the paper from its repeated rows, in ours over seeds "
        "(a point without a bar was trained once). Drawn from the grid; numbered in the order of its questions."
    )
    drawings = []
    for question in FIGURES:
        file = PLOTS / f"figure_{question.number}"
        svg = plot_question(question, grid, ours, out / file)
        drawings.append(Drawing(f"{question.number}. {question.title}", file.with_suffix(".png"), svg))
    file = PLOTS / "figure_8"
    drawings.append(Drawing(f"8. {SIZES}", file.with_suffix(".png"), plot_sizes(grid, rows, out / file)))
    return [about, drawings]


def state_texts(study: Study) -> list[str]:
    """How far a study is."""
    planned, done = len(study.plan.runs), len(study.plan.runs) - len(study.missing)
    failed = f" Failed: {', '.join(study.failed)} (failed/ID.log says why)." if study.failed else ""
    if done == planned:
        return [f"Complete: {done} runs."]
    names = list(dict.fromkeys(f"{run.row} (seed {run.seed})" for run in study.missing))
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return [f"Not complete: {done} of {planned} runs are there.{failed} Missing: {shown}. The study can be resumed."]
