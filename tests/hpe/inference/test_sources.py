"""What `hpe predict` looks at: what counts in a folder, what is refused, and what costs only itself."""

import os
import resource
from pathlib import Path

import pytest
from PIL import Image

from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.sources import SourceError, expand, inside, is_video, without_user
from hpe.io.errors import ConfigError
from tests.drawn_faces import MODEL, picture
from tests.hpe.cli.command import run


def predict(capsys, *arguments):
    return run(capsys, "predict", *arguments, "--model", MODEL)


def crop(path: Path) -> Path:
    Image.fromarray(picture((0, 0, 64), size=(64, 64))).save(path)
    return path


def test_hidden_files_and_subfolders_do_not_count_in_a_folder(tmp_path):
    (tmp_path / "sub.jpg").mkdir()
    for name in ("b.MOV", "a.jpg", "._a.jpg", ".x.jpg", ".a.77@machine.abc.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    assert [path.name for path in expand([tmp_path])] == ["a.jpg", "b.MOV", "link.jpg"]
    assert expand([tmp_path / ".x.jpg", tmp_path / "sub.jpg"]) == [tmp_path / ".x.jpg", tmp_path / "sub.jpg"]


def test_a_folder_that_may_not_be_read_costs_only_itself(capsys, tmp_path, monkeypatch):
    crop(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    listed = Path.iterdir

    def iterdir(folder):
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(SourceError, match="closed: this folder cannot be read"):
        inside(tmp_path / "closed")
    code, out, err = predict(capsys, tmp_path / "closed", tmp_path / "a.png", "--crops")
    assert code == 1
    assert "a.png: yaw" in out
    assert err == f"hpe: {tmp_path / 'closed'}: this folder cannot be read (Permission denied); let this user read it\n"


def test_a_video_that_may_not_be_read_costs_only_itself(capsys, tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("hpe.inference.sources.open_regular", closed)
    code, out, err = predict(capsys, tmp_path / "clip.mp4", crop(tmp_path / "a.png"), "--crops")
    assert code == 1
    assert "a.png: yaw" in out
    assert "clip.mp4: Permission denied; a camera is named by" in err


def test_videos_of_phones_and_television_are_videos():
    assert is_video(Path("clip.3GP"))
    assert is_video(Path("clip.ts"))


@pytest.mark.parametrize("flag", ["--serve :0", "--frames 3", "--no-smooth", "--neutral 2"])
def test_what_only_a_video_obeys_is_refused_for_pictures(capsys, tmp_path, flag):
    given = [crop(tmp_path / "a.png"), "--crops", "--json", tmp_path / "new" / "r.json"]
    code, out, err = predict(capsys, *given, *flag.split())
    assert (code, out) == (2, "")
    name = flag.split()[0].replace("neutral", "neutral SECONDS")
    assert err == f"hpe: {name} is for a video or a camera; give one of them, or leave it out\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    _, _, err = predict(capsys, tmp_path / "absent.mp4", *given, *flag.split(), "--quiet")
    assert "absent.mp4: no such file" in err
    assert "is for a video" not in err


def test_sources_are_checked_once_and_for_callers_from_python_too(capsys, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--frames is for a video"):
        run_predict(MODEL, [crop(tmp_path / "a.png")], PredictOptions(crops=True, frames=3))
    checked = []
    monkeypatch.setattr(PredictOptions, "check_sources", lambda options, sources: checked.append(list(sources)))
    assert predict(capsys, tmp_path, "--crops")[0] == 0
    assert checked == [[tmp_path / "a.png"]]


def test_an_address_is_shown_without_its_user():
    assert without_user("rtsp://me:secret@[::1/x") == "rtsp://[::1/x"
    assert without_user("mqtt://me:se/cr@et@house/t") == "mqtt://house/t"
    assert without_user("me:secret@house") == "house"
    assert without_user("mqtt://house/t") == "mqtt://house/t"


def test_pipes_devices_and_claims_of_billions_of_pixels_are_refused(capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    header = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000ffff0000ffff00802000000")
    (tmp_path / "huge.png").write_bytes(header + b"\0" * 40)
    arguments = [tmp_path / "pipe.png", tmp_path / "huge.png", "/dev/null", "--crops"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, out, err = predict(capsys, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    pytest.importorskip("cv2")
    code, _, err = predict(capsys, tmp_path / "pipe.mp4")
    assert code == 2
    assert "pipe.mp4: it is a folder, a pipe or a device" in err
