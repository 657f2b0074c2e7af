"""A study's folder as the report reads it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hpe.io.errors import FileError
from hpe.io.files import read_json, write_json
from hpe.study.report import write_study_report
from hpe.study.report_claims import study_claims
from hpe.study.report_rows import choice_spec, errors_by_face, make_rows, on_same_faces, study_groups
from hpe.study.results import ReportError, read_study
from hpe.study.statistics import draw
from tests.made_up_study import SPEC, plan, planned, result, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def small(tmp_path):
    """A study of one row in two seeds; `small(change)` changes the result of the first."""
    truth = np.zeros((3, 3))
    runs = [planned("one", seed, "dense") for seed in (0, 1)]

    def write(change=None, plan=None):
        write_json(tmp_path / "plan.json", {"name": "s", "title": "t", "commit": "c", "runs": runs} | (plan or {}))
        for entry, changed in zip(runs, (change or {}, {}), strict=True):
            write_json(tmp_path / "runs" / entry["id"] / "result.json", result(entry, truth) | changed)
        return tmp_path

    return write


def test_complete_failed_and_missing_runs_are_told_apart(folder):
    study = read_study(folder)
    assert len(study.plan.runs) == len(plan()) == 43
    assert {run.row for run in study.missing} == {"poly 75-88 0-80", "const 88 0-80"}
    assert next(run for run in plan() if run["id"] in study.failed)["row"] == "const 88 0-80"


def test_a_run_without_its_last_write_is_not_complete(small):
    folder = small({"study": None})
    assert [run.seed for run in read_study(folder).missing] == [0]


def test_rows_are_means_over_seeds_with_their_spread(folder):
    study = read_study(folder)
    rows = {row["model"]: row for row in make_rows(study_groups(study), SPEC)}
    mine = [r for r in study.results.values() if r.study and r.study.row == "poly 88 0-80"]
    errors = [r.evaluations[f"model_int8.tflite on {SPEC}"].mae_deg["mean"] for r in mine]
    row = rows["poly 88 0-80"]
    assert (row["n"], row["seeds"]) == (3, [0, 1, 2])
    assert row["int8_mae_deg"] == pytest.approx(np.mean(errors))
    assert row["int8_mae_deg_sd"] == pytest.approx(np.std(errors, ddof=1))
    assert rows["const 75 0-80"]["int8_mae_deg_sd"] is None
    assert rows["twin 50 macs"]["twin"] == {"of": "poly 50 0-60", "equal": "macs"}
    assert row["fp32_ms"] is None
    assert row["boards"]["nano33ble"]["tflm"]["cycles"] is None


def test_how_equal_twins_are_is_told(folder):
    study = read_study(folder)
    every = study_claims(make_rows(study_groups(study), SPEC), None)
    claims = {claim.a: claim.question for claim in every if claim.b == "poly 75 0-80"}

    def share(figure, a, b):
        means = [np.mean([figure(r) for r in study.results.values() if r.study and r.study.row == n]) for n in (a, b)]
        return f"(A has {means[0] / means[1]:.3f} of B's)"

    gzip = share(lambda r: r.files["model_int8.tflite"].gzip_bytes, "twin 75 int8", "poly 75 0-80")
    assert claims["twin 75 int8"] == f"at equal int8 bytes after gzip {gzip}"
    macs = share(lambda r: r.nonzero_macs, "twin 75 macs", "poly 75 0-80")
    assert claims["twin 75 macs"] == f"at equal multiply-accumulates {macs}"


def test_the_mean_over_faces_and_seeds_is_the_rows_error(folder):
    groups = study_groups(read_study(folder))
    errors = errors_by_face(groups, SPEC)
    for row in make_rows(groups, SPEC):
        for kind in ("float", "int8"):
            by_seed = errors[(row["model"], kind)]
            assert np.mean([e.mean() for e in by_seed.values()]) == pytest.approx(row[f"{kind}_mae_deg"], abs=1e-9)


def test_other_faces_are_not_compared(small):
    other = {"truth": {"data": SPEC, "poses_deg": [[1.0, 1.0, 1.0]] * 3}}
    groups = on_same_faces(study_groups(read_study(small(other))), SPEC)
    errors = errors_by_face(groups, SPEC)
    assert {seed for by_seed in errors.values() for seed in by_seed} == {0}
    assert [row["n"] for row in make_rows(groups, SPEC)] == [1]  # nor is their error in the row


def test_runs_on_other_faces_are_named_in_the_report(small, tmp_path):
    folder = small({"truth": {"data": SPEC, "poses_deg": [[1.0, 1.0, 1.0]] * 3}})
    write_study_report(folder, tmp_path / "page")
    assert f"Left out of {SPEC}, for they were tested on other faces of that name: one (seed 1)." in (
        tmp_path / "page" / "report.md"
    ).read_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "plan", "message"),
    [
        ({"footprint": {"pi4": {"c": {"fits": "yes", "source": "counted"}}}}, {}, "footprint.pi4.c.fits is"),
        ({"predictions": {"f": {"data": SPEC, "poses_deg": [[1, 2, "x"]]}}}, {}, r"poses_deg\[0\]\[2\] is"),
        ({"study": {"row": "one"}}, {}, "family, role, seed is missing"),
        ({}, {"runs": [{"id": "../x"} | {k: v for k, v in planned("a", 0, "dense").items() if k != "id"}]}, "no name"),
        ({"study": planned("one", 0, "channel", twin={"of": "x", "equal": "beauty"})}, {}, 'equal is "?beauty'),
        ({}, {"title": 3}, "title is 3"),
    ],
)
def test_bad_files_are_one_message_that_names_the_key(small, change, plan, message):
    with pytest.raises((FileError, ReportError), match=message):
        read_study(small(change, plan))


def test_a_folder_without_a_plan_and_a_broken_plan(tmp_path):
    with pytest.raises(ReportError, match=r"no plan\.json"):
        read_study(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(FileError, match="not valid JSON"):
        read_study(tmp_path)


def test_the_made_up_study_is_what_json_can_hold(folder):
    for path in folder.glob("runs/*/result.json"):
        assert json.loads(json.dumps(read_json(path)))["study"]["row"]


def test_rows_are_chosen_by_validation_where_all_runs_know_it(folder):
    groups = study_groups(read_study(folder))
    assert choice_spec(groups) == "csv:faces@val"
    for row in make_rows(groups, SPEC):
        mine = [result.evaluations["model_int8.tflite on csv:faces@val"] for result in groups[row["model"]].values()]
        assert row["choice_mae_deg"] == pytest.approx(np.mean([e.mae_deg["mean"] for e in mine]))
    best = {claim.a for claim in study_claims(make_rows(groups, SPEC), None) if claim.question.startswith("the best")}
    known = [row for row in make_rows(groups, SPEC) if row["role"] != "control"]
    assert best == {min(known, key=lambda row: row["choice_mae_deg"])["model"]}

    name, by_seed = next(iter(groups.items()))
    seed, run = next(iter(by_seed.items()))
    other = {**groups, name: {**by_seed, seed: replace(run, config=replace(run.config, val=None))}}
    assert choice_spec(other) is None
    assert all(row["choice_mae_deg"] == row["int8_mae_deg"] for row in make_rows(other, SPEC))


def test_twins_are_tested_against_each_other_and_a_control_against_its_row(folder):
    rows = make_rows(study_groups(read_study(folder)), SPEC)
    found = [(claim.question.split(" (A has")[0], claim.a, claim.b) for claim in study_claims(rows, None)]
    assert ("a control against its row", "random masks 75", "poly 75 0-80") in found
    assert ("at equal int8 bytes after gzip", "twin 75 int8", "narrow 75") in found  # both are twins of poly 75
    assert ("at equal int8 bytes after gzip", "narrow 75", "poly 75 0-80") in found
    assert not {("twin 75 macs", "narrow 75"), ("narrow 75", "twin 75 int8")} & {(a, b) for _, a, b in found}
    alone = [row for row in rows if row["model"] != "poly 75 0-80"]  # not run yet
    assert "a control against its row" not in {claim.question for claim in study_claims(alone, None)}


def test_twins_that_differ_in_their_row_alone_are_tested_in_the_mean(folder):
    groups = study_groups(read_study(folder))
    named = {row["model"]: f"{row['twin']['of']} | {row['family']}" for row in make_rows(groups, SPEC) if row["twin"]}
    kept = {named.get(name, name): by_seed for name, by_seed in groups.items() if "macs" not in name}
    rows, draws = make_rows(kept, SPEC), draw(errors_by_face(kept, SPEC))
    claims = [claim for claim in study_claims(rows, draws) if "mean of" in claim.question]
    assert [(claim.question, claim.a, claim.b, claim.seeds) for claim in claims] == [
        ("at equal int8 bytes after gzip, mean of 3", "* | channel", "*", (9, 8))
    ]
    each = [claim.result.difference_deg for claim in study_claims(rows, draws) if claim.a.endswith("| channel")][:3]
    assert claims[0].result.difference_deg == pytest.approx(np.mean(each))
    assert claims[0].result.standard_error_deg < min(c.result.standard_error_deg for c in study_claims(rows, draws)[:3])


def test_runs_on_more_faces_or_fewer_are_left_out(small, tmp_path):
    fewer = result(planned("one", 0, "dense"), np.zeros((3, 3)))["evaluations"]
    fewer = {name: entry | {"n": entry["n"] - 1} for name, entry in fewer.items()}
    groups = study_groups(read_study(small({"evaluations": fewer})))
    assert [list(by_seed) for by_seed in on_same_faces(groups, SPEC).values()] == [[0]]
    write_study_report(tmp_path, tmp_path / "report")
    assert f"Left out of {SPEC}, for they were tested on other faces" in (tmp_path / "report" / "report.md").read_text()


def test_a_board_that_one_seed_was_not_weighed_against_is_left_out(small):
    (row,) = make_rows(study_groups(read_study(small())), SPEC)
    assert row["boards"].keys() == {"nano33ble", "rp2040"}
    one = result(planned("one", 0, "dense"), np.zeros((3, 3)))["footprint"]
    del one["rp2040"]
    (row,) = make_rows(study_groups(read_study(small({"footprint": one}))), SPEC)
    assert row["boards"].keys() == {"nano33ble"}


def test_training_images_are_told_where_they_differ(small, tmp_path):
    write_study_report(small({"images": 1500}), tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "training data: csv:faces@train (1,500 images, 1 runs), csv:faces@train (1 runs)" in text
