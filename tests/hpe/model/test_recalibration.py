"""The lines that undo shrinkage."""

import numpy as np
import pytest
import torch

from hpe.io.files import read_json, write_json
from hpe.model.net import build_model, load_model, save_checkpoint
from hpe.model.recalibration import fit_lines, run_stretch, stretch, weighted_median
from hpe.pose.rotation import flip_pose
from hpe.training.config import ConfigError, ModelConfig

RANDOM = np.random.default_rng(0)


def test_a_shrunken_answer_is_stretched_back():
    true = RANDOM.normal(0, 15, (400, 3))
    true = np.concatenate([true, flip_pose(true)])
    predicted = true * [0.8, 0.625, 1.0] - [0, 2, 0]
    slope, offset = fit_lines(predicted, true, np.ones(len(true)))
    np.testing.assert_allclose(slope, [1.25, 1.6, 1.0], atol=1e-9)
    np.testing.assert_allclose(offset, [0, 3.2, 0], atol=1e-9)


def test_the_line_is_the_best_of_all_lines():
    from scipy.optimize import minimize

    true, weights = RANDOM.normal(0, 10, (300, 3)), RANDOM.uniform(0, 3, 300)
    predicted = 0.7 * true + RANDOM.laplace(0, 3, (300, 3)) + 1
    slope, offset = fit_lines(predicted, true, weights)

    def error(line):
        return (weights * np.abs(line[0] * predicted[:, 1] + line[1] - true[:, 1])).sum()

    best = minimize(error, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 5000})
    assert error([slope[1], offset[1]]) <= best.fun * 1.0005


def test_weights_count_as_often_as_they_say():
    values = np.array([5.0, 1.0, 3.0, 9.0])
    assert weighted_median(values, np.array([1, 1, 1, 0])) == 3
    assert weighted_median(values, np.array([1, 0, 0, 5])) == 9
    times = RANDOM.integers(0, 4, 50)
    values = RANDOM.normal(size=50)
    repeated = np.sort(np.repeat(values, times))
    assert weighted_median(values, times) == repeated[(len(repeated) - 1) // 2]


def test_the_last_layer_answers_along_the_line():
    layer, x = torch.nn.Linear(5, 3), torch.randn(4, 5)
    slope, offset = np.array([1.2, 0.9, 1.0]), np.array([0.0, 0.5, 0.0])
    with torch.no_grad():
        before = layer(x)
        stretch(layer, slope, offset)
        torch.testing.assert_close(layer(x), before * torch.tensor(slope).float() + torch.tensor(offset).float())


def test_a_run_is_kept_beside_its_parent(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    save_checkpoint(build_model(ModelConfig(act="relu6", se=False, padding="same")).eval(), run)
    config = {"command": "train", "data": "synthetic:easy:32:1"}
    write_json(run / "config.json", config)
    write_json(run / "result.json", {"id": "x", "config": config, "params": 1, "nonzeros": 1, "macs": 1})
    lines = []
    run_stretch(run, "synthetic:easy:32:1", out, 1.5, lines.append)
    saved, result = read_json(out / "config.json"), read_json(out / "result.json")
    assert (saved["command"], saved["parent"], saved["data"]) == ("stretch", str(run), "synthetic:easy:32:1")
    assert saved["stretch"]["offset_deg"][0] == saved["stretch"]["offset_deg"][2] == 0
    assert (result["params"], result["val"]["n"]) == (1, 32)
    ratio = load_model(out).last_layer.weight / load_model(run).last_layer.weight
    np.testing.assert_allclose(ratio.detach().mean(1), saved["stretch"]["slope"], rtol=1e-5)
    errors = [float(line.split("rarity ")[1].split()[0]) for line in lines[-2:]]
    assert errors[1] <= errors[0] + 0.3  # the better over faces and mirror images, so hardly worse over the faces alone
    with pytest.raises(ConfigError, match="exists"):
        run_stretch(run, "synthetic:easy:32:1", out, 1.5)
    with pytest.raises(ConfigError, match=r"no result\.json"):
        run_stretch(tmp_path, "synthetic:easy:32:1", tmp_path / "new", 1.5)
