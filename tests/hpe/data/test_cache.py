"""The cache: interrupted, damaged, killed, out of space; and the processes that fill it."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpe.data import cache
from hpe.data.faces import DataError, Part, load_faces
from hpe.data.sources import items, list_source
from hpe.io import files
from tests.face_files import csv_rows, picture, write_csv_folder
from tests.processes import ended


class Interrupted(Exception):
    pass


def counted(source: items.Source, fail_after: int = 10**9, chunk: int = 2) -> tuple[items.Source, list[int]]:
    """The source with small chunks, and a list that grows with each chunk that is read."""
    calls: list[int] = []

    def read(items):
        if len(calls) >= fail_after:
            raise Interrupted
        calls.append(len(items))
        return source.read(items)

    return replace(source, read=read, chunk=chunk), calls


@pytest.fixture
def source(tmp_path):
    """Eight csv faces; their number of chunks (4) is too small for a pool."""
    folder = write_csv_folder(tmp_path / "faces", csv_rows(8))
    return list_source(Part("csv", folder))


def test_the_cache_is_read_once_and_memory_mapped(tmp_path, source):
    first, calls = counted(source)
    built = cache.open_or_build(tmp_path / "cache", "csv:x", first, 99)
    assert calls == [2, 2, 2, 2]
    again, calls = counted(source)
    opened = cache.open_or_build(tmp_path / "cache", "csv:x", again, 99)
    assert calls == []
    assert isinstance(opened.images, np.memmap)
    np.testing.assert_array_equal(built.images, opened.images)
    assert built.ids == opened.ids


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path, source):
    whole = cache.open_or_build(tmp_path / "whole", "csv:x", counted(source)[0], 99)
    broken, calls = counted(source, fail_after=3)
    with pytest.raises(Interrupted):
        cache.open_or_build(tmp_path / "cache", "csv:x", broken, 99)
    assert len(calls) == 3
    (journal,) = (tmp_path / "cache").glob("*.partial/journal.jsonl")
    journal.write_text(journal.read_text()[:-20])  # the last line was cut short as well: that chunk is read again
    resumed, calls = counted(source)
    cached = cache.open_or_build(tmp_path / "cache", "csv:x", resumed, 99)
    assert len(calls) == 2
    np.testing.assert_array_equal(cached.images, whole.images)
    np.testing.assert_array_equal(cached.pose_deg, whole.pose_deg)
    assert cached.ids == whole.ids
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_a_damaged_cache_is_built_again(tmp_path, source):
    cache.open_or_build(tmp_path / "cache", "csv:x", source, 99)
    (images,) = (tmp_path / "cache").glob("*/images.npy")
    images.write_bytes(images.read_bytes()[:5000])
    again, calls = counted(source, chunk=source.chunk)
    assert len(cache.open_or_build(tmp_path / "cache", "csv:x", again, 99).images) == 8
    assert calls


def test_changed_data_are_read_again_and_the_old_cache_goes(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(3))
    spec, cache_dir = f"csv:{folder}", tmp_path / "cache"
    before = load_faces(spec, cache_dir=cache_dir)
    picture(99, (80, 80)).save(folder / "001.png")
    later = time.time_ns() + 10**9
    os.utime(folder / "001.png", ns=(later, later))
    after = load_faces(spec, cache_dir=cache_dir)
    assert (before.images[1] != after.images[1]).any()
    assert (before.images[0] == after.images[0]).all()
    write_csv_folder(folder, csv_rows(4))
    assert len(load_faces(spec, cache_dir=cache_dir)) == 4
    assert len(list(cache_dir.glob("csv-*/meta.json"))) == 1


def test_the_same_data_have_one_cache_however_their_folder_is_named(tmp_path, monkeypatch):
    folder, built = write_csv_folder(tmp_path / "faces", csv_rows(3)), []
    (folder / "001.png").write_bytes(b"no picture")
    (tmp_path / "link").symlink_to(folder)
    build = cache._build
    monkeypatch.setattr(cache, "_build", lambda *given: built.append(given) or build(*given))
    for where, name in ((tmp_path, "faces"), (tmp_path, folder), (folder, "."), (folder, "../link")):
        monkeypatch.chdir(where)
        with pytest.raises(DataError, match=str(folder / "001.png")):  # where it is, not as the first call named it
            load_faces(f"csv:{name}", cache_dir=tmp_path / "cache")
    assert len(built) == 1


def test_processes_read_the_same_as_one(tmp_path, source):
    alone = cache.open_or_build(tmp_path / "alone", "csv:x", source, 99)
    parallel = cache.open_or_build(tmp_path / "pool", "csv:x", replace(source, chunk=1), 99)
    np.testing.assert_array_equal(alone.images, parallel.images)
    np.testing.assert_array_equal(alone.pose_deg, parallel.pose_deg)
    assert alone.ids == parallel.ids


def test_a_script_without_a_guard_is_told_so_instead_of_waiting_for_itself(tmp_path, source):
    script = tmp_path / "script.py"
    script.write_text(
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from hpe.data import cache\n"
        "from hpe.data.sources import list_source\n"
        "from hpe.data.faces import Part\n"
        f"source = replace(list_source(Part('csv', Path({str(tmp_path / 'faces')!r}))), chunk=1)\n"
        f"cache.open_or_build(Path({str(tmp_path / 'cache')!r}), 'csv:x', source, 99)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "`if __name__ == '__main__':`" in ended.stderr.splitlines()[-1]


def test_a_cache_folder_that_cannot_be_is_named(tmp_path, source):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="HPE_CACHE"):
        cache.open_or_build(tmp_path / "file" / "cache", "csv:x", source, 99)


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HPE_CACHE", str(tmp_path / "here"))
    assert files.default_cache_dir() == tmp_path / "here"
    monkeypatch.delenv("HPE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.default_cache_dir() == tmp_path / ".cache" / "hpe"


def test_training_may_take_the_images_as_tensors(tmp_path, source):
    """No warning about arrays that cannot be written: the mapping is copy-on-write, and the file stays as it is."""
    torch = pytest.importorskip("torch")
    images = cache.open_or_build(tmp_path / "cache", "csv:x", source, 99).images
    before = images[0].copy()
    torch.from_numpy(images)[0] = 0
    np.testing.assert_array_equal(cache.open_or_build(tmp_path / "cache", "csv:x", source, 99).images[0], before)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pose_deg.npy", b""),
        ("pose_deg.npy", b"PK\x03\x04"),
        ("images.npy", b""),
        ("extra_spread.npy", b""),
        ("meta.json", b""),
        ("meta.json", b"[]"),
        ("meta.json", b'{"ids": [], "extra": [], "dropped": 0, "faults": []}'),
        ("meta.json", b'{"ids": 3, "extra": [], "dropped": 0, "faults": [1]}'),
        ("meta.json", b"\xff"),
    ],
)
def test_any_damage_to_a_cache_is_repaired_by_building_it_again(tmp_path, name, content):
    source = list_source(Part("csv", write_csv_folder(tmp_path / "faces", csv_rows(3, spread=2.0))))
    whole = cache.open_or_build(tmp_path / "cache", "csv:x", source, 99)
    images = whole.images.copy()  # the file that they are mapped from is cut
    (damaged,) = (tmp_path / "cache").glob(f"*/{name}")
    damaged.write_bytes(content)
    again = cache.open_or_build(tmp_path / "cache", "csv:x", source, 99)
    np.testing.assert_array_equal(again.images, images)
    np.testing.assert_array_equal(again.pose_deg, whole.pose_deg)
    np.testing.assert_array_equal(again.extra["spread"], whole.extra["spread"])


def test_a_finished_cache_may_be_read_only(tmp_path, source, monkeypatch):
    cache.open_or_build(tmp_path / "cache", "csv:x", source, 99)

    def refuse(*arguments):  # permissions mean nothing to root
        raise PermissionError(errno.EACCES, "read-only", str(arguments[0]))

    monkeypatch.setattr(cache, "locked", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert len(cache.open_or_build(tmp_path / "cache", "csv:x", source, 99).images) == 8


def test_what_killed_builds_left_goes_on_the_next_start(tmp_path, source):
    cache_dir = tmp_path / "cache"
    with pytest.raises(Interrupted):
        cache.open_or_build(cache_dir, "csv:x", counted(source, fail_after=2)[0], 99)
    (interrupted,) = cache_dir.glob("*.partial")
    older = interrupted.with_name(interrupted.name.rpartition("-")[0] + "-0123456789ab.partial")  # of older data
    recent, forgotten = cache_dir / "csv-other-1.partial", cache_dir / "csv-other-2.partial"
    for folder in (older, recent, forgotten):
        folder.mkdir()
        (folder / "pixels.raw").write_text("")
    long_ago = time.time() - 2 * cache.STALE_S
    for path in (forgotten / "pixels.raw", forgotten):
        os.utime(path, (long_ago, long_ago))
    resumed, calls = counted(source)
    cache.open_or_build(cache_dir, "csv:x", resumed, 99)
    assert calls == [2, 2]  # the interrupted build was gone on with
    assert list(cache_dir.glob("*.partial")) == [recent]


def test_a_disk_that_is_full_at_the_start_is_a_message(tmp_path, source, monkeypatch):
    def full(handle, offset, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match=r"No space left on device.*HPE_CACHE"):
        cache.open_or_build(tmp_path / "cache", "csv:x", source, 99)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_at_the_end_is_a_message_and_no_signal(tmp_path, source):
    """Memory that is mapped to a full disk ends the process (SIGBUS); what is written raises."""
    with pytest.raises(Interrupted):
        cache.open_or_build(tmp_path / "cache", "csv:x", counted(source, fail_after=1)[0], 99)
    (partial,) = (tmp_path / "cache").glob("*.partial")
    (partial / "images.npy").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"No space left on device.*HPE_CACHE"):
        cache.open_or_build(tmp_path / "cache", "csv:x", counted(source)[0], 99)
    (partial / "images.npy").unlink()  # space again
    assert len(cache.open_or_build(tmp_path / "cache", "csv:x", counted(source)[0], 99).images) == 8


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_reading_processes_end_with_their_killed_parent(tmp_path):
    """Each notes its number and then reads without end; after SIGKILL of the parent none may be left."""
    (tmp_path / "script.py").write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from hpe.data.reading import for_each_chunk\n"
        "from hpe.data.sources.items import Source\n"
        "def read(items):\n"
        "    Path(sys.argv[1], str(os.getpid())).write_text('')\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    source = Source(list(range(8)), read, [''] * 8, '', chunk=1)\n"
        "    for_each_chunk(source, lambda start, chunk: None, 'test')\n"
    )
    (tmp_path / "pids").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path / "pids"], env=environment)
    limit = time.monotonic() + 60
    while not (pids := list((tmp_path / "pids").iterdir())) and time.monotonic() < limit:
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert pids
    assert all(ended(int(path.name)) for path in (tmp_path / "pids").iterdir())
