"""The live table of a study."""

import pytest
from rich.console import Console

from hpe.study.folder import StudyFolder
from hpe.study.plan import make_plan
from hpe.study.progress import Counts, Display
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
