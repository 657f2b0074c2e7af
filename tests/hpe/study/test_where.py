"""How tasks are started on one machine: processors, GPUs, torchrun."""

import os

import pytest

from hpe.study.folder import StudyFolder
from hpe.study.launch import LocalLauncher, words
from hpe.study.where import threads_of


def test_jobs_share_the_processors():
    assert threads_of(10_000) == 1
    assert LocalLauncher(1).threads >= 1


class Sleeping:
    """A launched job that ends when it is told."""

    def __init__(self, gpus):
        self.gpus, self.code = gpus, None

    def poll(self):
        return self.code


def test_jobs_share_the_gpus():
    launcher = LocalLauncher(2, processes=2, gpus=["0", "1", "2", "5"])
    taken = []
    for _ in range(2):
        taken.append(launcher._least_used())
        launcher.started.append(Sleeping(taken[-1]))
    assert taken == [["0", "1"], ["2", "5"]]
    launcher.started[0].code = 0
    assert launcher._least_used() == ["0", "1"]


def test_a_task_in_several_processes_goes_by_torchrun(tmp_path):
    line = words(4, tmp_path / "worker.py", StudyFolder(tmp_path), "task")
    assert line[-6:] == ["--standalone", "--nproc-per-node", "4", str(tmp_path / "worker.py"), str(tmp_path), "task"]
    assert line[-7].endswith("distributed/run.py")


@pytest.mark.parametrize(("limit", "threads"), [("1", 1), ("3", 3), ("64", 8), ("", 8), ("0", 8), ("4,2", 8)])
def test_a_user_may_ask_for_fewer_threads(limit, threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert threads_of(1) == threads
    assert threads_of(8) == 1
