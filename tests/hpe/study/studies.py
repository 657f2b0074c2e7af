"""Tiny studies for tests: a network of a quarter's width, 32 synthetic heads, nothing exported."""

from __future__ import annotations

from pathlib import Path

from hpe.io.files import write_json
from hpe.study.folder import StudyFolder
from hpe.study.plan import read_plan
from hpe.study.worker import run_task

HEAD = """
name = "tiny"
schedule_epochs = 8
[data]
train = "synthetic:easy:32:5"
val = "synthetic:easy:8:6"
test = "synthetic:easy:8:7"
[model]
width = 0.25
act = "relu6"
[train]
epochs = 4
batch_size = 16
[files]
formats = []
"""
DENSE = """
[[rows]]
name = "dense"
role = "baseline"
"""
LATE = """
[[rows]]
name = "{schedule} {begin_epoch}-{end_epoch}"
prune = { method = "magnitude", final_sparsity = 0.75, frequency = 1 }
[rows.axes]
"prune.schedule" = ["polynomial", "constant"]
"prune.window" = [[4, 6], [4, 8]]
"""


def write_study(folder: Path, *parts: str) -> Path:
    """A study's TOML: HEAD and these parts."""
    path = folder / "tiny.toml"
    path.write_text("\n".join((HEAD, *parts)))
    return path


class Ended:
    """A job that has ended."""

    def __init__(self, code: int) -> None:
        self.code = code

    def poll(self) -> int:
        return self.code

    def stop(self) -> None:
        pass


class Inside:
    """Does tasks in this process, one after the other."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, folder: StudyFolder, task_id: str) -> Ended:
        self.started.append(task_id)
        run_task(folder.root, task_id)
        return Ended(0)


class Pretending:
    """Tasks that leave what a real one would, at once; some end otherwise."""

    def __init__(self, codes=None, between=lambda: None):
        self.codes = codes or {}
        self.started = []
        self.between = between

    def start(self, folder, task_id):
        self.started.append(task_id)
        self.between()
        codes = self.codes.get(task_id, [])
        code = codes.pop(0) if codes else 0
        if code == 0:
            pretend(folder, read_plan(folder), task_id)
        else:
            folder.log(task_id).parent.mkdir(parents=True, exist_ok=True)
            folder.log(task_id).write_text("a line\nValueError: the reason\n")
        return Ended(code)


def pretend(folder, plan, task_id):
    task = next(task for task in plan.tasks if task.id == task_id)
    if task.kind == "beginning":
        write_json(folder.shared(task_id) / "done.json", {})
    else:
        write_json(folder.run(task_id) / "result.json", {"study": plan.run(task_id).study()})
