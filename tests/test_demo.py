import pytest

from hpe import demo
from hpe.config import ConfigError, TrainConfig


def test_demo_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ConfigError, match="not empty"):
        demo.run_demo(tmp_path)


@pytest.mark.slow
def test_demo_end_to_end_in_small(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "TRAIN_DATA", "synthetic:easy:48:1")
    monkeypatch.setattr(demo, "TEST_DATA", "synthetic:easy:20:2")
    monkeypatch.setattr(demo, "DENSE", TrainConfig(epochs=2, batch_size=16))
    monkeypatch.setattr(demo, "RECOVER", TrainConfig(epochs=3, batch_size=16))
    monkeypatch.setattr(demo, "FREQUENCY", 2)
    monkeypatch.setattr(demo, "TOLERANCE_DEG", 1000.0)
    rows = demo.run_demo(tmp_path / "demo")
    assert [row["family"] for row in rows] == ["dense", "magnitude", "magnitude", "channel"]
    assert all(value is not None for row in rows for value in row.values())
    dense, half, sparse, channels = rows
    assert dense["nonzeros"] > half["nonzeros"] > sparse["nonzeros"]
    assert dense["params"] == half["params"] == sparse["params"] > channels["params"]
    assert channels["int8_mb"] == pytest.approx(sparse["int8_gzip_mb"], rel=0.1)
    assert (tmp_path / "demo" / "report.html").stat().st_size > 50_000
