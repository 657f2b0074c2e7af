import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from hpe.model.config import ModelConfig
from hpe.model.net import ModelError, build_model, example_input, fold_output_scale, load_model, save_checkpoint
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Target


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_of_both_heads():
    assert count(build_model(ModelConfig())) == 4_007_548 + 3 * 1281  # timm's B0 without classifier, and 1280 -> 3
    paper = build_model(ModelConfig(head="paper"))
    assert count(paper) == 4_007_548 + 5121 * 1024 + 1025 * 256 + 257 * 3  # 9.5 M: the study's 36.4 MiB in fp32
    assert paper(torch.rand(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize("config", [ModelConfig(act="relu6", se=False), ModelConfig(act="hard_swish", padding="same")])
def test_variants_run_and_differ(config):
    model = build_model(config).eval()
    names = {type(module).__name__ for module in model.modules()}
    assert ("SqueezeExcite" in names) == config.se
    assert {"relu6": "ReLU6", "hard_swish": "Hardswish"}[config.act] in names or config.act == "hard_swish"
    assert model(example_input()).shape == (1, 3)


def test_same_seed_same_weights_and_no_trace_on_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, other = (build_model(ModelConfig(), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.last_layer.weight, other.last_layer.weight)


def test_starts_near_zero_degrees_and_folding_keeps_the_output():
    model = build_model(ModelConfig()).eval()
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        assert before.abs().max() < 30
        torch.testing.assert_close(fold_output_scale(model)(images), before, rtol=1e-5, atol=1e-4)


def test_pruned_checkpoint_loads_in_a_fresh_process(tmp_path):
    model = build_model(ModelConfig(act="relu6")).eval()
    prune_channels(model, example_input(), Target(ratio=0.5))
    save_checkpoint(model.eval(), tmp_path)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    code = (
        "import sys, torch; from hpe.model.net import load_model; torch.set_num_threads(1);"
        "m = load_model(sys.argv[1]); x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0));"
        "print(sum(p.numel() for p in m.parameters()), *m(x)[0].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    parameters, *pose = done.stdout.split()
    assert int(parameters) == count(model) < 2_000_000
    np.testing.assert_allclose([float(v) for v in pose], model(image)[0].tolist(), rtol=1e-4, atol=1e-4)


def test_damaged_checkpoints_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"no arch\.json"):
        load_model(tmp_path)
    save_checkpoint(build_model(ModelConfig()), tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_model(tmp_path)
    weights.write_bytes(whole)
    arch = json.loads((tmp_path / "arch.json").read_text())
    arch["model"]["head"] = "paper"
    (tmp_path / "arch.json").write_text(json.dumps(arch))
    with pytest.raises((ModelError, ValueError), match="head"):
        load_model(tmp_path)
    (tmp_path / "arch.json").write_text('{"format": 99}')
    with pytest.raises(ModelError, match="format"):
        load_model(tmp_path)


def test_pretrained_without_a_network_is_one_message(monkeypatch):
    import timm

    def offline(*args, **options):
        raise ConnectionError("offline")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match="--pretrained"):
        build_model(ModelConfig(pretrained=True))


@pytest.mark.parametrize(
    "change",
    [
        {"widths": None},
        {"widths": {"backbone.conv_stem": "32"}},
        {"widths": {"backbone.conv_stem": [32, 3.0]}},
        {"widths": {}},
        {"model": None},
        {"model": {"width": "wide"}},
        {"model": {"head": 3}},
        {"model": {"nose": 1}},
    ],
)
def test_an_arch_of_other_types_is_one_message_with_the_file(tmp_path, change):
    save_checkpoint(build_model(ModelConfig(width=0.25)), tmp_path)
    path = tmp_path / "arch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=r"arch\.json: damaged"):
        load_model(tmp_path)


def test_weights_that_are_no_numbers_are_refused_with_their_layer(tmp_path):
    """A teacher or a parent with NaN would train NaN."""
    model = build_model(ModelConfig(width=0.25))
    with torch.no_grad():
        model.backbone.conv_head.weight[0, 0] = torch.nan
    save_checkpoint(model, tmp_path)
    with pytest.raises(ModelError, match=r"the layer backbone\.conv_head has NaN or infinity in its weight"):
        load_model(tmp_path)
