"""What the READMEs tell people to type exists."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.model.net import example_input, load_model
from pruning.stats import stats
from tests.drawn_faces import MODEL, picture
from tests.face_files import csv_rows, write_csv_folder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FOLDERS = (".", "export", "pruning", "hpe/inference", "arduino", "arduino/head_pose", "benchmarks")
PAGES = [ROOT / folder / "README.md" for folder in FOLDERS]
LINES = [line.strip() for page in PAGES for line in page.read_text().splitlines() if line.startswith("    hpe ")]


@pytest.mark.parametrize("line", LINES)
def test_commands_and_flags_exist(line, capsys):
    words = line.split("#")[0].split()[1:]
    command = words[:2] if words[0] in ("data", "study") else words[:1]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    known = capsys.readouterr().out
    for flag in re.findall(r"--[a-z0-9-]+", line):
        assert re.search(rf"{flag}[ ,]", known), flag  # "--simplify, --no-simplify" where it is a switch


def test_there_are_commands_and_the_two_that_set_up_come_first():
    assert len(LINES) > 8
    setups = re.findall(r"pip install uv && uv run .*", README)
    assert [setup.split("uv run ")[1] for setup in setups[:2]] == ["hpe demo", "pytest"]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "](" in page.read_text()], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_and_pictures_lead_somewhere(page):
    targets = re.findall(r"\]\(([^):]+)\)", page.read_text())
    assert targets
    for target in targets:
        file, _, heading = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        assert not heading or heading in headings(path.read_text()), target


def headings(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_folder_map_is_complete():
    for folder in ("hpe", "pruning", "export", "arduino", "benchmarks", "tests"):
        assert f"    {folder}/" in README


def test_the_python_example_runs(monkeypatch):
    pytest.importorskip("cv2")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "HeadPosePredictor" in block)
    monkeypatch.setattr("hpe.inference.predictor.resolve_model", lambda name: MODEL)  # whether or not b0-pi is released
    pixels = picture((120, 60, 180))
    pixels = np.pad(pixels, ((0, 100), (0, 0), (0, 0)), mode="edge")
    values = {"image": pixels, "crop": pixels[:64, :64]}
    exec(example, values)
    assert values["face"].pose_deg.shape == (3,)


def commands(title: str) -> list[list[str]]:
    """The commands of a section, as they stand there, without `hpe` and remarks."""
    section = README.split(f"## {title}")[1].split("\n## ")[0]
    return [line.split("#")[0].split()[1:] for line in section.splitlines() if line.startswith("    hpe ")]


def test_the_walkthrough_runs_from_the_first_command_to_the_last(tmp_path, monkeypatch, capsys):
    rows = csv_rows(24)
    for number, row in enumerate(rows):
        row["split"] = ("train", "train", "val", "test")[number % 4]
    write_csv_folder(tmp_path / "faces", rows, size=(64, 64))
    Image.fromarray(picture((120, 60, 180))[:64, :64]).save(tmp_path / "selfie.jpg")
    monkeypatch.chdir(tmp_path)
    small = {"train": ["--batch-size", "4", "--act", "relu6"], "prune": ["--epochs", "2", "--batch-size", "4"]}
    small |= {"finetune": ["--epochs", "1", "--batch-size", "4"], "bench": ["--seconds", "0.1"]}
    small["export"] = ["--formats", "int8", "--tolerance-deg", "90"]  # so short a training leaves wild ranges
    done = []
    for words in commands("On your own faces"):
        command = words[0]
        if command == "train":
            words[words.index("--epochs") + 1] = "1"
        if command == "prune":
            words[words.index("--target-int8-bytes") + 1] = "4500000"
        main([*words, *small.get(command, [])])
        done.append(command)
    assert done[2:6] == ["train", "prune", "finetune", "export"]
    for made in ("sheet.png", "out.json", "drawn/selfie.png", "report/report.html", "runs/small-qat/model_int8.tflite"):
        assert (tmp_path / made).is_file(), made
    assert list((tmp_path / "firmware").glob("*.c"))
    assert "MAE" in capsys.readouterr().out


def test_the_zeros_for_a_pi_can_be_had_from_b0(tmp_path, monkeypatch):
    """Once `b0` was released with a padding that the second command refused."""
    monkeypatch.chdir(tmp_path)
    simplify, prune, *_ = commands("On a Raspberry Pi: zeros in float")
    for command in (simplify, prune):
        words = ["synthetic:easy:16:1" if word == "SPEC" else word for word in command]
        main([*words, "--epochs", "1", "--batch-size", "8"])
    zeros = stats(load_model(Path("runs/zeros")), example_input())
    assert zeros.nonzeros < 0.2 * zeros.params
