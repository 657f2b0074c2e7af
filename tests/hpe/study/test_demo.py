"""The demo: where it starts, and (slow) the whole of it in small."""

from pathlib import Path

import pytest

from hpe.io.errors import ConfigError
from hpe.io.files import read_json, write_json
from hpe.model import cards as released
from hpe.study import demo
from hpe.study.report_tables import COLUMNS
from hpe.training.config import TrainConfig
from tests.cards import card


@pytest.fixture
def small(monkeypatch):
    """Settings for seconds instead of minutes."""
    monkeypatch.setattr(demo, "TRAIN_DATA", "synthetic:easy:48:1")
    monkeypatch.setattr(demo, "TEST_DATA", "synthetic:easy:20:2")
    monkeypatch.setattr(demo, "FIRST", TrainConfig(epochs=2, batch_size=16))
    monkeypatch.setattr(demo, "RECOVER", TrainConfig(epochs=4, batch_size=16))
    monkeypatch.setattr(demo, "FREQUENCY", 2)
    monkeypatch.setattr(demo, "TOLERANCE_DEG", 1000.0)


def test_demo_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ConfigError, match="not empty"):
        demo.run_demo(tmp_path)


def test_demo_starts_from_the_released_b0(tmp_path, monkeypatch):
    write_json(tmp_path / "models" / "b0.json", card())
    monkeypatch.setattr(released, "FOLDER", tmp_path / "models")
    lines = []
    assert demo._make_dense(tmp_path / "dense", lines.append) == Path("b0")
    assert "the released b0" in lines[0]


def test_demo_trains_a_network_where_b0_does_not_ship(small, tmp_path, monkeypatch):
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    lines = []
    assert demo._make_dense(tmp_path / "dense", lines.append) == tmp_path / "dense"
    assert "from scratch" in lines[0]
    assert read_json(tmp_path / "dense" / "config.json")["command"] == "train"


@pytest.mark.slow
def test_demo_end_to_end_in_small(small, tmp_path):
    rows = demo.run_demo(tmp_path / "demo")
    assert [row["family"] for row in rows] == ["dense", "magnitude", "magnitude", "channel"]
    assert all(row[key] is not None for row in rows for key in COLUMNS if key != "pruned_to")
    assert [row["pruned_to"] for row in rows[:3]] == [None, "50.0% sparsity", "87.5% sparsity"]
    dense, half, sparse, channels = rows
    assert dense["nonzeros"] > half["nonzeros"] > sparse["nonzeros"]
    assert dense["params"] == half["params"] == sparse["params"] > channels["params"]
    assert channels["int8_mb"] == pytest.approx(sparse["int8_gzip_mb"], rel=0.1)
    assert (tmp_path / "demo" / "report.html").stat().st_size > 50_000
