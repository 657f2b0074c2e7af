"""`hpe data turn`: which turns are drawn, and the folder that training reads."""

import csv

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.data.faces import load_faces
from hpe.data.turning import LEAST_TURN_DEG, MOST_PITCH_DEG, MOST_YAW_DEG, TurnConfig, draw_turns
from hpe.io.errors import ConfigError
from hpe.synthetic.relief import turned_pose


def test_turns_lead_away_from_the_front_and_end_in_time():
    pose = np.random.default_rng(0).normal(0, 25, (2000, 3))
    pose[:, :2] = np.clip(pose[:, :2], [-MOST_YAW_DEG, -MOST_PITCH_DEG], [MOST_YAW_DEG, MOST_PITCH_DEG])
    turns = draw_turns(pose, TurnConfig(yaw_deg=25, pitch_deg=15))
    assert np.abs(turns).max(0) == pytest.approx([25, 15], abs=0.5)
    decided = np.abs(pose[:, :2]) > 8
    assert (turns * pose[:, :2])[decided].min() >= 0
    assert np.abs(pose[:, :2] + turns).max(0)[0] <= MOST_YAW_DEG
    size = np.hypot(*turns.T)
    assert ((size == 0) | (size >= LEAST_TURN_DEG)).all()
    assert (draw_turns(pose, TurnConfig(), 0) != draw_turns(pose, TurnConfig(), 1)).any()


def test_the_folder_is_a_data_set_with_the_turned_labels_persons_and_spreads(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    rows = ["file,yaw,pitch,roll,person,spread"]
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (80, 80, 3), np.uint8)).save(own / f"{i}.png")
        rows.append(f"{i}.png,{10 * i},5,3,p{i // 2},{i if i else ''}")
    (own / "labels.csv").write_text("\n".join(rows))
    (own / "dataset.json").write_text('{"central_crop": 0.8}')
    out = tmp_path / "turned"
    main(["data", "turn", f"csv:{own}", "--out", str(out), "--copies", "2", "--seed", "3"])
    faces, original = load_faces(f"csv:{out}"), load_faces(f"csv:{own}")
    table = list(csv.DictReader((out / "labels.csv").read_text().splitlines()))
    assert 4 < len(faces) == len(table) <= 8
    for i, row in enumerate(table):
        which = original.ids.index(row["source"])
        turn = np.array([[float(row["yaw_turn"]), float(row["pitch_turn"])]])
        np.testing.assert_allclose(faces.pose_deg[i], turned_pose(original.pose_deg[[which]], turn)[0], atol=0.02)
        assert faces.extra["person"][i] == original.extra["person"][which]
        np.testing.assert_equal(faces.extra["spread"][i], original.extra["spread"][which])
    with pytest.raises(SystemExit, match="2"):
        main(["data", "turn", f"csv:{own}", "--out", str(out)])


def test_a_turned_face_stays_in_its_split(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    rows = ["file,yaw,pitch,roll,split"]
    for i in range(4):
        Image.fromarray(np.full((80, 80, 3), 40 * i, np.uint8)).save(own / f"{i}.png")
        rows.append(f"{i}.png,{10 * i},5,3,{'test' if i % 2 else ''}")
    (own / "labels.csv").write_text("\n".join(rows))
    main(["data", "turn", f"csv:{own}", "--out", str(tmp_path / "turned"), "--pitch-deg", "0"])
    table = list(csv.DictReader((tmp_path / "turned" / "labels.csv").read_text().splitlines()))
    for row in table:
        assert row["split"] == ("test" if row["source"] in ("1.png", "3.png") else "train")
    assert {row["split"] for row in table} == {"train", "test"}


@pytest.mark.parametrize("wrong", [{"yaw_deg": 90}, {"yaw_deg": 1, "pitch_deg": 1}, {"copies": 0}, {"pitch_deg": -1}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="--"):
        TurnConfig(**wrong)
