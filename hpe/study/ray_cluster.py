"""`hpe study run --ray ADDRESS`: tasks on the machines of a Ray cluster.

Every machine must see the study's folder and the data under the same paths (a shared file system), and have this
package installed. The program that was started keeps the claims; where it ends, Ray ends its tasks.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from hpe.study.folder import StudyFolder
from hpe.study.launch import SAFE_PATH, THREADS, WORKER, words
from hpe.study.spec import StudyError

ANSWER_S = 5.0
"""How long a cluster is waited for."""
LOST = -9
"""Exit code of a task whose machine or process is gone."""
RAY_PORT = 6379


class RayLauncher:
    """Tasks as processes on a Ray cluster, at most `jobs` at a time, which share its processors and GPUs alike.

    With several `processes` for each task, all of a task's run on one machine.
    """

    def __init__(self, address: str, jobs: int, processes: int = 1, worker: Path = WORKER) -> None:
        self.processes, self.worker = processes, worker
        self.ray = connect(address)
        self.cpus, self.gpus = shares(self.ray.nodes(), jobs)

    def start(self, folder: StudyFolder, task_id: str) -> RayJob:
        """Submit a task; what it prints goes to its log in the study's folder."""
        folder.log(task_id).parent.mkdir(parents=True, exist_ok=True)
        remote = self.ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(work)
        here = StudyFolder(folder.root.absolute())
        threads = max(1, self.cpus // self.processes)
        return RayJob(self.ray, remote.remote(self.processes, self.worker, here, task_id, os.getcwd(), threads))

    def close(self) -> None:
        """Leave the cluster."""
        self.ray.shutdown()


class RayJob:
    """A task on a cluster."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def poll(self) -> int | None:
        """Its exit code, if it has ended; LOST where its machine has."""
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.RayError:
            return LOST

    def stop(self) -> None:
        """End it at once."""
        self.ray.cancel(self.reference, force=True)


def work(processes: int, worker: Path, folder: StudyFolder, task_id: str, current: str, threads: int) -> int:
    """On a machine of the cluster: run a worker in a process of its own, which ends with this one."""
    with open(folder.log(task_id), "ab") as file:
        done = subprocess.run(
            words(processes, worker, folder, task_id),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=current,
            env=os.environ | SAFE_PATH | dict.fromkeys(THREADS, str(threads)),
            check=False,
        )
    return done.returncode


def connect(address: str) -> Any:
    """Ray, connected to a cluster; `local` starts one on this machine.

    Raises:
        StudyError: if nothing answers there.
    """
    # Under `uv run` Ray would send its workers this folder and make an environment for each; they have the package.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # read on import
    import ray

    remedy = "start one with `ray start --head`, or give --ray local"
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address not in ("local", "auto"):
        if not colon or not port.isdecimal():
            raise StudyError(f"--ray {address}: write HOST:PORT, auto or local; the port is {RAY_PORT} by default")
        try:
            socket.create_connection((host, int(port)), ANSWER_S).close()
        except (OSError, OverflowError) as error:
            raise StudyError(f"--ray {address}: no cluster answers there ({error}); {remedy}") from None
    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray raises the base class, too
        reason = str(error).strip().splitlines()[0]
        what = f"no cluster answers there ({reason}); {remedy}"
        if address == "local":
            what = f"Ray did not start ({reason}); on a busy machine it may not in time: try again, or leave --ray out"
        raise StudyError(f"--ray {address}: {what}") from None
    return ray


def shares(nodes: list[dict[str, Any]], jobs: int) -> tuple[int, float]:
    """Processors and GPUs for each of `jobs` jobs: a job must find room on one machine."""
    alive = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    if not alive:
        raise StudyError("--ray: no machine of the cluster offers processors")
    least = int(min(node["CPU"] for node in alive))
    cpus = int(sum(node["CPU"] for node in alive)) // jobs
    gpus = sum(node.get("GPU", 0) for node in alive) / jobs
    return max(1, min(cpus, least)), float(int(gpus)) if gpus >= 1 else round(gpus, 3)
