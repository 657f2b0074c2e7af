"""One run on several GPUs or machines: data-parallel training under torchrun.

    torchrun --nproc-per-node 4 -m hpe.cli train --data SPEC --out RUN ...

Every process holds the whole network and takes its share of each batch; gradients and the statistics of batch
normalisation are averaged over all, so that they make the same step: that of one process on the whole batch. torch's
DistributedDataParallel would not outlive channel pruning, which replaces parameters while training goes on, and its
SyncBatchNorm wants GPUs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hpe.io.processes import WHOLE, Share, process_count
from hpe.training.state import TrainError


def share() -> Share:
    """The share of this process."""
    return Share(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else WHOLE


@contextmanager
def together(out: Path) -> Iterator[Path]:
    """Join the other processes, if torchrun started some; gives the folder where this one keeps its run.

    That is `out` for the first. The others begin with a copy of what is there and leave nothing.
    """
    if process_count() == 1:
        yield out
        return
    backend, device = "gloo", None
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, device_id=device)
    try:
        with tempfile.TemporaryDirectory(prefix="hpe-") as folder:
            place = out if dist.get_rank() == 0 else Path(folder) / (out.name or "run")
            dist.barrier()  # what the first does to the folder before is done
            if place != out and out.exists():
                shutil.copytree(out, place, ignore=shutil.ignore_patterns("tensorboard", ".*"))
            dist.barrier()  # nobody writes before all have read
            yield place
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes; nothing where there is one."""
    count = share().count
    if count == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= count
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


def average(value: Tensor) -> Tensor:
    """A value's mean over all processes, in place."""
    if share().count > 1:
        dist.all_reduce(value)
        value /= share().count
    return value


def of_all(rows: Tensor) -> Tensor:
    """The rows (B, ...) of every process, as they lie in the whole batch; their gradients go back to each."""
    mine = share()
    if mine.count == 1:
        return rows
    whole = rows.new_zeros(len(rows) * mine.count, *rows.shape[1:])
    whole[mine.rank :: mine.count] = rows
    return _SumOfAll.apply(whole)  # pyright: ignore[reportReturnType]


def check_alike(model: nn.Module) -> None:
    """Stop where the processes' networks have drifted apart; what was saved an epoch ago stays."""
    if share().count == 1:
        return
    sums = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()])
    size = torch.tensor([len(sums), sum(parameter.numel() for parameter in model.parameters())], device=sums.device)
    if _differs(size) or _differs(sums):
        raise TrainError("the processes' networks differ; go on with --resume, on GPUs of one kind")


def _differs(value: Tensor) -> bool:
    least, most = value.clone(), value.clone()
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return not torch.equal(least, most)


@contextmanager
def shared_batch_norm(network: nn.Module) -> Iterator[None]:
    """While it trains here, batch normalisation takes its statistics from the whole batch, over all processes.

    As torch.nn.SyncBatchNorm computes it (Ioffe and Szegedy 2015, arXiv:1502.03167), on any device, and in the modules
    that there are: pruning goes on knowing them.
    """
    norms: list[Any] = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if share().count == 1:
        norms = []
    for norm in norms:
        norm.forward = partial(_normalise, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalise(norm: Any, x: Tensor) -> Tensor:
    """Batch normalisation of x (B, C, H, W) with the statistics of all processes, then timm's activation if any."""
    if not norm.training:
        return type(norm).forward(norm, x)
    count = share().count
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # of bfloat16, torch takes the statistics in float32, too
    mean = _SumOfAll.apply(wide.mean((0, 2, 3))) / count  # (C,)
    centred = wide - mean[:, None, None]
    variance = _SumOfAll.apply(centred.square().mean((0, 2, 3))) / count
    if norm.track_running_stats:
        _follow(norm, mean.detach(), variance.detach(), x.numel() // x.shape[1] * count)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    y = (centred * scale[:, None, None] + norm.bias[:, None, None]).to(x.dtype)
    return norm.act(norm.drop(y)) if hasattr(norm, "act") else y


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, samples: int) -> None:
    """Move the running statistics as torch's batch norm does: by its momentum, with the unbiased variance."""
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.num_batches_tracked += 1
    weight = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, weight)
    norm.running_var.lerp_(variance * (samples / (samples - 1)), weight)


class _SumOfAll(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    value = value.contiguous().clone()
    dist.all_reduce(value)
    return value
