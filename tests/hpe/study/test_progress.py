"""The live table of a study."""

import pytest
from rich.console import Console

from hpe.study.folder import StudyFolder
from hpe.study.plan import make_plan
from hpe.study.progress import Counts, Display, Pace
from tests.hpe.study.studies import DENSE, write_study


@pytest.mark.parametrize(("row", "line"), [("dense", "reading [/data/faces] done"), ("dense [late]", "epoch 1/4")])
def test_brackets_in_a_name_or_a_log_are_no_markup(tmp_path, row, line):
    tasks = make_plan(write_study(tmp_path, DENSE.replace("dense", row))).tasks
    folder = StudyFolder(tmp_path)
    task = next(task for task in tasks if task.kind == "run")
    folder.log(task.id).parent.mkdir()
    folder.log(task.id).write_text(f"{line}\n")
    console = Console(width=160)
    with console.capture() as shown:
        console.print(Display(tasks, folder, None, print)._table(Counts(1, 0, 0, 0), [task.id]))
    assert row in shown.get()
    assert line in shown.get()


def test_the_time_left_follows_the_pace_of_the_work_done(monkeypatch):
    """At first by the measured speed; a machine that turns out half as fast takes twice as long."""
    now = 100.0
    monkeypatch.setattr("hpe.study.progress.time.monotonic", lambda: now)
    pace = Pace(jobs=2)
    assert pace.left(7200) == "1 h 00 min"
    now += 60
    assert pace.left(7100) == "0 h 59 min"
    now += 1740
    assert pace.left(5400) == "1 h 30 min"  # half an hour for a quarter of the work
