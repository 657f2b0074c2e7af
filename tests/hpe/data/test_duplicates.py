"""Copies are found through other crops, mirroring, light and compression; other heads are not taken for copies."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpe.data.duplicates import BITS, CELLS, Pair, hashes, near_duplicates
from hpe.data.faces import load_faces
from hpe.pose.crop import crop_face
from hpe.synthetic import render

FACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "faces"
BOX = (75.0, 75.0, 125.0, 125.0)


def test_the_hash_compares_the_means_of_neighbouring_cells():
    """Means by another way: every pixel repeated 13 times in both directions, then blocks of 64 x 64."""
    images, _ = render(range(3), 5, "easy", margin=8)
    for image, bits in zip(images, hashes(images, 40, 40, 64), strict=True):
        grey = image[8:72, 8:72].astype(np.float64) @ [0.299, 0.587, 0.114]
        cells = grey.repeat(CELLS + 1, 0).repeat(CELLS + 1, 1).reshape(CELLS + 1, 64, CELLS + 1, 64).mean((1, 3))
        steps = np.concatenate([np.diff(cells, axis=1)[:CELLS].ravel(), np.diff(cells, axis=0)[:, :CELLS].ravel()])
        sure = np.abs(steps) > 1e-3  # float32
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(bits[sure], np.sign(steps[sure]))


def write_faces(folder: Path, photos: dict[str, np.ndarray]) -> str:
    folder.mkdir()
    lines = ["file,yaw,pitch,roll"]
    for name, pixels in photos.items():
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},0,0,0")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.json").write_text('{"central_crop": 0.8}')
    return f"csv:{folder}"


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    """A test set of 12 heads, and a training set: copies of four of them, altered, among 40 other heads."""
    folder = tmp_path_factory.mktemp("faces")
    large, _ = render(range(52), 6, "clean", size=64, margin=64)  # (N, 192, 192, 3)
    photos = [np.asarray(Image.fromarray(image).resize((200, 200))) for image in large]
    crop = {f"{i:03d}.png": crop_face(photo, BOX) for i, photo in enumerate(photos)}
    left, top, right, bottom = BOX
    jpeg = io.BytesIO()
    Image.fromarray(crop["003.png"]).save(jpeg, "JPEG", quality=30)
    copies = {
        "copy000.png": crop_face(photos[0], (left + 2, top - 1.5, right + 3, bottom - 1)),
        "copy001.png": crop["001.png"][:, ::-1],
        "copy002.png": (crop["002.png"] * 0.6 + 20).astype(np.uint8),
        "copy003.png": np.asarray(Image.open(jpeg)),
    }
    test = write_faces(folder / "test", dict(list(crop.items())[:12]))
    return write_faces(folder / "train", copies | dict(list(crop.items())[12:])), test


def test_copies_are_found_and_other_heads_are_not(specs):
    train, test = specs
    found = {pair.id: pair for pair in near_duplicates(train, test)}
    assert {name: pair.against for name, pair in found.items()} == {
        f"copy{i:03d}.png": f"{i:03d}.png" for i in range(4)
    }
    assert [pair.mirrored for pair in found.values()] == [False, True, False, False]
    assert str(found["copy001.png"]) == "copy001.png looks like 001.png (0 of 288 bits differ, mirrored)"


def test_either_side_may_be_the_smaller_one(specs):
    train, test = specs
    assert {(p.against, p.id) for p in near_duplicates(test, train)} == {
        (p.id, p.against) for p in near_duplicates(train, test)
    }


def test_the_distance_asked_for_is_kept(specs):
    train, test = specs
    exact = near_duplicates(train, test, max_distance=0)
    assert Pair("copy001.png", "001.png", 0, True) in exact  # a mirror image; of a darker copy a bit may change
    assert exact == [pair for pair in near_duplicates(train, test) if pair.distance == 0]
    assert len(near_duplicates(train, test, max_distance=BITS)) == len(load_faces(train))


@pytest.mark.skipif(not FACES.is_dir(), reason=f"needs the real faces in {FACES}")
def test_the_copies_that_were_taken_out_of_the_real_faces_are_found():
    """Four of the ten excluded faces are copies (the others show the same session, or another label)."""
    found = {pair.id: pair.against for pair in near_duplicates(f"csv:{FACES}@excluded", f"csv:{FACES}@test")}
    assert found == {
        "aflw/11079.jpg": "test/00225.jpg",
        "aflw/12005.jpg": "test/00075.jpg",
        "aflw/12368.jpg": "test/00252.jpg",
        "aflw/12476.jpg": "test/00023.jpg",
    }
    assert near_duplicates(f"csv:{FACES}@val", f"csv:{FACES}@test") == []
