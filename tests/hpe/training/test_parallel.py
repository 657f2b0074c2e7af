"""Two processes that share each batch make the steps of one that has all of it."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from hpe.cli.main import main
from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from hpe.io.processes import Share
from hpe.io.tensors import read_tensors, write_tensors
from hpe.model.config import ModelConfig
from hpe.model.net import build_model, load_model
from hpe.training import parallel
from hpe.training.augment import AugmentConfig, TrainAugment
from hpe.training.losses import distances, further_loss, pose_counts, pose_loss
from hpe.training.parallel import average_gradients, of_all, share, shared_batch_norm, together

DATA = ("--data", "synthetic:easy:32:5", "--batch-size", "16")
TRAIN = ("train", *DATA, "--width", "0.25", "--act", "relu6", "--ema", "0.9")
PRUNE = (*DATA, "--epochs", "2", "--frequency", "1", "--end-epoch", "2")
METHODS = {
    "masks": ("--method", "magnitude", "--final-sparsity", "0.75"),
    "channels": ("--method", "channel", "--importance", "random", "--final-sparsity", "0.5"),
}
STEP = "step.safetensors"


def one_step():
    """Gradients and batch-norm statistics of the first step of a network on 8 images, or on this process's share."""
    form = ModelConfig(width=0.25, act="relu6", locate=True, spread=True)
    model = build_model(form, seed=1).double().train()
    torch.nn.init.normal_(model.last_layer.weight, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (8, 80, 80, 3), generator=generator, dtype=torch.uint8)
    poses = torch.randn(8, 3, generator=generator)
    mine = share()
    vary = TrainAugment(AugmentConfig(no_face=0.4, far=0.3), locate=True)
    x, targets = vary(mine.of(images), mine.of(poses), generator, mine)
    with shared_batch_norm(model):
        features = model.backbone(x.double())
        outputs = model.pose(features)
        pose = pose_loss(outputs[:, :3], targets[:, :3], pose_counts(targets))
        (pose + further_loss(outputs, targets) + distances(of_all(features)).square().mean()).backward()
    average_gradients(model.parameters())
    found = {f"gradient {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | {name: buffer for name, buffer in model.named_buffers() if "running" in name}


def commands(folder: Path):
    """What both processes and the one are asked to do: a step, a run from scratch, two on from it."""
    yield partial(keep_step, folder)
    yield partial(main, [*TRAIN, "--epochs", "1", "--out", str(folder / "run")])
    for name, how in METHODS.items():
        yield partial(main, ["prune", str(folder / "run"), *how, *PRUNE, "--out", str(folder / name)])


def keep_step(folder: Path):
    with together(folder) as place:
        found = one_step()
        if place == folder:
            write_tensors(folder / STEP, found, {})


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_cache):
    folder = tmp_path_factory.mktemp("alone")
    for command in commands(folder):
        command()
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory, alone):
    """The folder of two processes, started with what torchrun gives them, and what they printed."""
    folder = tmp_path_factory.mktemp("both")
    ports = [str(port) for port in free_ports(len(list(commands(folder))))]
    given = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.hpe.training.test_parallel", str(folder), *ports],
            env=os.environ | given | {"RANK": rank, "LOCAL_RANK": rank},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    printed = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    return folder, printed


def free_ports(count):
    """A port for each command: of two meetings at one port, the second might be taken for the first."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def test_gradients_and_statistics_are_those_of_the_joint_batch(alone, both):
    expected, found = read_tensors(alone / STEP)[0], read_tensors(both[0] / STEP)[0]
    assert found.keys() == expected.keys()
    largest = max(value.abs().max().item() for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-12 * largest, msg=name)


@pytest.mark.parametrize("name", ["run", "masks", "channels"])
def test_runs_end_in_the_same_network(name, alone, both):
    one, two = load_model(alone / name), load_model(both[0] / name)
    shapes = [parameter.shape for parameter in one.parameters()]
    assert [parameter.shape for parameter in two.parameters()] == shapes
    zeros = [sum(int((p == 0).sum()) for p in model.parameters()) for model in (one, two)]
    assert zeros[0] == pytest.approx(zeros[1], abs=5)
    if name != "masks":  # there a weight at the threshold may be masked in one alone
        for first, second in zip(one.parameters(), two.parameters(), strict=True):
            # six steps of Adam at 1e-3, where rounding gives a gradient of all but 0 either sign
            torch.testing.assert_close(second, first, rtol=0, atol=2 * 6e-3)
    if name != "channels":  # its norms, measured again, make degrees of what rounding did to the weights
        images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(two(images), one(images), rtol=0, atol=0.5)  # degrees


def test_the_first_process_alone_speaks_and_writes(alone, both):
    folder, printed = both
    assert printed[1] == ""
    assert printed[0].count("epoch   1/1") == 1
    assert read_json(folder / "run" / "result.json")["processes"] == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in alone.iterdir())


def test_under_autocast_the_statistics_are_those_of_batch_norm_in_float32(monkeypatch):
    """As on GPUs, where the backbone computes in bfloat16; two processes that hold the same images are pretended."""
    monkeypatch.setattr(parallel, "share", lambda: Share(0, 2))
    monkeypatch.setattr(parallel, "_summed", lambda value: 2 * value)
    conv, shared, joint = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = conv(torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 + 3)
        expected = joint(torch.cat([x, x]))[:16]
        with shared_batch_norm(nn.Sequential(shared)):
            found = shared(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(shared, name), getattr(joint, name), rtol=1e-5, atol=1e-6)


def test_alone_nothing_is_shared(tmp_path):
    assert share() == Share()
    with together(tmp_path / "run") as place:
        assert place == tmp_path / "run"


@pytest.mark.parametrize(("count", "batch_size"), [(2, 15), (4, 4)])
def test_a_batch_that_cannot_be_shared_is_refused(count, batch_size):
    with pytest.raises(ConfigError, match=rf"--batch-size {batch_size}: {count} processes"):
        Share(0, count).check(batch_size)


if __name__ == "__main__":
    for command, port in zip(commands(Path(sys.argv[1])), sys.argv[2:], strict=True):
        os.environ["MASTER_PORT"] = port
        command()
