import errno
import os
import subprocess
import sys

import pytest
import torch

from hpe.io.tensors import TensorFileError, first_not_finite, read_tensors, write_tensors


def test_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}
    write_tensors(tmp_path / "t.safetensors", tensors, {"state": "{}"})
    found, texts = read_tensors(tmp_path / "t.safetensors")
    assert texts["state"] == "{}"
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a file's size is set as on Linux")
def test_a_full_disk_is_one_message_and_the_old_file_stays(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(4)})
    before = path.read_bytes()
    code = (
        "import resource, sys, torch; from pathlib import Path; from hpe.io.errors import HpeError;"
        "from hpe.io.tensors import write_tensors; resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "try: write_tensors(Path(sys.argv[1]), {'a': torch.zeros(100000)})\n"
        "except HpeError as error: print(error, error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: cannot be written ({os.strerror(errno.EFBIG)}; free some space) {errno.EFBIG}\n"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(TensorFileError, match="absent"):
        read_tensors(tmp_path / "absent")
    (tmp_path / "half").write_bytes(b"half")
    with pytest.raises(TensorFileError, match="half: not a whole safetensors file"):
        read_tensors(tmp_path / "half")


def test_the_first_tensor_that_holds_no_number_is_found():
    tensors = {
        "n": torch.tensor(1),
        "a": torch.zeros(2),
        "b": torch.tensor([1.0, torch.inf]),
        "c": torch.tensor(torch.nan),
    }
    assert first_not_finite(tensors) == "b"
    assert first_not_finite({"a": torch.zeros(2)}) is None
