"""The engine: a killed, shared or failing study ends with the same table, and nothing that is finished is lost."""

import errno
import os
import subprocess
import sys
from unittest.mock import Mock

import pytest
from PIL import Image

from hpe.io.files import read_json, write_json
from hpe.study import worker
from hpe.study.claims import Owner
from hpe.study.folder import StudyFolder
from hpe.study.launch import LocalLauncher
from hpe.study.plan import keep_plan, make_plan, read_plan
from hpe.study.run import Scheduler, run_study
from hpe.study.spec import StudyError
from hpe.training.state import TrainError
from tests.hpe.study.small import Small
from tests.hpe.study.studies import DENSE, LATE, Inside, Pretending, write_study

TWIN = """
[[twins]]
of = ["polynomial 4-8"]
equal = "macs"
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No speed is measured, and nobody waits."""
    speed = {"images_per_s": 100.0, "images": 32, "params": 1000}
    monkeypatch.setattr("hpe.study.run.measure_speed", lambda plan, threads: speed)
    monkeypatch.setattr("hpe.study.run.POLL_S", 0.0)


def study(tmp_path, *parts):
    return write_study(tmp_path, *(parts or (DENSE, LATE, TWIN)))


def task_named(toml, name):
    return next(task for task in make_plan(toml).tasks if task.name.startswith(name))


def table(out):
    """What does not depend on the clock, of every run."""
    rows = {}
    for path in sorted((out / "runs").glob("*/result.json")):
        result = read_json(path)
        names = ("study", "config", "evaluations", "predictions", "truth", "nonzeros", "macs", "nonzero_macs", "val")
        rows[path.parent.name] = {name: result[name] for name in names}
    return rows


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The table of a study that nothing happened to."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpe.study.run.measure_speed", lambda *_: {"images_per_s": 9.0, "images": 32, "params": 9})
        run_study(study(folder), folder / "out", launcher=Inside(), report=lambda line: None)
    return table(folder / "out")


def test_every_run_is_complete_and_says_what_it_is(unbroken):
    assert len(unbroken) == 6
    for row in unbroken.values():
        data = row["truth"]["data"]
        errors = row["evaluations"][f"model.safetensors on {data}"]["mae_deg"]
        gaps = [
            abs(a - b)
            for found, true in zip(
                row["predictions"]["model.safetensors"]["poses_deg"], row["truth"]["poses_deg"], strict=True
            )
            for a, b in zip(found, true, strict=True)
        ]
        assert sum(gaps) / len(gaps) == pytest.approx(errors["mean"], abs=0.011)
    by_name = {row["study"]["row"]: row for row in unbroken.values()}
    same = by_name["constant 4-6"], by_name["constant 4-8"]
    assert same[0]["predictions"] == same[1]["predictions"]
    twin, other = by_name["polynomial 4-8 | channel at equal macs"], by_name["polynomial 4-8"]
    assert 0.9 < twin["nonzero_macs"] / other["nonzero_macs"] <= 1.01
    assert twin["nonzero_macs"] == pytest.approx(twin["macs"], rel=0.001)


def test_finished_runs_are_skipped(tmp_path):
    toml, out, first = study(tmp_path), tmp_path / "out", Pretending()
    assert run_study(toml, out, launcher=first, report=lambda line: None).done == 6
    assert len(first.started) == 8
    lines, second = [], Pretending()
    assert run_study(toml, out, launcher=second, report=lines.append).done == 6
    assert (second.started, lines) == ([], [])


def test_a_folder_of_results_alone_is_gone_on_with(tmp_path):
    """As results are committed: plan.json and runs/ID/result.json."""
    toml, out = study(tmp_path), tmp_path / "out"
    run_study(toml, out, launcher=Pretending(), report=lambda line: None)
    plan = make_plan(toml)
    for name in ("study.toml", "claims"):
        path = out / name
        path.unlink() if path.is_file() else path.rmdir()
    last = plan.runs[-1]
    (out / "runs" / last.id / "result.json").unlink()
    again = Pretending()
    assert run_study(toml, out, launcher=again, report=lambda line: None).done == 6
    assert [name for name in again.started if name in {run.id for run in plan.runs}] == [last.id]


def test_more_rows_may_be_added(tmp_path):
    out = tmp_path / "out"
    run_study(study(tmp_path, DENSE), out, launcher=Pretending(), report=lambda line: None)
    more = Pretending()
    assert run_study(study(tmp_path, DENSE, LATE), out, launcher=more, report=lambda line: None).done == 5
    assert len(more.started) == 6  # two beginnings, four runs


def test_runs_on_other_labels_of_that_name_are_refused(tmp_path, monkeypatch):
    """Beside a finished run, and after a beginning on the old ones."""
    monkeypatch.setattr("hpe.model.net._backbone", Small)
    monkeypatch.setenv("HPE_CACHE", str(tmp_path / "cache"))
    faces, out = tmp_path / "faces", tmp_path / "out"

    def label(shift):
        lines = [f"{number}.png,{number + shift},0,0" for number in range(16)]
        (faces / "labels.csv").write_text("\n".join(["file,yaw,pitch,roll", *lines]))

    faces.mkdir()
    for number in range(16):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(faces / f"{number}.png")
    label(0)
    toml = study(tmp_path, DENSE, LATE)
    toml.write_text(toml.read_text().replace('train = "synthetic:easy:32:5"', f'train = "csv:{faces}"'))
    keep_plan(toml, make_plan(toml), StudyFolder(out))
    beginning, dense, late = (task_named(toml, name) for name in ("first 1", "dense", "constant 4-6"))
    worker.run_task(out, beginning.id)
    label(1)
    with pytest.raises(TrainError, match="not those of its first 1 epochs"):
        worker.run_task(out, late.id)
    label(0)
    worker.run_task(out, task_named(toml, "first 2").id)
    worker.run_task(out, dense.id)
    label(1)
    for task in (beginning, late):
        with pytest.raises(StudyError, match=r"labels are not those that 'dense' \(seed 0\) was trained on; restore"):
            worker.run_task(out, task.id)
    label(0)
    worker.run_task(out, late.id)


def test_a_failed_run_keeps_its_log_and_stops_nobody(tmp_path):
    toml, out = study(tmp_path), tmp_path / "out"
    bad = task_named(toml, "polynomial 4-8,")
    lines = []
    counts = run_study(toml, out, launcher=Pretending({bad.id: [1]}), report=lines.append)
    assert (counts.done, counts.failed, counts.blocked, counts.open) == (4, 1, 1, 0)  # its twin needs it
    assert any(f"failed: {bad.name}: ValueError: the reason" in line for line in lines)
    log = out / "failed" / f"{bad.id}.log"
    assert "the reason" in log.read_text()
    skipped = Pretending()
    assert run_study(toml, out, launcher=skipped, report=lines.append).failed == 1
    assert skipped.started == []
    log.unlink()
    assert run_study(toml, out, launcher=Pretending(), report=lines.append).done == 6


def test_a_worker_that_was_killed_is_started_once_more(tmp_path):
    toml, out = study(tmp_path), tmp_path / "out"
    once, twice = task_named(toml, "dense"), task_named(toml, "polynomial 4-6,")
    lines = []
    counts = run_study(toml, out, launcher=Pretending({once.id: [-9], twice.id: [-9, -9]}), report=lines.append)
    assert (counts.done, counts.failed) == (5, 1)
    assert any("killed by signal 9: polynomial 4-6" in line and "started again" in line for line in lines)


def test_a_full_disk_stops_the_study_and_loses_nothing(tmp_path):
    toml, out = study(tmp_path), tmp_path / "out"
    full = task_named(toml, "polynomial 4-8,")
    with pytest.raises(StudyError, match="the disk is full; free some space and run the same command again"):
        run_study(toml, out, launcher=Pretending({full.id: [worker.FULL]}), report=lambda line: None)
    assert not (out / "failed").exists()
    rest = Pretending()
    assert run_study(toml, out, launcher=rest, report=lambda line: None).done == 6
    assert full.id in rest.started
    assert task_named(toml, "dense").id not in rest.started


def test_a_disk_without_room_for_a_claim_or_a_log_is_full(tmp_path, monkeypatch):
    toml, out, none = study(tmp_path), tmp_path / "out", OSError(errno.ENOSPC, "full")
    for place in ("hpe.study.claims.Claims.take", "tests.hpe.study.studies.Pretending.start"):
        with monkeypatch.context() as patch:
            patch.setattr(place, Mock(side_effect=none))
            with pytest.raises(StudyError, match="the disk is full"):
                run_study(toml, out, launcher=Pretending(), report=lambda line: None)
    assert not list((out / "claims").iterdir())
    assert run_study(toml, out, launcher=Pretending(), report=lambda line: None).done == 6


def test_a_full_disk_is_told_from_other_errors():
    explained = RuntimeError("a run stopped")
    explained.__context__ = OSError(errno.ENOSPC, "full")
    assert worker.is_full(explained)
    assert not worker.is_full(OSError(errno.EACCES, "no"))


def test_a_disk_that_fills_in_training_ends_the_task_with_its_own_code(tmp_path, monkeypatch):
    toml, folder = study(tmp_path, DENSE), StudyFolder(tmp_path / "out")
    plan = make_plan(toml)
    keep_plan(toml, plan, folder)

    def full(path, *rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("hpe.training.state.write_tensors", full)
    monkeypatch.setattr(sys, "argv", ["worker.py", str(folder.root), plan.tasks[0].id])
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert ended.value.code == worker.FULL


def test_two_programs_on_one_folder_take_different_tasks(tmp_path):
    """The second program runs whole between any two steps of the first."""
    toml, out = study(tmp_path), tmp_path / "out"
    plan, folder = make_plan(toml), StudyFolder(out)
    keep_plan(toml, plan, folder)
    mine, others = Pretending(), Pretending()

    def one_step_of_the_other():
        other = Scheduler(plan, StudyFolder(out), others, 1, Silent())
        other.claims.owner = Owner("elsewhere", 1, 0)
        other._start_more()
        other._collect()

    mine.between = one_step_of_the_other
    counts = run_study(toml, out, launcher=mine, report=lambda line: None)
    assert counts.done == 6
    assert others.started
    assert not set(mine.started) & set(others.started)


class Silent:
    def event(self, line):
        pass

    def update(self, counts, running):
        pass


def test_a_folder_of_another_study_or_of_none_is_left_alone(tmp_path):
    out = tmp_path / "out"
    run_study(study(tmp_path, DENSE), out, launcher=Pretending(), report=lambda line: None)
    other = tmp_path / "other.toml"
    other.write_text(study(tmp_path, DENSE).read_text().replace('"tiny"', '"other"'))
    with pytest.raises(StudyError, match="holds the study 'tiny', not 'other'"):
        run_study(other, out)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").touch()
    with pytest.raises(StudyError, match="is no folder of a study"):
        run_study(other, tmp_path / "else")
    with pytest.raises(StudyError, match=r"no plan\.json there"):
        read_plan(StudyFolder(tmp_path / "nothing"))


def test_a_study_that_lacks_runs_of_the_one_that_it_extends_has_a_folder_of_its_own(tmp_path):
    base, out = study(tmp_path, DENSE, LATE), tmp_path / "out"
    run_study(base, out, launcher=Pretending(), report=lambda line: None)
    more = tmp_path / "more.toml"
    more.write_text(f'name = "more"\nextends = "{base.name}"\n[more_seeds]\ndense = [1]\n')
    run_study(more, out, launcher=Pretending(), report=lambda line: None)
    assert len(read_plan(StudyFolder(out)).runs) == 6
    more.write_text(f'name = "third"\nextends = "{base.name}"\n[train]\nlr = 2e-3\n')
    run_study(base, tmp_path / "again", launcher=Pretending(), report=lambda line: None)
    with pytest.raises(StudyError, match=r"holds runs of 'tiny' that 'third' does not have \(constant 4-6, .*\.\.\.\)"):
        run_study(more, tmp_path / "again")


def test_a_board_that_is_added_later_is_told(tmp_path):
    toml, out = study(tmp_path, DENSE), tmp_path / "out"
    run_study(toml, out, launcher=Pretending(), report=lambda line: None)
    (run,) = read_plan(StudyFolder(out)).runs
    path = out / "runs" / run.id / "result.json"
    write_json(path, read_json(path) | {"footprint": {"nano33ble": {}}})
    toml.write_text(toml.read_text().replace("formats = []", 'formats = ["int8"]\nboards = ["nano33ble", "pi4"]'))
    assert make_plan(toml).runs[0].id != run.id  # other files: another run
    write_json(out / "runs" / make_plan(toml).runs[0].id / "result.json", read_json(path))
    lines = []
    run_study(toml, out, launcher=Pretending(), report=lines.append)
    (line,) = [line for line in lines if "not weighed" in line]
    assert line.startswith("1 finished runs were not weighed against pi4")
    assert "`hpe footprint RUN/model_int8.tflite --board pi4` does it" in line


def test_a_damaged_plan_is_written_anew(tmp_path):
    toml, out = study(tmp_path, DENSE), tmp_path / "out"
    run_study(toml, out, launcher=Pretending(), report=lambda line: None)
    whole = (out / "plan.json").read_bytes()
    for content in ('{"name": "ti', "[1]", '{"name": "tiny"}'):
        (out / "plan.json").write_text(content)
        run_study(toml, out, launcher=Pretending(), report=lambda line: None)
        assert (out / "plan.json").read_bytes() == whole
    (out / "plan.json").write_text("{")
    (out / "study.toml").unlink()
    with pytest.raises(StudyError, match=r"plan\.json: damaged, and no study\.toml is beside it"):
        run_study(toml, out, launcher=Pretending(), report=lambda line: None)


@pytest.mark.slow  # torchrun and its workers: half a minute of imports
def test_a_run_in_two_processes_ends_complete_and_leaves_what_one_leaves(unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr("hpe.study.run.POLL_S", 0.3)
    toml, out = study(tmp_path, DENSE, LATE), tmp_path / "out"
    counts = run_study(toml, out, launcher=LocalLauncher(1, processes=2), report=lambda line: None)
    assert counts.done == 5
    for name, row in table(out).items():
        assert row["predictions"].keys() == unbroken[name]["predictions"].keys()
        assert row["val"]["mae_deg"]["mean"] == pytest.approx(unbroken[name]["val"]["mae_deg"]["mean"], abs=0.5)
    assert not list((out / "shared").iterdir())


@pytest.mark.slow
def test_killed_five_times_at_random_moments(unbroken, tmp_path):
    """The real thing: the whole program, with its workers."""
    toml, out = study(tmp_path), tmp_path / "out"
    command = [sys.executable, "-P", "-m", "hpe.cli", "study", "run", str(toml), "--out", str(out)]
    for seconds in (13, 31, 22, 17, 40):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert table(out) == unbroken
