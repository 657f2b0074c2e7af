"""The demo: where it starts, and (slow) the whole of it in small."""

import pytest
import torch

from hpe import demo, registry
from hpe.config import ConfigError, ModelConfig, TrainConfig
from hpe.files import read_json, write_json
from hpe.model import build_model, load_model, save_checkpoint
from hpe.registry import digest
from pruning.channels import prune_channels


@pytest.fixture
def small(monkeypatch):
    """Settings for seconds instead of minutes."""
    monkeypatch.setattr(demo, "TRAIN_DATA", "synthetic:easy:48:1")
    monkeypatch.setattr(demo, "TEST_DATA", "synthetic:easy:20:2")
    monkeypatch.setattr(demo, "FIT", TrainConfig(epochs=1, batch_size=16))
    monkeypatch.setattr(demo, "FIRST", TrainConfig(epochs=2, batch_size=16))
    monkeypatch.setattr(demo, "RECOVER", TrainConfig(epochs=4, batch_size=16))
    monkeypatch.setattr(demo, "FREQUENCY", 2)
    monkeypatch.setattr(demo, "TOLERANCE_DEG", 1000.0)


def test_demo_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ConfigError, match="not empty"):
        demo.run_demo(tmp_path)


def test_demo_starts_from_the_shipped_b0(small, tmp_path, monkeypatch):
    network = build_model(ModelConfig(act="hard_swish", se=False))
    prune_channels(network, torch.zeros(1, 3, 64, 64), ratio=0.8)
    save_checkpoint(network, tmp_path / "models" / "b0")
    checkpoint = {"folder": "b0", "sha256": digest(tmp_path / "models" / "b0" / "model.safetensors")}
    write_json(tmp_path / "models" / "b0.json", {"name": "b0", "size_bytes": 1, "checkpoint": checkpoint})
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "models")
    lines = []
    demo._make_dense(tmp_path / "dense", lines.append)
    assert "the shipped b0" in lines[0]
    assert read_json(tmp_path / "dense" / "config.json")["parent"] == "b0"
    assert load_model(tmp_path / "dense").config.act == "hard_swish"


def test_demo_trains_a_network_where_b0_does_not_ship(small, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    lines = []
    demo._make_dense(tmp_path / "dense", lines.append)
    assert "from nothing" in lines[0]
    assert read_json(tmp_path / "dense" / "config.json")["command"] == "train"


@pytest.mark.slow
def test_demo_end_to_end_in_small(small, tmp_path):
    rows = demo.run_demo(tmp_path / "demo")
    assert [row["family"] for row in rows] == ["dense", "magnitude", "magnitude", "channel"]
    assert all(value is not None for row in rows for value in row.values())
    dense, half, sparse, channels = rows
    assert dense["nonzeros"] > half["nonzeros"] > sparse["nonzeros"]
    assert dense["params"] == half["params"] == sparse["params"] > channels["params"]
    assert channels["int8_mb"] == pytest.approx(sparse["int8_gzip_mb"], rel=0.1)
    assert (tmp_path / "demo" / "report.html").stat().st_size > 50_000
