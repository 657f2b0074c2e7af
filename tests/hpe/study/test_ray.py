"""Tasks on a Ray cluster: a real one on this machine where Ray is installed."""

import socket
import sys
import time
from unittest.mock import Mock

import pytest

from hpe.study.folder import StudyFolder
from hpe.study.ray_cluster import LOST, RayLauncher, connect, shares
from hpe.study.spec import StudyError

SCRIPT = """
import sys, os, pathlib, signal, time
root, task = pathlib.Path(sys.argv[1]), sys.argv[2]
print("task", task, os.environ["OMP_NUM_THREADS"], flush=True)
if task == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if task == "long":
    time.sleep(100)
(root / task).touch()
sys.exit(int(task) if task.isdecimal() else 0)
"""


@pytest.mark.filterwarnings("ignore")
def test_tasks_run_on_a_local_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # read by Ray on import: a busy machine needs longer
    pytest.importorskip("ray", reason="Ray is not installed; the extra `ray` brings it")
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = RayLauncher("local", 2, worker=tmp_path / "script.py")
    folder = StudyFolder(tmp_path)
    try:
        assert [ended(launcher.start(folder, task)) for task in ("75", "fine", "killed")] == [75, 0, LOST]
        assert folder.log("fine").read_text() == f"task fine {launcher.cpus}\n"
        job = launcher.start(folder, "long")
        while not folder.log("long").exists() or not folder.log("long").read_text():
            assert job.poll() is None
            time.sleep(0.1)
        job.stop()
        assert ended(job) == LOST
    finally:
        launcher.close()
    assert not (tmp_path / "long").exists()


def ended(job):
    """Its exit code, within five minutes: Ray waits without end for a worker that cannot start."""
    for _ in range(3000):
        if (code := job.poll()) is not None:
            return code
        time.sleep(0.1)
    job.stop()
    raise TimeoutError("the task did not end")


def test_an_address_that_does_not_answer_is_one_message():
    pytest.importorskip("ray", reason="Ray is not installed; the extra `ray` brings it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StudyError, match=rf"--ray 127.0.0.1:{port}: no cluster answers there .*ray start --head"):
        connect(f"127.0.0.1:{port}")
    with pytest.raises(StudyError, match="write HOST:PORT, auto or local"):
        connect("nonsense")


def test_a_ray_that_does_not_start_here_is_not_answered_with_itself(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed; the extra `ray` brings it")
    monkeypatch.setattr(ray, "init", Mock(side_effect=Exception("The current node timed out during startup.")))
    with pytest.raises(StudyError, match=r"--ray local: Ray did not start .*timed out.*; .* leave --ray out$"):
        connect("local")


def test_without_ray_the_extra_is_named(monkeypatch):
    from hpe.cli.main import explained

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        connect("local")
    assert ".[ray]" in (explained(raised.value) or "")


def node(cpus, gpus=0, alive=True):
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus} if cpus else {}}


@pytest.mark.parametrize(
    ("nodes", "jobs", "share"),
    [
        ([node(8)], 2, (4, 0.0)),
        ([node(2)], 8, (1, 0.0)),
        ([node(8, 1), node(16, 1)], 2, (8, 1.0)),
        ([node(8, 2)], 8, (1, 0.25)),
        ([node(8, 4), node(0), node(64, alive=False)], 2, (4, 2.0)),
    ],
)
def test_jobs_share_a_cluster(nodes, jobs, share):
    assert shares(nodes, jobs) == share


def test_a_cluster_without_processors_is_refused():
    with pytest.raises(StudyError, match="no machine of the cluster"):
        shares([node(0)], 1)
