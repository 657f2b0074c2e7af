"""What the tests share: a cache of their own, few threads, and a tiny trained run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY_DATA = "synthetic:easy:48:5"


@pytest.fixture(scope="session", autouse=True)
def data_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keep the tests' image cache out of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def without_wheel():
    """The planner alone: asking the real interpreter (as tests/test_micro.py does) takes a process a call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.micro.interpreter.has_micro", lambda: False)
        yield


@pytest.fixture(scope="module")
def sketch(tmp_path_factory: pytest.TempPathFactory, without_wheel: None) -> Path:
    """A sketch folder with a tiny model, as `hpe deploy` writes it. Do not change it."""
    from export.micro.sketch import write_arduino
    from tests.sketches import SETTINGS, SILU

    folder = tmp_path_factory.mktemp("sketch") / "head_pose"
    write_arduino(SILU, folder, "nano33ble", SETTINGS, "tflm")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a B0 trained for two epochs on 48 synthetic heads. Do not change it."""
    from hpe.model.config import ModelConfig
    from hpe.training.config import Recipe, TrainConfig
    from hpe.training.runs import run_train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    train = TrainConfig(epochs=2, batch_size=16, lr_schedule="onecycle", lr=2e-3)
    return run_train(out, ModelConfig(act="relu6"), Recipe(TINY_DATA, TINY_DATA, train=train), report=lambda line: None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    """A page in a real Chromium."""
    from tests.browser import CHROMIUM, open_browser

    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian's package has this name)")
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
