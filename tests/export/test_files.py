"""Files are whole or absent; what killed programs left goes."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from export import files
from export.files import remove_stale, whole_file, work_folder, write_all, write_whole
from export.process import command
from tests.processes import ended


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def broken(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, broken)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_several_files_are_written_before_any_is_moved(tmp_path):
    (tmp_path / "taken.txt").mkdir()  # moving a file there fails, and so does writing inside a file
    (tmp_path / "b.txt").write_text("old")
    with pytest.raises(OSError, match="txt"):
        write_all({tmp_path / "a.txt": "new", tmp_path / "b.txt" / "c.txt": b"new"})
    assert names(tmp_path) == ["b.txt", "taken.txt"]
    assert (tmp_path / "b.txt").read_text() == "old"
    write_all({tmp_path / "new" / "a.txt": "ä\n", tmp_path / "b.txt": b"\x00"})
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ä\n".encode()


def test_the_temporary_name_keeps_the_suffix_and_fits_long_names(tmp_path):
    with whole_file(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png"
    write_whole(tmp_path / ("x" * 240 + ".txt"), lambda path: path.write_text("long"))


def test_a_link_stays_and_the_file_that_it_names_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.txt", tmp_path / "link.txt"
    link.symlink_to("elsewhere/target.txt")
    for text in ("new", "newer"):  # there is no target before the first
        write_all({link: text})
        assert (link.is_symlink(), target.read_text()) == (True, text)
    assert names(tmp_path) == ["elsewhere", "link.txt"]
    assert names(tmp_path / "elsewhere") == ["target.txt"]


def test_what_is_no_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(OSError, match="it is a folder, a pipe or a device") as caught:
            write_all({tmp_path / name: "new"})
        assert caught.value.filename == str(tmp_path / name)
    assert names(tmp_path) == ["device", "folder", "pipe"]
    assert (tmp_path / "device").is_symlink()


@pytest.mark.parametrize("named", ["", "temporary", "other"])
def test_an_error_names_what_the_user_knows(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)

    def full(temporary):
        paths = {"": (), "temporary": (str(temporary),), "other": ("other.txt",)}
        raise OSError(errno.ENOSPC, "No space left on device", *paths[named])

    with pytest.raises(OSError, match="No space left") as caught:
        write_whole("a.txt", full)
    assert caught.value.filename == ("other.txt" if named == "other" else "a.txt")
    assert names(tmp_path) == []


def test_a_folder_that_is_closed_names_the_file(tmp_path, monkeypatch):
    def closed(prefix, suffix, dir):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}x{suffix}")

    monkeypatch.setattr("tempfile.mkstemp", closed)
    with pytest.raises(PermissionError) as caught:
        write_all({tmp_path / "a.txt": "new"})
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_what_a_killed_program_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    stale = tmp_path / f".last.{dead_pid()}@{files.MACHINE}.abc.safetensors"
    others = [
        f".last.{os.getpid()}@{files.MACHINE}.abc.safetensors",  # being written
        f".last.{dead_pid()}@another-machine.abc.safetensors",
        f".best.{dead_pid()}@{files.MACHINE}.abc.safetensors",  # removed when `best` is written
        f".last.99999999999999999999@{files.MACHINE}.x",
        "last.safetensors",
    ]
    for name in others:
        (tmp_path / name).write_text("")
    stale.write_text("")
    write_whole(tmp_path / "last.safetensors", lambda path: path.write_text("new"))
    assert names(tmp_path) == sorted(others)


def test_a_work_folder_goes_at_the_end_and_so_does_a_stale_one(tmp_path):
    stale = tmp_path / f".convert.{dead_pid()}@{files.MACHINE}.abc"
    (stale / "inside").mkdir(parents=True)
    with work_folder(tmp_path, "convert") as folder:
        assert names(tmp_path) == [folder.name]
        (folder / "file").write_text("")
    assert names(tmp_path) == []
    remove_stale(tmp_path, "convert")


def test_a_killed_write_is_cleaned_by_the_next(tmp_path):
    """The whole story: SIGKILL in mid-write, then the same write again."""
    code = (
        "import pathlib, sys, time\n"
        "from export.files import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as path:\n"
        "    path.write_text('half'); print('writing', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.txt"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
    assert len(names(tmp_path)) == 1
    write_all({tmp_path / "a.txt": "whole"})
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_child_ends_with_its_killed_parent(tmp_path):
    script = tmp_path / "child.py"
    script.write_text("import os, sys, time\nprint(os.getpid(), *sys.argv[1:], flush=True)\ntime.sleep(60)\n")
    code = f"import subprocess; from export.process import command; subprocess.run(command({str(script)!r}, 'a'))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, argument = parent.stdout.readline().split()
        assert argument == "a"
        os.kill(parent.pid, signal.SIGKILL)
    assert ended(int(pid))


def test_a_child_whose_parent_has_gone_already_does_nothing(tmp_path):
    line = command(tmp_path / "never.py")
    line[3] = str(dead_pid())
    assert subprocess.run(line).returncode == 1
