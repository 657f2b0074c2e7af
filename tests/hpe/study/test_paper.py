"""The published grid: what is in it, its noise, and where it contradicts itself."""

import numpy as np
import pytest

from hpe.study.paper import _list, best_of_each, contradictions, distinct, paper_noise, quantising_noise, read_grid
from hpe.study.report_claims import QUANTISE, SCHEDULE, TABLE, WINDOW, count, paper_claims, paper_means

GRID = read_grid()


def test_39_rows_of_which_four_stand_twice():
    assert len(GRID) == 39
    assert [tuple(r.line for r in s.rows) for s in distinct(GRID).values() if len(s.rows) == 2] == [
        (1, 11),
        (2, 12),
        (3, 13),
        (4, 14),
    ]
    assert len(distinct(GRID)) == 35


def test_the_papers_noise_is_about_four_hundredths_of_a_degree():
    pairs = np.array([[GRID[i].mae_deg["pruned"], GRID[i + 10].mae_deg["pruned"]] for i in range(4)])
    assert paper_noise(GRID).sd_deg == pytest.approx(np.sqrt(pairs.var(axis=1, ddof=1).mean()))
    assert paper_noise(GRID).sd_deg == pytest.approx(0.04, abs=0.005)
    assert paper_noise(GRID).limit_deg() == pytest.approx(0.151, abs=0.001)
    assert quantising_noise(GRID).sd_deg < paper_noise(GRID).sd_deg / 3


def test_the_best_rows_are_the_least_of_their_columns():
    assert [(s.settings[0], s.settings[2], round(s.mae(), 4)) for s in best_of_each(GRID)] == [
        ("polynomial", 0.5, 8.5403),
        ("constant", 0.5, 8.5731),
        ("polynomial", 0.75, 8.8955),
        ("constant", 0.75, 9.2697),
        ("polynomial", 0.875, 9.7618),
        ("constant", 0.875, 10.0382),
    ]


def test_what_of_its_conclusions_is_inside_its_noise():
    claims = paper_claims(GRID, {}, None)
    counts = {row["question"]: row for row in count(claims)}
    assert (counts[TABLE]["comparisons"], counts[TABLE]["inside_noise"]) == (3, 1)
    assert (counts[SCHEDULE]["comparisons"], counts[SCHEDULE]["inside_noise"]) == (12, 8)
    assert counts[QUANTISE]["comparisons"] == 35
    assert all(row["not repeated"] == row["comparisons"] for row in counts.values())
    twice = next(c for c in claims if c.question == SCHEDULE and c.a.endswith("50 %, epochs 0 to 80"))
    mean = np.mean([GRID[0].mae_deg["pruned"], GRID[10].mae_deg["pruned"]])
    assert twice.paper_deg == pytest.approx(mean - GRID[29].mae_deg["pruned"])
    assert twice.limit_deg < paper_noise(GRID).limit_deg()


def test_its_comparisons_taken_together_have_less_noise():
    claims, means = paper_claims(GRID, {}, None), paper_means(GRID, {}, None)
    windows = [claim for claim in claims if claim.question == WINDOW]
    (mean,) = [claim for claim in means if claim.question == WINDOW]
    assert (mean.a, mean.verdict) == ("to 50 %, mean of 9", "not repeated")
    assert mean.paper_deg == pytest.approx(np.mean([claim.paper_deg for claim in windows]))
    others = 4 / 2 + 5  # four of the other windows stand twice
    assert mean.limit_deg == pytest.approx(paper_noise(GRID).limit_deg(1 + others / 81))
    schedules = {claim.a: claim for claim in means if claim.question == SCHEDULE}
    assert list(schedules) == ["to 50 %, mean of 9", "to 87.5 %, mean of 2"]


def test_contradictions_name_the_rows():
    text = "\n".join(contradictions(GRID))
    assert "In 30 rows the sparsity-optimised file is larger after gzip than before" in text
    assert "row 32 gives it the error of the quantised file" in text
    assert "Row 33 says that half of the weights are zero" in text
    assert "quantised 9.85 degrees at 2.85 MB" in text
    assert _list([1, 2, 3, 7, 9, 10]) == "1 to 3, 7, 9 to 10"
