"""`hpe recalibrate`: the new run, what it says of its error, and folders that it may not or may take."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hpe.data.faces import Faces, load_faces
from hpe.deploy.learnt import known_ranges
from hpe.io.configs import to_dict
from hpe.io.errors import ConfigError, FileError
from hpe.io.files import read_json, write_json
from hpe.model import net
from hpe.model.config import ModelConfig
from hpe.model.lineage import Lineage
from hpe.model.net import build_model, example_input, load_model, predict_all, save_checkpoint
from hpe.model.preprocess import preprocess_torch
from hpe.model.recalibration import GAINS, split_folds
from hpe.model.zoo import released_card, resolve_run
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import pose_metrics
from hpe.training.recalibrate import _persons, run_recalibrate
from pruning.quantise.qat import quantisation_aware
from pruning.quantise.ranges import learnt_ranges

DATA = "synthetic:easy:32:1"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained network, channel-pruned by its own account, as a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    network = build_model(ModelConfig(act="relu6", se=False, padding="same")).eval()
    with torch.no_grad():
        network.last_layer.weight.mul_(30)  # so that its angles are about as wide as the heads'
    save_checkpoint(network, folder)
    lineage = to_dict(Lineage("channel", target={"board": "nano33ble"}))
    config = {"command": "prune", "data": "synthetic:easy:9:3", "prune": {"method": "channel"}, "lineage": lineage}
    write_json(folder / "config.json", config)
    result = {"id": "x", "config": config, "params": 1, "nonzeros": 1, "macs": 1, "val": {"n": 5}}
    write_json(folder / "result.json", result)
    return folder


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """(folder, printed lines) of a recalibration."""
    out, lines = tmp_path_factory.mktemp("out") / "out", []
    run_recalibrate(run, DATA, out, 1.5, lines.append)
    return out, lines


def test_the_new_run_has_the_gains_and_descends_from_the_old(run, made):
    out, _ = made
    saved, result = read_json(out / "config.json"), read_json(out / "result.json")
    assert (saved["command"], saved["parent"], saved["data"]) == ("recalibrate", str(run), "synthetic:easy:9:3")
    assert saved["val"] == DATA
    assert saved["lineage"] == {
        "family": "channel",
        "sparsity": None,
        "target": {"board": "nano33ble"},
        "ancestors": [{"id": "x", "command": "prune", "name": "run", "released": False}],
    }
    assert saved["recalibrate"]["bias_deg"][0] == saved["recalibrate"]["bias_deg"][2] == 0
    ratio = load_model(out).last_layer.weight / load_model(run).last_layer.weight
    np.testing.assert_allclose(ratio.detach().mean(1), saved["recalibrate"]["gain"], rtol=1e-5)
    assert (result["params"], result["config"], "environment" in result) == (1, saved, True)


def test_a_released_model_is_recalibrated_as_a_run_is(tmp_path):
    run_recalibrate(Path("b0-nano"), DATA, tmp_path / "out", 1.5, lambda line: None)
    result, card = read_json(tmp_path / "out" / "result.json"), released_card("b0-nano")
    assert result["config"]["data"] is None  # which its card does not name
    assert {name: card[name] for name in ("params", "nonzeros", "macs")}.items() <= result.items()
    last = {"id": card["id"], "command": card["config"]["command"], "name": "b0-nano", "released": True}
    assert result["config"]["lineage"]["ancestors"][-1] == last
    released = resolve_run("b0-nano")
    ratio = load_model(tmp_path / "out").last_layer.weight / load_model(released).last_layer.weight
    np.testing.assert_allclose(ratio.detach().nanmean(1)[:3], result["config"]["recalibrate"]["gain"], rtol=1e-4)


def test_ranges_that_quantisation_aware_training_learnt_stay(run, tmp_path):
    """Without them the int8 file would be calibrated, and the training with rounding in vain."""
    trained, out = tmp_path / "qat", tmp_path / "out"
    shutil.copytree(run, trained)
    view = quantisation_aware(load_model(trained), example_input())
    view(preprocess_torch(torch.from_numpy(centre_crop(load_faces(DATA).images))))
    write_json(trained / "ranges.json", learnt_ranges(view))
    run_recalibrate(trained, DATA, out, 1.5, lambda line: None)
    given = known_ranges(out, centre_crop(load_faces(DATA).images))
    assert given is not None
    assert [[low, high] for _, low, high in given] == list(read_json(trained / "ranges.json").values())


def test_the_error_is_cross_validated_not_in_sample(made):
    out, lines = made
    faces = load_faces(DATA)
    inside = pose_metrics(predict_all(load_model(out), centre_crop(faces.images)), faces.pose_deg).mean_deg
    val = read_json(out / "result.json")["val"]
    assert (val["n"], val["folds"]) == (32, 5)
    assert val["mae_deg"]["mean"] != pytest.approx(inside, abs=1e-3)
    assert lines[-1].startswith(f"after, cross-validated in 5 folds: {val['mae_deg']['mean']:.3f} deg")


def test_a_gain_at_the_end_of_the_search_is_told(run, made, tmp_path):
    gains = read_json(made[0] / "config.json")["recalibrate"]["gain"]
    told = [line.split()[1].rstrip(":") for line in made[1] if "ended at its bound" in line]
    assert told == [n for n, gain in zip(("yaw", "pitch", "roll"), gains, strict=True) if gain in (0.5, 2.0)]
    assert (GAINS[0], GAINS[-1]) == (0.5, 2.0)
    assert told  # an untrained network knows nothing: the least gain is best


def test_no_batch_is_larger_than_predict_all_allows(run, tmp_path, monkeypatch):
    seen = []
    forward = net.HeadPoseNet.forward
    monkeypatch.setattr(net.HeadPoseNet, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
    for function in (net.predict_all, net.outputs_of.__wrapped__):  # without the decorator of inference mode
        monkeypatch.setattr(function, "__defaults__", (8,))
    run_recalibrate(run, DATA, tmp_path / "out", 0.0, lambda line: None)
    assert max(seen) == 8


def test_a_folder_that_is_taken_and_one_that_a_kill_left(run, made, tmp_path):
    def again(out):
        return run_recalibrate(run, DATA, out, 1.5, lambda line: None)

    out = tmp_path / "out"
    shutil.copytree(made[0], out)
    with pytest.raises(ConfigError, match="exists"):
        again(out)
    (out / "result.json").unlink()  # killed before its last file
    assert read_json(again(out) / "result.json") == read_json(made[0] / "result.json")
    first = tmp_path / "first"
    first.mkdir()
    (first / ".config.1@here.x1.json").write_text("{")  # killed while it wrote its first file
    assert (again(first) / "result.json").exists()
    training = tmp_path / "training"
    write_json(training / "config.json", {"command": "train"})
    with pytest.raises(ConfigError, match="exists"):
        again(training)
    with pytest.raises(ConfigError, match=r"no result\.json"):
        run_recalibrate(training, DATA, tmp_path / "new", 1.5)
    with pytest.raises(ConfigError, match="--pose-balance"):
        run_recalibrate(run, DATA, tmp_path / "new", -1.0)
    with pytest.raises(ConfigError, match="3 faces; give 5"):
        run_recalibrate(run, "synthetic:easy:3:1", tmp_path / "new", 1.5)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("result", [[], {}, {"id": 3}, {"id": "x", "config": {"command": "train", "lineage": []}}])
def test_a_result_of_wrong_types_is_one_message(run, tmp_path, result):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    with pytest.raises(FileError, match=r"run/result\.json: "):
        run_recalibrate(tmp_path / "run", DATA, tmp_path / "out", 1.5)


def test_persons_stay_together_where_they_are_known():
    faces = Faces(np.zeros((6, 80, 80, 3), np.uint8), np.zeros((6, 3), np.float32), [""] * 6)
    said = []
    assert len(set(_persons(faces, said.append))) == 6
    for names, count in ((["a", "a", "b", "", "", "c"], 5), (["a", "a", "a", "b", "b", "a"], 2)):
        faces.extra["person"] = np.array(names)
        folds = split_folds(_persons(faces, said.append), count)
        assert len({(name or i, fold) for i, (name, fold) in enumerate(zip(names, folds, strict=True))}) == count
    assert not said
    faces.extra["person"] = np.array(["a"] * 6)
    assert len(set(_persons(faces, said.append))) == 6
    assert "all faces are of one person" in said[0]
