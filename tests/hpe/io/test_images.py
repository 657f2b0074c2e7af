"""One way to open an image: upright, 8 bits, and no file that hangs or fills the memory."""

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from hpe.io.images import ImageError, open_image
from tests.face_files import picture, png


@pytest.mark.parametrize("suffix", ["png", "tif"])  # loading a TIFF turns it, in Pillow
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_as_pillow_turns_it(tmp_path, orientation, suffix):
    exif, stored = Image.Exif(), picture(3, (40, 30))
    exif[0x0112] = orientation
    stored.save(tmp_path / "plain.png", exif=exif)
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    with Image.open(tmp_path / "plain.png") as photo:
        expected = ImageOps.exif_transpose(photo)
    assert (expected.size == (40, 30)) == (orientation < 5)
    np.testing.assert_array_equal(open_image(tmp_path / f"a.{suffix}"), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_not_cut_off(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    found = np.asarray(open_image(tmp_path / f"a.{suffix}"))
    assert found.shape == (64, 64, 3)
    np.testing.assert_array_equal(found[..., 0], np.rint(ramp / 257).astype(np.uint8))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "RGB"])
def test_other_modes_are_what_pillow_makes_of_them(tmp_path, mode):
    image = picture(1, (30, 20)).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def test_values_that_have_no_scale_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 1e5, np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((8, 8), 70000, np.int32)).save(tmp_path / "int.tif")
    for name, what in (("float.tif", "floating-point"), ("int.tif", "32-bit")):
        with pytest.raises(ImageError, match=what):
            open_image(tmp_path / name)


def test_sizes_are_checked_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    empty = (b"IDAT", zlib.compress(b""))
    for width, height, what in (
        (20_000, 20_000, "shrink"),
        (9_000, 9_000, "cannot hold"),
        (2**31 - 1, 2**31 - 1, "too large"),
    ):
        (tmp_path / "a.png").write_bytes(png(width, height, empty))
        with pytest.raises(ImageError, match=what):
            open_image(tmp_path / "a.png")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory by RLIMIT_AS")
@pytest.mark.parametrize("content", [png(13_000, 13_000)[:66], png(9_999, 9_999, (b"IDAT", b"x" * 20))[:89]])
def test_a_tiny_file_takes_little_memory(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    code = (
        "import resource, sys\n"
        "from hpe.io.images import ImageError, open_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    open_image(sys.argv[1])\n"
        "except ImageError:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000  # kilobytes


def test_memory_that_is_not_there_is_a_message(tmp_path, monkeypatch):
    picture(1).save(tmp_path / "a.png")

    def no_memory(self):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_memory)
    with pytest.raises(ImageError, match="memory"):
        open_image(tmp_path / "a.png")


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, "/dev/zero"):
        with pytest.raises(ImageError, match="not a file"):
            open_image(path)


def test_a_missing_a_cut_and_a_foreign_file_are_named(tmp_path):
    picture(1).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:300])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "run.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, what in (("cut.png", "decoded"), ("text.jpg", "decoded"), ("run.jpg", "decoded"), ("no.png", "no such")):
        with pytest.raises(ImageError, match=what) as caught:
            open_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


def test_an_image_of_another_format_and_one_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(
        ImageError, match=r"none of the formats that are read \(BMP, .*WEBP\); save it as one"
    ) as caught:
        open_image(tmp_path / "phone.heic")
    assert "BufferedReader" not in str(caught.value)

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("hpe.io.images.open_regular", closed)
    with pytest.raises(ImageError, match="permission denied; let this user read it"):
        open_image(tmp_path / "phone.heic")


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "PPM"]), st.data())
def test_no_damage_ends_in_another_error(tmp_path_factory, form, data):
    path = tmp_path_factory.getbasetemp() / f"damaged-{os.getpid()}"
    picture(1, (40, 30)).save(path, form)
    content = bytearray(path.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 6)) if content else 0):
        content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        assert open_image(path).mode == "RGB"
    except ImageError as error:
        assert error.what  # noqa: PT017 - the point is that nothing else is raised
