"""What is refused before anything heavy is imported, rendered or decoded."""

import json
import subprocess
import sys

import pytest
import torch

from hpe.io.errors import ConfigError, HpeError
from hpe.io.files import write_json
from hpe.model.config import ModelConfig
from hpe.model.net import build_model
from hpe.training.config import DistillConfig, FinetuneConfig, Recipe, TrainConfig
from hpe.training.loop import LAST
from hpe.training.pruning_config import PruneConfig
from hpe.training.runs import run_finetune, run_prune, run_train
from hpe.training.start import RunError
from hpe.training.state import TrainError, TrainState

RECIPE = Recipe("synthetic:easy:48:5")


def quiet(line):
    pass


@pytest.mark.parametrize(
    "call",
    [
        "run_train(here / 'finished', ModelConfig(), SHORT)",
        "run_train(here / 'new', ModelConfig(), Recipe('csv:absent'))",
        "run_train(here / 'new', ModelConfig(), replace(SHORT, val='biwi:absent'))",
        "run_train(here / 'new', ModelConfig(), replace(SHORT, distill=DistillConfig(here / 'absent')))",
        "run_prune(here / 'absent', here / 'new', PruneConfig('block'), SHORT)",
        "run_prune(here, here / 'new', PruneConfig('magnitude', end_epoch=99), SHORT)",
        "run_prune(here / 'finished', here / 'new', PruneConfig('channel', target_board='x'), SHORT)",
        "run_finetune(here / 'absent', here / 'new', FinetuneConfig(), SHORT)",
        "run_finetune(here / 'absent', here / 'finished', FinetuneConfig(), SHORT)",
        "run_train(here / 'finished' / 'config.json' / 'new', ModelConfig(), SHORT)",
    ],
)
def test_refusals_come_before_torch_is_imported(tmp_path, call):
    for name in ("config.json", "result.json", "arch.json", "model.safetensors"):
        write_json(tmp_path / "finished" / name, {})
    code = (
        "import sys; from pathlib import Path; from hpe.io.errors import HpeError\n"
        "from hpe.model.config import ModelConfig; from hpe.training.runs import *\n"
        "from hpe.training.config import *; from hpe.training.pruning_config import *\n"
        "from dataclasses import replace\n"
        "here, SHORT = Path(sys.argv[1]), Recipe('synthetic:easy:9')\n"
        f"try: {call}\n"
        "except HpeError: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert [path.name for path in tmp_path.iterdir()] == ["finished"]


def test_a_target_that_is_met_is_refused_before_data_are_read(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("hpe.data.faces.load_faces", lambda *a, **n: pytest.fail("data were read"))
    prune = PruneConfig("channel", target_params=9_000_000)
    with pytest.raises(ConfigError, match="nothing to prune"):
        run_prune(tiny_run, tmp_path / "new", prune, RECIPE, report=quiet)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "null", '"text"', "{}", '{"command": 3}', '{"command": "train"}'),
        '{"command": "train", "train": []}',
        '{"command": "prune", "prune": 3}',
        '{"command": "prune", "prune": {"method": "magnitude", "end_epoch": "two"}}',
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_a_config_of_other_types_is_one_message(tiny_run, tmp_path, text, finished):
    (tmp_path / "config.json").write_text(text)
    if finished:
        (tmp_path / "result.json").write_text("{}")
    for run in (
        lambda: run_train(tmp_path, ModelConfig(), RECIPE, resume=True, report=quiet),
        lambda: run_prune(tiny_run, tmp_path, PruneConfig("magnitude"), RECIPE, resume=True, report=quiet),
        lambda: run_finetune(tiny_run, tmp_path, FinetuneConfig(), RECIPE, resume=True, report=quiet),
    ):
        with pytest.raises(RunError, match=str(tmp_path)):
            run()
    assert (tmp_path / "config.json").read_text() == text


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    state = TrainState(build_model(ModelConfig(width=0.25)), None, TrainConfig(), 3)
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    path = tmp_path_factory.mktemp("state") / LAST
    state.save(path)
    return path


CHANGES = {
    "no header": lambda header, tensors: header.clear(),
    "epoch": lambda header, tensors: header["progress"].update(epoch="two"),
    "no progress": lambda header, tensors: header.pop("progress"),
    "plateau": lambda header, tensors: header["progress"].update(plateau=[1]),
    "history": lambda header, tensors: header["progress"].update(history=[{"epoch": "one"}]),
    "widths": lambda header, tensors: header["widths"].update({"backbone.conv_stem": [99, 3]}),
    "widths of others": lambda header, tensors: header["widths"].update(nose=[1]),
    "pruner": lambda header, tensors: header.update(pruner=7),
    "no weight": lambda header, tensors: tensors.pop("model.backbone.conv_stem.weight"),
    "shape": lambda header, tensors: tensors.update({"model.backbone.conv_stem.weight": torch.zeros(2)}),
    "moment": lambda header, tensors: tensors.pop("optimizer.3.exp_avg"),
    "moment's shape": lambda header, tensors: tensors.update({"optimizer.3.exp_avg": torch.zeros(2)}),
    "moment's name": lambda header, tensors: tensors.update({"optimizer.x.exp_avg": torch.zeros(2)}),
    "moment of nobody": lambda header, tensors: tensors.update({"optimizer.9999.exp_avg": torch.zeros(2)}),
    "average": lambda header, tensors: tensors.pop("average.backbone.conv_stem.weight"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_state_of_other_types_is_one_message(saved, tmp_path, change):
    from hpe.io.tensors import read_tensors, write_tensors

    tensors, texts = read_tensors(saved)
    header = json.loads(texts["state"])
    CHANGES[change](header, tensors)
    write_tensors(tmp_path / LAST, tensors, {"state": json.dumps(header)})
    state = TrainState(build_model(ModelConfig(width=0.25)), None, TrainConfig(), 3)
    with pytest.raises(TrainError, match=r"damaged .* delete it, and --resume starts again") as caught:
        state.load(tmp_path / LAST)
    assert str(caught.value).startswith(str(tmp_path / LAST))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device; free some space, then go on with --resume"),
        (MemoryError(), r"smaller --batch-size \(now 16\)"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "the memory is full"),
    ],
)
def test_a_full_disk_or_memory_is_one_message(tmp_path, monkeypatch, error, words):
    def full(*arguments):
        raise error

    monkeypatch.setattr("hpe.training.loop.fit", full)
    recipe = Recipe("synthetic:easy:48:5", train=TrainConfig(epochs=1, batch_size=16))
    with pytest.raises(HpeError, match=words):
        run_train(tmp_path / "run", ModelConfig(width=0.25), recipe, report=quiet)


def test_a_teacher_with_nan_is_refused_with_its_layer(tmp_path):
    from hpe.model.net import save_checkpoint

    teacher = build_model(ModelConfig(width=0.25))
    with torch.no_grad():
        teacher.last_layer.bias[1] = torch.nan
    save_checkpoint(teacher, tmp_path / "teacher")
    recipe = Recipe(
        "synthetic:easy:48:5", train=TrainConfig(epochs=1, batch_size=16), distill=DistillConfig(tmp_path / "teacher")
    )
    with pytest.raises(HpeError, match=r"layer head\.0 has NaN or infinity in its bias"):
        run_train(tmp_path / "run", ModelConfig(width=0.25), recipe, report=quiet)
    assert not (tmp_path / "run").exists()
